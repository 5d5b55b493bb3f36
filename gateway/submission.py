"""From a request whose form is right to an accepted job: for /v2 and /api/v1 alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway.acceptor import Overloaded
from gateway.errors import ApiError
from gateway.state import GatewayState
from models.errors import DatabaseUnavailable
from models.job import OnUnknown
from models.key import Caller
from tasks.accept import Accepted, Incoming
from tasks.intake import InvalidRequest, Request, check_request, hash_json
from tasks.job_trace import JobTrace, begin_job_trace
from workers.maintenance import RETRY_SECONDS as MAINTENANCE_SECONDS

RETRY_SECONDS = "1"  # when too many wait
METHOD, ROUTE = "http.request.method", "http.route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A generation that a key asks for.

    Attributes:
        sync: it may be as large as /runsync takes.
        cache: a stored result will do; None: as the key or the settings say.
        size: of its body, in bytes.
        traceparent: of its producer, as it came.
        route: by which it came, for its trace.
        one_of_many: one request hands in several.
    """

    endpoint: str
    input: Mapping[str, Any]
    size: int
    webhook: object = None
    policy: Mapping[str, Any] | None = None
    s3_config: Mapping[str, str] | None = None
    on_unknown: OnUnknown | None = None
    start_within: float | None = None  # seconds
    priority: int | None = None
    idempotency_key: str | None = None
    cache: bool | None = None
    sync: bool = False
    traceparent: str | None = None
    route: str = ""
    one_of_many: bool = False


async def check(state: GatewayState, caller: Caller, asked: Submission) -> Incoming:
    """
    Raises:
        InvalidRequest: the endpoint does not take it.
        ApiError: its webhook is not to be called.
    """
    trace = begin_job_trace(
        state.runtime,
        traceparent=asked.traceparent,
        one_of_many=asked.one_of_many,
        kind="SERVER",
        facts={METHOD: "POST", ROUTE: asked.route},
    )
    try:
        return await _check(state, caller, asked, trace)
    except (ApiError, InvalidRequest) as error:
        trace.refused(error)
        raise


async def _check(
    state: GatewayState, caller: Caller, asked: Submission, trace: JobTrace
) -> Incoming:
    runtime = state.runtime
    operator = await runtime.operator_settings()
    checked = check_request(
        runtime.catalogue,
        Request(
            endpoint=asked.endpoint,
            input=asked.input,
            on_unknown=asked.on_unknown,
            start_within=asked.start_within,
            priority=asked.priority,
            key_id=caller.key_id,
            policy=asked.policy,
            s3_config=asked.s3_config,
            sync=asked.sync,
            trace_context=trace.kept,
        ),
        on_unknown=operator.on_unknown,
        secret=runtime.secret,
        guard=runtime.guard,
    )
    webhook = None
    if asked.webhook is not None:
        webhook = await state.webhook_urls.check(asked.webhook)
    cache = next(
        said
        for said in (asked.cache, caller.result_cache, operator.result_cache)
        if said is not None
    )
    return Incoming(
        job=checked.job,
        key_id=caller.key_id,
        request_hash=hash_json(
            [
                checked.job.endpoint,
                checked.job.input,
                checked.job.policy,
                dict(asked.s3_config or {}),
                webhook,
                asked.on_unknown,
                asked.cache,
                asked.start_within,
            ]
        ),
        idempotency_key=asked.idempotency_key,
        webhook=webhook,
        cache=cache and not asked.s3_config,  # its files are wanted in a place of its own
        trace=trace,
    )


async def accept(state: GatewayState, incoming: Sequence[Incoming], *, size: int) -> list[Accepted]:
    """
    Raises:
        ApiError: 503 too much waits to be written down, or nothing is taken.
        DatabaseUnavailable: nothing was written.
    """
    await refuse_in_maintenance(state)
    try:
        accepted = await state.acceptor.accept(incoming, size=size)
    except (Overloaded, DatabaseUnavailable) as error:
        for one in incoming:
            one.trace.refused(error)
        if isinstance(error, DatabaseUnavailable):
            raise
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too many requests wait to be written down; nothing was recorded, try again",
            headers={"Retry-After": RETRY_SECONDS},
        ) from error
    for one, answer in zip(incoming, accepted, strict=True):
        one.trace.accepted(
            answer.job_id, one.job.endpoint, existing=answer.existing, cached=answer.cached
        )
    return accepted


async def refuse_in_maintenance(state: GatewayState, *, unsent: bool = True) -> None:
    """
    Args:
        unsent: it may wait to be sent, so that it is refused only if operators want that.

    Raises:
        ApiError: 503, with when to come again, and why.
    """
    maintenance = (await state.runtime.operator_settings()).maintenance
    if maintenance is not None and (maintenance.refuse or not unsent):
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{maintenance}; this request was not recorded, come again later",
            headers={"Retry-After": str(MAINTENANCE_SECONDS)},
        )


def conflict(key: str | None) -> ApiError:
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"the Idempotency-Key {key!r} belongs to another request of the last 24 hours",
        type_="/problems/idempotency-key-reused",
    )
