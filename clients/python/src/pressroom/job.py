"""What the clients return: a job to follow, its result, the files of the result.

Job    --result()--> Result    --artifacts--> Artifact    --save(path)--> a file
AsyncJob, AsyncResult, AsyncArtifact: the same, awaited
"""

import os
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from pressroom import flows
from pressroom.effects import Flow, Json
from pressroom.exchange import Deadline, Facts

T = TypeVar("T")
AnyPath: TypeAlias = str | os.PathLike[str]
SAVE_SECONDS = 120.0  # for the gateway to store the file; its download may take longer


class Run(Protocol):
    def __call__(self, flow: Flow[T], /) -> T: ...


class RunAsync(Protocol):
    async def __call__(self, flow: Flow[T], /) -> T: ...


class BaseJob:
    """What is known of a job: as of the last request that was made for it, if any was."""

    id: str
    facts: Facts  # the gateway's JSON object; empty: nothing asked yet

    @property
    def status(self) -> str | None:
        """The upstream's word: IN_QUEUE, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, TIMED_OUT."""
        return self.facts.get("status")

    @property
    def state(self) -> str | None:
        """Pressroom's finer word, in lower case."""
        return self.facts.get("state")

    @property
    def ended(self) -> bool:
        return self.status in flows.ENDED

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state or 'not asked for yet'}>"


class Job(BaseJob):
    """A job; each method brings what is known of it up to date."""

    def __init__(self, run: Run, job_id: str, facts: Facts | None = None) -> None:
        self._run, self.id, self.facts = run, job_id, facts or {}

    def refresh(self) -> Self:
        return self._learn(flows.get_job(self.id))

    def wait(self, timeout: float | None = None) -> Self:
        """Return when the job has ended, however it ended.

        Raises:
            WaitTimeout: it had not after `timeout` seconds, and goes on.
        """
        return self if self.ended else self._learn(flows.wait_for_end(self.id, Deadline(timeout)))

    def result(self, timeout: float | None = None) -> "Result":
        """Wait for the end, and up to 30 s more for the files to be stored.

        Raises:
            GenerationFailed: the job ended without a result.
            WaitTimeout: it had not ended after `timeout` seconds, and goes on.
        """
        self._learn(flows.get_result(self.id, self.facts, timeout))
        return Result(self.facts, self._run)

    def cancel(self) -> Self:
        return self._learn(flows.change_job(self.id, "cancel"))

    def retry(self) -> Self:
        """Run a job that failed once more.

        Raises:
            Conflict: it may not be.
        """
        return self._learn(flows.change_job(self.id, "retry"))

    def _learn(self, flow: Flow[Facts]) -> Self:
        self.facts = self._run(flow)
        return self


class AsyncJob(BaseJob):
    """`Job`, awaited."""

    def __init__(self, run: RunAsync, job_id: str, facts: Facts | None = None) -> None:
        self._run, self.id, self.facts = run, job_id, facts or {}

    async def refresh(self) -> Self:
        return await self._learn(flows.get_job(self.id))

    async def wait(self, timeout: float | None = None) -> Self:
        if self.ended:
            return self
        return await self._learn(flows.wait_for_end(self.id, Deadline(timeout)))

    async def result(self, timeout: float | None = None) -> "AsyncResult":
        await self._learn(flows.get_result(self.id, self.facts, timeout))
        return AsyncResult(self.facts, self._run)

    async def cancel(self) -> Self:
        return await self._learn(flows.change_job(self.id, "cancel"))

    async def retry(self) -> Self:
        return await self._learn(flows.change_job(self.id, "retry"))

    async def _learn(self, flow: Flow[Facts]) -> Self:
        self.facts = await self._run(flow)
        return self


class BaseArtifact:
    """One file of a result; what is not known until it is stored is None."""

    def __init__(self, facts: Json) -> None:
        self.id: str = facts["id"]
        self.state: str = facts["state"]  # pending, stored or expired
        self.url: str | None = facts.get("url")  # opens without a key
        self.sha256: str | None = facts.get("sha256")  # hex
        self.size_bytes: int | None = facts.get("size_bytes")
        self.media_type: str | None = facts.get("media_type")
        self.facts = facts  # all that the gateway says of it

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.media_type}>"


class Artifact(BaseArtifact):
    def __init__(self, facts: Json, run: Run) -> None:
        super().__init__(facts)
        self._run = run

    def save(self, path: AnyPath, timeout: float | None = SAVE_SECONDS) -> Path:
        """Write the file to `path`: whole and with the right SHA-256, or not at all.

        Raises:
            ArtifactUnavailable: it was not stored after `timeout` seconds, or is not what came.
        """
        return self._run(flows.save_artifact(self.id, Path(path), timeout))


class AsyncArtifact(BaseArtifact):
    def __init__(self, facts: Json, run: RunAsync) -> None:
        super().__init__(facts)
        self._run = run

    async def save(self, path: AnyPath, timeout: float | None = SAVE_SECONDS) -> Path:
        return await self._run(flows.save_artifact(self.id, Path(path), timeout))


class BaseResult:
    """What a completed job came to."""

    def __init__(self, facts: Facts) -> None:
        self.job_id: str = facts["id"]
        self.output: Any = facts.get("output")  # the upstream's, with the URLs of stored files
        self.cost_usd: float | None = facts.get("cost_usd")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.job_id}>"


class Result(BaseResult):
    def __init__(self, facts: Facts, run: Run) -> None:
        super().__init__(facts)
        self.artifacts = [Artifact(file, run) for file in facts.get("artifacts") or ()]


class AsyncResult(BaseResult):
    def __init__(self, facts: Facts, run: RunAsync) -> None:
        super().__init__(facts)
        self.artifacts = [AsyncArtifact(file, run) for file in facts.get("artifacts") or ()]
