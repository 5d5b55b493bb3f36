"""What a producer is told of a job: one form, for Celery results and `--json` alike."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from models.artifact import Artifact
from models.job import Job, JobState

# Outwards a job's state is one of the upstream's own words.
UPSTREAM_WORDS = {
    JobState.QUEUED: "IN_QUEUE",
    JobState.SUBMITTING: "IN_QUEUE",
    JobState.UNKNOWN: "IN_QUEUE",
    JobState.LOST: "FAILED",
    JobState.REJECTED: "FAILED",
}


def describe_job(job: Job, artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """The job as JSON: times in ISO 8601, money as numbers of US dollars."""
    return {
        "id": str(job.id),
        "endpoint": job.endpoint,
        "status": UPSTREAM_WORDS.get(job.state, job.state.upper()),
        "state": job.state,
        "reason": job.reason,
        "error": job.error,
        "input": job.input,
        "output": job.output,
        "attempt": job.attempt,
        "upstream_id": job.upstream_id,
        "estimate_usd": _number(job.estimate_usd),
        "cost_usd": _number(job.cost_usd),
        "delay_ms": job.delay_ms,
        "execution_ms": job.execution_ms,
        "polls": job.polls,
        "campaign_id": str(job.campaign_id) if job.campaign_id else None,
        "created_at": job.created_at.isoformat(),
        "submitted_at": job.submitted_at.isoformat() if job.submitted_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "next_at": job.next_at.isoformat() if job.next_at else None,
        "artifacts": [describe_artifact(artifact) for artifact in artifacts],
    }


def describe_artifact(artifact: Artifact) -> dict[str, Any]:
    """The file as JSON; what is not known yet is null."""
    return {
        "id": str(artifact.id),
        "job_id": str(artifact.job_id),
        "endpoint": artifact.endpoint,
        "state": artifact.state,
        "field": artifact.field,
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


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
