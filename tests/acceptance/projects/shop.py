"""A Celery project as others have it: it imports nothing of Pressroom's.

`REDIS_URL` is the broker. Its worker is `celery -A shop worker`.
"""

import os
from typing import Any

from celery import Celery

app: Any = Celery("shop", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    broker_transport_options={"global_keyprefix": "pressroom:"},
    result_backend_transport_options={"global_keyprefix": "pressroom:"},
    task_routes={"pressroom.*": {"queue": "generate"}},
)


@app.task
def ids(results):
    """The ids of jobs, in the order of their results."""
    return [result["id"] for result in results]


@app.task
def prompt_of(result):
    """What the job was asked for."""
    return result["input"]["prompt"]


@app.task
def add(first, second):
    """Not about generations at all."""
    return first + second


@app.task
def note(said, key):
    """Leaves word where the test finds it."""
    app.backend.client.rpush(key, str(said))


@app.task
def note_failure(task_id, key="failures"):
    """An errback, which is told which task failed."""
    failed = app.AsyncResult(task_id)
    app.backend.client.rpush(key, f"{task_id} {failed.state} {failed.result!r}")
