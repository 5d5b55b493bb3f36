"""What a producer is told of a job: one form, for Celery results and `--json` alike."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from models.artifact import Artifact
from models.attempt import Attempt
from models.delivery import Delivery, DeliveryState
from models.doubt import Doubts
from models.job import Job, JobState, Reason
from workers.links import Links
from workers.trace_context import find_trace_id

# Outwards a job's state is one of the upstream's own words.
UPSTREAM_WORDS = {
    JobState.QUEUED: "IN_QUEUE",
    JobState.SUBMITTING: "IN_QUEUE",
    JobState.UNKNOWN: "IN_QUEUE",
    JobState.LOST: "FAILED",
    JobState.REJECTED: "FAILED",
}

REASONS: dict[Reason | None, str] = {
    Reason.CANCELLED: "the job was cancelled",
    Reason.UPSTREAM_CANCELLED: "the upstream cancelled the job",
    Reason.UPSTREAM_TIMED_OUT: "the upstream says that the job took too long",
    Reason.NOT_STARTED: "nothing had begun to generate the job when it was to have begun",
    Reason.TTL_PASSED: "the job took longer than its time to live (policy.ttl)",
    Reason.RAN_TOO_LONG: "the job ran for longer than policy.executionTimeout",
    Reason.OUTCOME_UNKNOWN: "the reply to /run was lost, and nothing was heard of the job after",
}

# Of these, what may stand in `error` was of no weight.
OUR_WORD = (Reason.CANCELLED, Reason.NOT_STARTED, Reason.TTL_PASSED, Reason.RAN_TOO_LONG)


def describe_job(
    job: Job, artifacts: Sequence[Artifact], links: Links, *, brief: bool = False
) -> dict[str, Any]:
    """The job as JSON: times in ISO 8601, money as numbers of US dollars.

    Args:
        links: of its files; they take the place of the upstream's in the output.
        brief: without input, output and files.
    """
    described: dict[str, Any] = {
        "id": str(job.id),
        "endpoint": job.endpoint,
        "status": say_status(job.state),
        "state": job.state,
        "reason": job.reason,
        "error": job.error,
        "priority": job.priority,
        "attempt": job.attempt,
        "upstream_id": job.upstream_id,
        "estimate_usd": _number(job.estimate_usd),
        "cost_usd": _number(job.cost_usd),
        "delay_ms": job.delay_ms,
        "execution_ms": job.execution_ms,
        "polls": job.polls,
        "input_tokens": job.input_tokens,
        "output_tokens": job.output_tokens,
        "cached_from": str(job.cached_from) if job.cached_from else None,
        "campaign_id": str(job.campaign_id) if job.campaign_id else None,
        "custom_id": job.custom_id,
        "trace_id": find_trace_id(job.trace_context),
        "created_at": job.created_at.isoformat(),
        "submitted_at": job.submitted_at.isoformat() if job.submitted_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "next_at": job.next_at.isoformat() if job.next_at and not job.held else None,
        "start_by": job.start_by.isoformat() if job.start_by else None,
        "deadline_at": job.deadline_at.isoformat() if job.deadline_at else None,
    }
    if not brief:
        described |= {
            "input": job.input,
            "output": show_output(job, artifacts, links),
            "artifacts": [describe_artifact(artifact, links) for artifact in artifacts],
        }
    return described


def describe_job_upstream(job: Job, artifacts: Sequence[Artifact], links: Links) -> dict[str, Any]:
    """The job as the upstream's `/status` would show it: what is not known yet is left out."""
    reply: dict[str, Any] = {"id": str(job.id), "status": say_status(job.state)}
    if job.delay_ms is not None:
        reply["delayTime"] = job.delay_ms
    if job.execution_ms is not None:
        reply["executionTime"] = job.execution_ms
    if job.worker_id is not None:
        reply["workerId"] = job.worker_id
    if job.state is JobState.COMPLETED and job.output is not None:
        reply["output"] = show_output(job, artifacts, links)
    if reply["status"] not in {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"}:
        reply["error"] = say_error(job)
    return reply


def show_output(job: Job, artifacts: Sequence[Artifact], links: Links) -> Any:  # noqa: ANN401 -- any JSON
    """What the job gave: with our links, and with the cost that this job had, if it is a copy."""
    output = links.rewrite(job.output, artifacts)
    if job.cached_from is None:
        return output
    if isinstance(output, list):
        return [_without_cost(item) for item in output]
    return _without_cost(output)


def _without_cost(item: Any) -> Any:  # noqa: ANN401 -- any JSON
    return {**item, "cost": 0} if isinstance(item, dict) and "cost" in item else item


def say_status(state: JobState) -> str:
    """The upstream's own word for a state."""
    return UPSTREAM_WORDS.get(state, state.upper())


def say_error(job: Job) -> str:
    """Why a job has no result: the upstream's words where it had the last, else ours."""
    ours = REASONS.get(job.reason)
    if job.reason in OUR_WORD and ours:
        return ours
    return job.error or ours or str(job.reason)


def describe_artifact(artifact: Artifact, links: Links) -> dict[str, Any]:
    """The file as JSON; what is not known yet is null."""
    return {
        "id": str(artifact.id),
        "job_id": str(artifact.job_id),
        "endpoint": artifact.endpoint,
        "state": artifact.state,
        "field": artifact.field,
        "url": links.link(artifact),
        "thumbnail_url": links.thumbnail(artifact),
        # A data URL is the file itself, and may be megabytes of it.
        "source_url": artifact.source_url if len(artifact.source_url) < 2048 else "data:...",  # noqa: PLR2004 -- longer than any address
        "expires_at": artifact.expires_at.isoformat(),
        "tries": artifact.tries,
        "error": artifact.error,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "media_type": artifact.media_type,
        "width": artifact.width,
        "height": artifact.height,
        "duration_seconds": artifact.duration_seconds,
        "store_key": artifact.store_key,
        "thumbnail_key": artifact.thumbnail_key,
    }


def describe_attempt(attempt: Attempt) -> dict[str, Any]:
    """One call that was sent for a job, as JSON."""
    return {
        "number": attempt.number,
        "sent_at": attempt.sent_at.isoformat(),
        "answered_at": attempt.answered_at.isoformat() if attempt.answered_at else None,
        "answer": attempt.answer,
        "http_status": attempt.http_status,
        "upstream_id": attempt.upstream_id,
        "error": attempt.error,
        "cost_usd": _number(attempt.cost_usd),
        "fate": attempt.fate,
        "risk_usd": _number(attempt.risk_usd),
    }


def describe_doubts(doubts: Doubts) -> dict[str, Any]:
    """What may have been billed twice or for nothing, as JSON."""
    return {
        "possibly_twice": doubts.twice,
        "possibly_twice_usd": _number(doubts.twice_usd),
        "possibly_for_nothing": doubts.unused,
        "possibly_for_nothing_usd": _number(doubts.unused_usd),
        "certainly_twice": doubts.certain,
        "certainly_twice_usd": _number(doubts.certain_usd),
        "answered_5xx": doubts.denied,
        "answered_5xx_usd": _number(doubts.denied_usd),
        "unpriced": doubts.unpriced,
    }


def describe_doubts_of_key(doubts: Doubts) -> dict[str, Any]:
    """The same, with whose jobs they are of."""
    return {"key_id": str(doubts.key_id) if doubts.key_id else None, **describe_doubts(doubts)}


def describe_delivery(delivery: Delivery) -> dict[str, Any]:
    """Word of a job's end, sent or to be sent, as JSON."""
    return {
        "id": str(delivery.id),
        "webhook_id": f"msg_{delivery.id.hex}",
        "job_id": str(delivery.job_id),
        "kind": delivery.kind,
        "url": delivery.request.get("url"),
        "state": delivery.state,
        "tries": delivery.tries,
        "http_status": delivery.http_status,
        "error": delivery.error,
        "next_at": delivery.next_at.isoformat()
        if delivery.state is DeliveryState.PENDING
        else None,
        "delivered_at": delivery.delivered_at.isoformat() if delivery.delivered_at else None,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
