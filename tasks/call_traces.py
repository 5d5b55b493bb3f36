"""What the spans of each stage's calls say. Words of others stay out: they may quote a prompt."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from endpoints.outcomes import Accepted, Busy, Ended, Missing, PollOutcome, Running, SubmitOutcome
from models.artifact import DownloadEnd
from models.claims import Cancel, Download, Poll
from models.transitions import Submission
from workers.call_trace import CallTrace

if TYPE_CHECKING:
    from tasks.cancel import Cancelled
    from tasks.notify import Told, Word
    from tasks.poll import Polled
    from tasks.submit import Submitted
    from tasks.webhook import Message, Sent

Facts = dict[str, str | int | float]

METHOD = "http.request.method"
STATUS = "http.response.status_code"
ERROR = "error.type"


def _describe_submit(row: Submission, end: "Submitted") -> Facts:
    outcome = end.outcome
    facts: Facts = {METHOD: "POST", "pressroom.attempt": row.attempt, **_name_error(outcome)}
    if outcome.http_status:
        facts[STATUS] = outcome.http_status
    if isinstance(outcome, Accepted):
        facts["pressroom.upstream_id"] = outcome.upstream_id
    return facts


def _describe_poll(row: Poll, end: "Polled") -> Facts | None:
    """Of those that say what was known already there may be thousands a job: they have none."""
    outcome = end.outcome
    if isinstance(outcome, Busy):  # it is the lane's affair
        return None
    if isinstance(outcome, Running) and outcome.state.value == row.state.value and not row.misses:
        return None
    facts: Facts = {
        METHOD: "GET",
        "pressroom.upstream_id": row.upstream_id,
        "pressroom.polls": row.polls + 1,
        **_name_error(outcome),
    }
    if isinstance(outcome, Running | Ended):
        facts["pressroom.state"] = outcome.state.value
    if isinstance(outcome, Ended):
        took = {"delay_ms": outcome.delay_ms, "execution_ms": outcome.execution_ms}
        facts |= {f"pressroom.{name}": ms for name, ms in took.items() if ms is not None}
    return facts


def _describe_cancel(row: Cancel, end: "Cancelled") -> Facts | None:
    if isinstance(end.outcome, Busy):
        return None
    return {
        METHOD: "POST",
        "pressroom.upstream_id": row.upstream_id,
        "pressroom.tries": row.tries,
        **_name_error(end.outcome),
    }


def _describe_download(row: Download, end: DownloadEnd) -> Facts:
    facts: Facts = {"pressroom.artifact.id": str(row.id), "pressroom.tries": row.tries}
    if end.sha256 is None:
        return {**facts, ERROR: "download_failed" if end.counts else "store_refused"}
    return {
        **facts,
        "pressroom.artifact.media_type": end.media_type or "",
        "pressroom.artifact.bytes": end.size_bytes or 0,
    }


def _describe_told(row: "Word", end: "Told") -> Facts:
    facts: Facts = {
        "messaging.system": "celery",
        "messaging.operation.type": "send",
        "messaging.message.id": str(row.notice.job_id),
        "pressroom.tries": row.notice.tries,
    }
    return facts if end.error is None else {**facts, ERROR: end.error.partition(":")[0]}


def _describe_webhook(row: "Message", end: "Sent") -> Facts:
    facts: Facts = {
        METHOD: "POST",
        "server.address": urlsplit(row.notice.request["url"]).hostname or "",
        "messaging.message.id": f"msg_{row.notice.id.hex}",
        "pressroom.tries": row.notice.tries,
    }
    if end.http_status is not None:
        facts[STATUS] = end.http_status
    if end.error is not None:
        facts[ERROR] = str(end.http_status or "no_answer")
    return facts


def _name_error(outcome: SubmitOutcome | PollOutcome) -> Facts:
    if isinstance(outcome, Accepted | Running | Ended):
        return {}
    if isinstance(outcome, Busy):
        return {ERROR: outcome.cause.name.lower()}
    return {ERROR: "missing" if isinstance(outcome, Missing) else type(outcome).__name__.lower()}


SUBMIT_TRACE: CallTrace[Submission, "Submitted"] = CallTrace(
    "CLIENT", lambda row: (row.id, row.trace_context), _describe_submit
)
POLL_TRACE: CallTrace[Poll, "Polled"] = CallTrace(
    "CLIENT", lambda row: (row.id, row.trace_context), _describe_poll
)
CANCEL_TRACE: CallTrace[Cancel, "Cancelled"] = CallTrace(
    "CLIENT", lambda row: (row.id, row.trace_context), _describe_cancel
)
ARCHIVE_TRACE: CallTrace[Download, DownloadEnd] = CallTrace(
    "INTERNAL", lambda row: (row.job_id, row.trace_context), _describe_download
)
NOTIFY_TRACE: CallTrace["Word", "Told"] = CallTrace(
    "PRODUCER", lambda row: (row.notice.job_id, row.trace_context), _describe_told
)
WEBHOOK_TRACE: CallTrace["Message", "Sent"] = CallTrace(
    "CLIENT", lambda row: (row.notice.job_id, row.trace_context), _describe_webhook
)
