"""One request to the upstream that is passed through: what is sent, and how its end is recorded."""

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from endpoints.catalogue import Endpoint, bill
from gateway.upstream_api.completion import Completion
from models.attempt import Answer, AttemptEnd
from models.job import JobState, Reason
from models.transitions import Move, end, lose_sight
from tasks.direct import DirectJob, end_direct_job
from workers.runtime import Runtime

OUR_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN)
NOT_THE_REQUEST = (*OUR_KEY, HTTPStatus.TOO_MANY_REQUESTS)  # that is wrong: it may be sent again
RESOLVE_SECONDS = 1.0  # a lost one is decided at once: nothing more will be heard of it


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that is passed through."""

    runtime: Runtime
    endpoint: str
    listed: Endpoint | None
    body: dict[str, Any]
    job: DirectJob
    completion: Completion = field(default_factory=Completion)
    started: float = field(default_factory=time.monotonic)

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def shows_usage(self) -> bool:
        """Whether its client asked for token counts."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))

    @property
    def content(self) -> bytes:
        """What is sent: with token counts asked for, without which nobody knows the cost."""
        body = dict(self.body)
        if self.streams:
            options = body.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        return orjson.dumps(body)

    async def ended(self, http_status: int) -> None:
        """It was answered, to the end."""
        took = round((time.monotonic() - self.started) * 1000)
        move = self._end(JobState.COMPLETED, execution_ms=took, delay_ms=0)
        await self._record(move, Answer.ACCEPTED, http_status)

    async def refused(self, http_status: int, error: str) -> None:
        """The upstream answered that it will not, or cannot."""
        if http_status in NOT_THE_REQUEST:
            await self._fail(error, Reason.UPSTREAM_FAULT, Answer.BUSY, http_status)
        elif http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
            await self._fail(error, Reason.UPSTREAM_REFUSED, Answer.REFUSED, http_status)
        else:
            await self._fail(error, Reason.UPSTREAM_FAULT, Answer.FAULT, http_status)

    async def never_sent(self, error: str) -> None:
        await self._fail(error, Reason.UPSTREAM_FAULT, Answer.UNSENT)

    async def lost(self, error: str, http_status: int | None = None) -> None:
        """There was no answer."""
        error = f"no reply: {error}"
        move = lose_sight(self.job.id, self.job.lease, error=error, due_in=RESOLVE_SECONDS)
        await self._record(move, Answer.UNKNOWN, http_status, error=error)

    async def broke_off(self, error: str, http_status: int | None = None) -> None:
        """Its answer ended in the middle, or was none."""
        await self._fail(error, Reason.UPSTREAM_FAULT, Answer.ACCEPTED, http_status)

    async def left(self) -> None:
        """Its client went away."""
        error = f"the client went away after {self.completion.events} events"
        move = self._end(JobState.CANCELLED, reason=Reason.CANCELLED, error=error)
        answer = Answer.ACCEPTED if self.completion.events else Answer.UNKNOWN
        await self._record(move, answer, error=error)

    async def _fail(
        self, error: str, reason: Reason, answer: Answer, http_status: int | None = None
    ) -> None:
        move = self._end(JobState.FAILED, reason=reason, error=error)
        await self._record(move, answer, http_status, error=error)

    def _end(self, state: JobState, **facts: Any) -> Move:  # noqa: ANN401 -- the fields of Move
        """With all that is known of it by now."""
        return end(
            self.job.id,
            self.job.lease,
            state=state,
            output=self.completion.output,
            upstream_id=self.completion.id,
            input_tokens=self.completion.input_tokens,
            output_tokens=self.completion.output_tokens,
            cost_usd=self._cost(),
            **facts,
        )

    async def _record(
        self,
        move: Move,
        answer: Answer,
        http_status: int | None = None,
        *,
        error: str | None = None,
    ) -> None:
        await end_direct_job(
            self.runtime,
            self.job,
            move,
            AttemptEnd(
                job_id=self.job.id,
                lease=self.job.lease,
                answer=answer,
                http_status=http_status,
                upstream_id=self.completion.id,
                error=error,
            ),
        )

    def _cost(self) -> str | None:
        if self.listed is None:
            return None
        known = self.listed.schema["properties"]
        cost = bill(
            self.listed,
            {"model": self.body["model"]} if "model" in self.body and "model" in known else {},
            input_tokens=self.completion.input_tokens,
            output_tokens=self.completion.output_tokens,
        )
        return None if cost is None else str(cost)
