"""What the spans of a stage's calls say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar
from uuid import UUID

Row = TypeVar("Row")
End = TypeVar("End")


@dataclass(frozen=True, slots=True)
class CallTrace(Generic[Row, End]):
    """
    Attributes:
        kind: of the spans, in OpenTelemetry's words.
        find_job: of a row, the job, and what its row keeps of its trace.
        describe: what a call came to, with `error.type` if it failed; None: it changed nothing, and
            is not worth a span.
    """

    kind: Literal["CLIENT", "PRODUCER", "INTERNAL"]
    find_job: Callable[[Row], tuple[UUID, bytes | None]]
    describe: Callable[[Row, End], Mapping[str, str | int | float] | None]
