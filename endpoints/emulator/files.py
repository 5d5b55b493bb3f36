"""The files of completed jobs: remembered as what they derive from, drawn when somebody asks."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from endpoints.emulator.media import MediaSpec

LIFETIME_SECONDS: Final = 7 * 24 * 3600.0  # on the emulated clock
CACHE_BYTES: Final = 32 * 2**20
RENDER_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be downloaded until `expires_at`, in emulated seconds."""

    name: str
    endpoint: str
    spec: MediaSpec
    expires_at: float


class Shelf:
    """Every file that has not expired, by name."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._by_expiry: deque[File] = deque()
        self._rendered: OrderedDict[str, bytes] = OrderedDict()
        self._rendered_bytes = 0
        self._rendering: dict[str, asyncio.Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="render")

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[File]:
        return iter(self._files.values())

    def publish(self, spec: MediaSpec, *, endpoint: str, now: float) -> File:
        """Make a file available and return it. Calls come in order of `now`."""
        file = File(f"{uuid4()}.{spec.extension}", endpoint, spec, now + LIFETIME_SECONDS)
        self._files[file.name] = file
        self._by_expiry.append(file)
        return file

    def find_file(self, name: str, now: float) -> File | None:
        """Return the file of that name, or None if there is none (any more)."""
        while self._by_expiry and self._by_expiry[0].expires_at <= now:
            del self._files[self._by_expiry.popleft().name]
        return self._files.get(name)

    async def read(self, file: File) -> bytes:
        """Return the file's content, drawn in a thread unless it still is at hand."""
        if file.name in self._rendered:
            self._rendered.move_to_end(file.name)
            return self._rendered[file.name]
        rendering = self._rendering.get(file.name)
        if rendering is None:
            loop = asyncio.get_running_loop()
            rendering = loop.run_in_executor(self._threads, file.spec.render)
            self._rendering[file.name] = rendering
            rendering.add_done_callback(lambda done: self._keep(file.name, done))
        return await asyncio.shield(rendering)

    def clear(self) -> None:
        """Forget every file."""
        self._files.clear()
        self._by_expiry.clear()
        self._rendered.clear()
        self._rendered_bytes = 0

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, name: str, rendering: asyncio.Future[bytes]) -> None:
        self._rendering.pop(name, None)
        if rendering.cancelled() or rendering.exception() is not None:
            return
        content = rendering.result()
        self._rendered[name] = content
        self._rendered_bytes += len(content)
        while self._rendered_bytes > CACHE_BYTES:
            _, oldest = self._rendered.popitem(last=False)
            self._rendered_bytes -= len(oldest)
