"""What a flow asks of whoever drives it.

A flow is a generator without I/O: it yields an effect and is sent what came of it. So there is one
text of every rule, and two drivers (`client.py`), with and without asyncio.

    Request   sent what came: the response with its body read, or httpx's error
    Pause     sent True after the seconds; False, at once, if that was a retry too many
    Pull      sent the next input of a `map`, or END
    Emit      its value goes to the caller
"""

import hashlib
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Generic, Self, TypeAlias, TypeVar

T = TypeVar("T")
Json: TypeAlias = Mapping[str, Any]  # a JSON object
END: Final = object()


class Sink:
    """A file that appears under its name when it is whole and proven, and not before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        self._file: IO[bytes] | None = None

    def restart(self) -> None:
        """Forget what came: a retry brings the file from its beginning."""
        self.close()
        self._file = self._part.open("wb")
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        if self._file is not None:
            self.size_bytes += self._file.write(chunk)
            self.digest.update(chunk)

    def keep(self) -> None:
        self.close()
        self._part.replace(self.path)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    content: bytes | None = None
    params: Mapping[str, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float = 0.0  # how long the gateway may hold the answer back
    sink: Sink | None = None  # where the body goes, if the answer is good


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float
    tries: int = 0  # how many have failed; 0: not a retry


@dataclass(frozen=True, slots=True)
class Pull: ...


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    value: T


Effect: TypeAlias = Request | Pause | Pull
Flow: TypeAlias = Generator[Effect, Any, T]
Stream: TypeAlias = Generator[Effect | Emit[T], Any, None]


def emit_return(flow: Flow[T]) -> Stream[T]:
    yield Emit((yield from flow))
