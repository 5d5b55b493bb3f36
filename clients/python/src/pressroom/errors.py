"""Errors that this client raises on purpose.

PressroomError
+- Unauthorized         no such key: set PRESSROOM_KEY
+- Forbidden            the key may not do this
+- InvalidRequest       it will never be taken: mend what `problems` names
+- TooLarge             the same, for its size
+- NotFound             no such job, or not this key's
+- Conflict             not in the state that the job is in
+- RateLimited          ask again after `retry_after` seconds
+- Unavailable          no answer: a request may have been taken, so repeat it under the same key
+- WaitTimeout          the job goes on: wait for `job_id` again
+- GenerationFailed     the job ended without a result
+- ArtifactUnavailable  the file is not stored (yet, or ever), or what came was not it
+- InvalidWebhook       not from Pressroom: answer 400

What the gateway refused is raised after the client's own retries. All can be pickled.
"""

from collections.abc import Mapping, Sequence
from typing import Any


class PressroomError(Exception):
    """The gateway, or this client, cannot do what was asked."""


class Unauthorized(PressroomError):
    """The gateway does not know the key."""


class Forbidden(PressroomError):
    """The key may not do this."""


class InvalidRequest(PressroomError):
    """The request will never be taken; `problems` holds one line for each thing that is wrong."""

    def __init__(self, detail: str, problems: Sequence[str] = ()) -> None:
        super().__init__(detail, list(problems))  # every argument, or it cannot be unpickled
        self.detail = detail
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join([self.detail, *(one for one in self.problems if one not in self.detail)])


class TooLarge(PressroomError):
    """The request has more bytes than the gateway takes."""


class NotFound(PressroomError):
    """There is no such job, artifact or endpoint, or the key may not see it."""


class Conflict(PressroomError):
    """The job is not in a state in which this may be done."""


class RateLimited(PressroomError):
    """Too many requests; `retry_after` is in seconds, None if the gateway did not say."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail, retry_after)
        self.detail = detail
        self.retry_after = retry_after

    def __str__(self) -> str:
        when = "" if self.retry_after is None else f" (again in {self.retry_after:g} s)"
        return self.detail + when


class Unavailable(PressroomError):
    """The gateway cannot be reached, or fails.

    `job_id` is that of the job that was waited for, which goes on; None if no id was answered yet.
    """

    def __init__(self, detail: str, job_id: str | None = None) -> None:
        super().__init__(detail, job_id)
        self.detail = detail
        self.job_id = job_id

    def __str__(self) -> str:
        goes_on = "" if self.job_id is None else f" (job {self.job_id} goes on)"
        return self.detail + goes_on


class WaitTimeout(PressroomError):
    """The job had not ended in time. It goes on, and may be waited for again."""

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(job_id, seconds)
        self.job_id = job_id
        self.seconds = seconds

    def __str__(self) -> str:
        return f"job {self.job_id} had not ended after {self.seconds:g} s; it goes on"


class GenerationFailed(PressroomError):
    """The job ended without a result: failed, cancelled, timed out, lost or rejected.

    `endpoint` is told by Celery results alone.
    """

    def __init__(
        self,
        job_id: str,
        state: str,
        reason: str | None,
        error: str | None,
        endpoint: str | None = None,
    ) -> None:
        super().__init__(job_id, state, reason, error, endpoint)
        self.job_id = job_id
        self.state = state
        self.reason = reason
        self.error = error
        self.endpoint = endpoint

    def __str__(self) -> str:
        said = f": {self.error}" if self.error else ""
        of = f" of {self.endpoint}" if self.endpoint else ""
        return f"job {self.job_id}{of} ended {self.state} ({self.reason}){said}"


class ArtifactUnavailable(PressroomError):
    """The file cannot be had, and nothing was written."""

    def __init__(self, artifact_id: str, detail: str) -> None:
        super().__init__(artifact_id, detail)
        self.artifact_id = artifact_id
        self.detail = detail

    def __str__(self) -> str:
        return f"artifact {self.artifact_id}: {self.detail}"


class InvalidWebhook(PressroomError):
    """The signature does not fit, or is too old: act on nothing in it."""


_BY_STATUS: dict[int, type[PressroomError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
}
_REFUSED = (400, 422)
_RATE_LIMITED = 429
_SERVER_ERROR = 500


def read_problem(
    problem: Mapping[str, Any], status: int, *, retry_after: float | None = None
) -> PressroomError:
    """The error for an `application/problem+json`."""
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    if status in _REFUSED:
        problems = problem.get("problems")
        return InvalidRequest(
            detail, [str(line) for line in problems] if isinstance(problems, list) else []
        )
    if status == _RATE_LIMITED:
        return RateLimited(detail, retry_after)
    if status >= _SERVER_ERROR:
        return Unavailable(detail)
    return _BY_STATUS.get(status, PressroomError)(detail)
