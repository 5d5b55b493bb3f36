"""The client of Pressroom: submit generations, wait for them, keep their files.

    client.py     Pressroom and AsyncPressroom: all that does I/O
    job.py        what they return: Job, Result, Artifact, and their async twins
    flows.py, map_flow.py    what is asked of the gateway and made of its answers, without I/O
    exchange.py   one request: its retries, its deadline, its errors
    effects.py    what a flow asks for
    errors.py     every error, in one tree
    progress.py   the bar on a terminal
    webhooks.py, celery_producer.py    apart from the rest

Imports go from the top of this list to the bottom.
"""

from pressroom.celery_producer import configure_celery, enqueue
from pressroom.client import AsyncPressroom, Pressroom
from pressroom.errors import (
    ArtifactUnavailable,
    Conflict,
    Forbidden,
    GenerationFailed,
    InvalidRequest,
    InvalidWebhook,
    NotFound,
    PressroomError,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)
from pressroom.job import Artifact, AsyncArtifact, AsyncJob, AsyncResult, Job, Result
from pressroom.webhooks import verify_webhook

__all__ = [
    "Artifact",
    "ArtifactUnavailable",
    "AsyncArtifact",
    "AsyncJob",
    "AsyncPressroom",
    "AsyncResult",
    "Conflict",
    "Forbidden",
    "GenerationFailed",
    "InvalidRequest",
    "InvalidWebhook",
    "Job",
    "NotFound",
    "Pressroom",
    "PressroomError",
    "RateLimited",
    "Result",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "WaitTimeout",
    "configure_celery",
    "enqueue",
    "verify_webhook",
]
