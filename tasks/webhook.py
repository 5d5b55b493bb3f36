"""Webhook: tell a producer's own address that its job has ended, signed by Standard Webhooks.

claim   webhooks of jobs that have ended, with the jobs and their files
act     POST the job as `/status` shows it; a 2xx is all that counts
record  delivered, or again later: for a day, and then given up until somebody replays it
chain   itself

The address was named by somebody else, so what it leads to is looked at when it is connected to
(`endpoints/guard.py`), and no redirect is followed.
"""

import asyncio
import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import aiohttp
import httpx
import orjson
import structlog
from celery import shared_task
from standardwebhooks.webhooks import Webhook

from endpoints.guard import ForbiddenAddress
from models.claims import Notice
from models.delivery import DeliveryFailure, record_deliveries
from models.key import get_keys
from models.lane import Claim, StageName
from tasks.call_traces import WEBHOOK_TRACE
from tasks.endings import claim_endings
from tasks.results import describe_job_upstream
from workers import operator_settings
from workers.lane import Chain, Stage, work_lane
from workers.runtime import Runtime
from workers.trace_context import HEADER, say_traceparent

ACT_SECONDS = 15.0
SHOWN_BYTES = 200  # of an answer that is no 2xx; no more of any is read
GIVE_UP_SECONDS = 24 * 3600.0
# After each try that failed; the last again and again, until a day is over. With jitter.
WAITS_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook, ready to be sent."""

    notice: Notice
    body: bytes
    secret: str | None  # None: of a job without a key
    trace_context: bytes | None = None

    @property
    def id(self) -> UUID:
        return self.notice.id

    @property
    def lease(self) -> UUID:
        return self.notice.lease


@dataclass(frozen=True, slots=True)
class Sent:
    notice: Notice
    error: str | None = None
    http_status: int | None = None


async def claim(runtime: Runtime, wanted: Claim) -> Sequence[Message]:
    async with runtime.database.begin() as session:
        endings = await claim_endings(session, StageName.WEBHOOK, **wanted)
        keys = await get_keys(session, {one.job.key_id for one in endings if one.job.key_id})
    links = await runtime.links()
    messages = []
    for one in endings:
        key = keys.get(one.job.key_id) if one.job.key_id else None
        secret = runtime.secret.webhook_secret(key.id, key.webhook_version) if key else None
        body = orjson.dumps(describe_job_upstream(one.job, one.files, links))
        messages.append(Message(one.notice, body, secret, one.job.trace_context))
    return messages


async def act(runtime: Runtime, row: Message) -> Sent:
    headers = sign(row)
    if traceparent := say_traceparent(row.trace_context):
        headers[HEADER] = traceparent
    said = await post(runtime, row.notice.request["url"], row.body, headers)
    return Sent(row.notice, said.error, said.http_status)


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a POST: no error, if it was taken; no status, if nobody answered."""

    error: str | None
    http_status: int | None = None


async def post(runtime: Runtime, url: str, body: bytes, headers: dict[str, str]) -> Said:
    """POST to an address that somebody else named; no more is read of the answer than is shown."""
    try:
        async with (
            asyncio.timeout(ACT_SECONDS),
            runtime.guarded_http.stream(
                "POST",
                url,
                content=body,
                headers={"Content-Type": "application/json", **headers},
                follow_redirects=False,
            ) as response,
        ):
            said = "" if response.is_success else await _read_beginning(response)
    except TimeoutError:
        return Said(f"no answer within {ACT_SECONDS:.0f} s")
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        aiohttp.ClientError,
        ForbiddenAddress,
        OSError,
        ValueError,
    ) as error:
        # The words alone: which timeout httpx takes a reset for would mislead.
        return Said((str(error) or type(error).__name__)[:500])
    if response.is_success:
        return Said(None, response.status_code)
    error_text = f"HTTP {response.status_code}" + (f": {said}" if said else "")
    return Said(error_text, response.status_code)


async def _read_beginning(response: httpx.Response) -> str:
    """As it came: who answers may be anybody, and name any encoding, or never end."""
    beginning = b""
    async for chunk in response.aiter_raw():
        beginning += chunk[:SHOWN_BYTES]
        if len(beginning) >= SHOWN_BYTES:
            break
    return beginning[:SHOWN_BYTES].decode("utf-8", "replace").replace("\x00", "").strip()


def sign(message: Message) -> dict[str, str]:
    """The headers of a job's webhook."""
    notice = message.notice
    return sign_message(f"msg_{notice.id.hex}", notice.now, message.body, message.secret)


def sign_message(
    message_id: str, now: dt.datetime, body: bytes, secret: str | None
) -> dict[str, str]:
    """The headers of Standard Webhooks; the id is the same each time it is sent.

    Args:
        now: the database's: who receives it refuses what is minutes old, and this host's clock may
            be wrong.
        secret: None: it is not signed.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
    if secret is not None:
        headers["webhook-signature"] = Webhook(secret).sign(message_id, now, body.decode())
    return headers


async def record(runtime: Runtime, endpoint: str, ends: Sequence[Sent]) -> Chain:
    failed = {}
    for sent in ends:
        if sent.error is None:
            continue
        wait = WAITS_SECONDS[min(sent.notice.tries, len(WAITS_SECONDS)) - 1]
        wait *= random.uniform(0.8, 1.2)  # noqa: S311 -- jitter
        over = sent.notice.pending_seconds + wait > GIVE_UP_SECONDS
        failed[sent.notice.id] = DeliveryFailure(error=sent.error, retry_in=None if over else wait)
        log.warning(
            "webhook_failed",
            job=str(sent.notice.job_id),
            endpoint=endpoint,
            tries=sent.notice.tries,
            http_status=sent.http_status,
            said=sent.error,
            given_up=over,
        )
    async with runtime.database.begin() as session:
        await record_deliveries(
            session,
            lease=ends[0].notice.lease,
            ids=[sent.notice.id for sent in ends],
            failed=failed,
            http_statuses={
                sent.notice.id: sent.http_status for sent in ends if sent.http_status is not None
            },
        )
    waits = [one.retry_in for one in failed.values() if one.retry_in is not None]
    return {StageName.WEBHOOK: min(waits)} if waits else {}


WEBHOOK = Stage(
    name=StageName.WEBHOOK,
    batch=50,
    act_seconds=ACT_SECONDS,
    operation=operator_settings.WEBHOOK,
    flush_seconds=0.05,
    interruptible=False,  # one that was received would be received again
    claim=claim,
    act=act,
    record=record,
    name_end=lambda sent: "failed" if sent.error else "sent",
    trace=WEBHOOK_TRACE,
)


@shared_task(name="pressroom.webhook", ignore_result=True)
def webhook(endpoint: str, at: int) -> str:
    return work_lane(WEBHOOK, endpoint, at)
