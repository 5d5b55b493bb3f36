"""One Celery task for each call: `submit` posts /run, `poll` asks again until the job has ended.

    worker    celery -A scripts.benches.rivals.celery_calls worker --pool=... --queues=polls,submits
    producer  python -m scripts.benches.rivals.celery_calls

Tuned as far as the design goes: polls go before submits, so that jobs end as fast as they begin;
messages are acknowledged early, without results, events, gossip or rate limits; connections to the
upstream, the broker and Postgres are kept. Results alone are recorded: what a killed worker held is
gone, which makes it cheaper than it may be.
"""

import functools
import threading
import time
from typing import Any

import psycopg_pool  # type: ignore[import-not-found]
import urllib3
from celery import Celery, signals
from kombu import Queue
from psycopg.types.json import Json

from scripts.benches.rivals.plan import OPEN, read_plan

RECORDERS = 8  # connections to Postgres of a process, at most
PUBLISHED_AT_ONCE = 100
READY = "rival ready"

plan = read_plan()
app = Celery("rival", broker=plan.redis_url)
app.conf.update(
    task_queues=[Queue("polls"), Queue("submits")],
    task_routes={"poll": "polls", "submit": "submits"},
    broker_transport_options={"queue_order_strategy": "priority", "visibility_timeout": 3600},
    broker_pool_limit=plan.at_once,
    worker_prefetch_multiplier=4,
    task_ignore_result=True,
    task_acks_late=False,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
)
_once = threading.Lock()


@app.task(name="submit")
def submit(endpoint: str, number: int) -> None:
    sent = time.time()
    reply = call("POST", f"{endpoint}/run", {"input": {"prompt": f"job {number}"}})
    poll.apply_async((endpoint, number, reply["id"], sent), countdown=plan.poll_seconds)


@app.task(name="poll")
def poll(endpoint: str, number: int, job_id: str, sent: float) -> None:
    reply = call("GET", f"{endpoint}/status/{job_id}")
    if reply["status"] in OPEN:
        poll.apply_async((endpoint, number, job_id, sent), countdown=plan.poll_seconds)
        return
    took = (reply["delayTime"] + reply["executionTime"]) / 1000
    with open_recorders().connection() as connection:
        connection.execute(
            "INSERT INTO rival_results (number, output, sent, took, finished) VALUES"
            " (%s, %s, %s, %s, extract(epoch FROM clock_timestamp())) ON CONFLICT DO NOTHING",
            (number, Json(reply["output"]), sent, took),
        )


def call(method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
    """
    Raises:
        RuntimeError: the upstream did not answer with a 200.
    """
    response = open_http().request(method, f"{plan.base}/{path}", json=body, headers=plan.headers)
    if response.status != 200:  # noqa: PLR2004
        raise RuntimeError(f"{method} {path}: {response.status}")
    return response.json()


# Each process opens its own when it first needs them, after the fork.
@functools.cache
def open_http() -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=plan.at_once, timeout=30.0, retries=False)


def open_recorders() -> Any:  # noqa: ANN401 -- no types here
    with _once:
        return _open_recorders()


@functools.cache
def _open_recorders() -> Any:  # noqa: ANN401
    size = min(plan.at_once, RECORDERS)
    return psycopg_pool.ConnectionPool(
        plan.postgres, min_size=1, max_size=size, kwargs={"autocommit": True}, open=True
    )


@signals.worker_ready.connect
def say_ready(**_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
    print(READY, flush=True)  # noqa: T201


def hand_in() -> None:
    """Publish every job's `submit`."""
    endpoints = plan.endpoints
    with app.producer_or_acquire() as producer, producer.batch(PUBLISHED_AT_ONCE):
        for number in range(plan.jobs):
            submit.apply_async((endpoints[number % len(endpoints)], number), producer=producer)


if __name__ == "__main__":
    hand_in()
