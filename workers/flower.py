"""Flower, as it should be run: behind a login, read-only, with a bound on its memory.

It shows what Celery does, and each generation as a task (`workers/flower_jobs.py`); why a job is
where it is, `pressroom jobs show` tells.
"""

import ast
import atexit
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from celery import Celery
from celery.events.state import Task
from flower.app import Flower
from flower.command import apply_env_options, extract_settings, setup_logging
from flower.events import Events
from flower.options import options
from flower.urls import settings as web_settings
from flower.views.monitor import Metrics
from flower.views.workers import WorkerView
from kombu import Queue
from tornado import web
from tornado.ioloop import IOLoop, PeriodicCallback

from models.database import Database
from workers import telemetry
from workers.app import QUEUES, make_app
from workers.flower_jobs import GENERATE, JobFeed
from workers.garbage import keep_what_is_loaded
from workers.settings import Settings

USER = "pressroom"
MAX_TASKS = 10_000  # 6.5 kB each
SAVE_SECONDS = 300  # between two writings of its state, which take up to a second
UNSEEN = {GENERATE, "celery.map", "celery.starmap", "celery.chunks", "celery.accumulate"}
COLUMNS = "name,uuid,state,args,result,runtime,received,worker"
LOOK_SECONDS = 30  # between two looks at which queues the workers take from

log = structlog.get_logger()


class FlowerPasswordMissing(Exception):
    """Flower without a login would show its pages to everybody."""

    def __str__(self) -> str:
        return "PRESSROOM_FLOWER_PASSWORD is not set: Flower is run behind a login or not at all"


class CeleryEvents(Events):  # type: ignore[misc]  # it ships no types
    """Events of workers; generations are told by `JobFeed`, and of those refused the failure.

    What a producer says of one has its input, if its app sends events at all.
    """

    def on_event(self, event: Mapping[str, Any]) -> None:
        shown = event.get("name") not in UNSEEN or event["type"] == "task-failed"
        if shown:
            super().on_event(event)


class GuardedMetrics(Metrics):  # type: ignore[misc]  # it ships no types
    """Flower's own leaves them open, whatever login there is."""

    @web.authenticated
    async def get(self) -> None:
        await super().get()


class EndpointView(WorkerView):  # type: ignore[misc]  # it ships no types
    """A generation's worker is its endpoint, of which Flower has no page."""

    async def get(self, name: str) -> None:
        workers = self.application.events.state.workers
        if name in workers and not workers[name].heartbeats:
            raise web.HTTPError(
                404, f"{name} is an endpoint, no worker: pressroom lanes list shows its lanes"
            )
        await super().get(name)


def shorten(task: Task) -> Task:
    """For the eye: of a bell's arguments the endpoint, of a result its text."""
    task.args = _read_first(task.args)
    task.result = _read_first(task.result)
    return task


def _read_first(shown: str | None) -> str | None:
    """Of what was shown as Python's: the text, or the first of several values."""
    try:
        value = ast.literal_eval(shown or "")
    except (ValueError, SyntaxError):
        return shown
    if isinstance(value, tuple):
        return str(value[0]) if value else ""
    return value if isinstance(value, str) else shown


def run_flower(settings: Settings) -> None:
    """Run until a signal.

    Raises:
        FlowerPasswordMissing: no password is set.
    """
    if settings.flower_password is None:
        raise FlowerPasswordMissing
    telemetry.set_up(settings)
    _set_options(settings, settings.flower_password.get_secret_value())
    app = make_app(settings)
    app.conf.task_queues = [Queue(name) for name in QUEUES]  # before a worker has been asked
    if settings.redis_where.service:
        # Its page of queues hands them to an asyncio client, which retries in another way.
        transport = app.conf.broker_transport_options
        transport["sentinel_kwargs"] = {**transport["sentinel_kwargs"]}
        del transport["sentinel_kwargs"]["retry"]
    flower = _open(app)
    database = Database(settings.pooler_dsn or settings.database_dsn, name="flower")
    feed = JobFeed(database, flower.events.state, campaign_most=settings.flower_campaign_jobs)
    atexit.register(flower.stop)  # writes its state down
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    flower.start_http_server()
    log.info("flower_started", port=settings.flower_port)
    IOLoop.current().add_callback(feed.run)
    PeriodicCallback(flower.update_workers, LOOK_SECONDS * 1000).start()
    keep_what_is_loaded()
    flower.start()


def _set_options(settings: Settings, password: str) -> None:
    """Flower's own variables (FLOWER_*) may set what is not set here."""
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    apply_env_options()
    options.basic_auth = [f"{USER}:{password}"]
    options.address = settings.flower_host
    options.port = settings.flower_port
    options.read_only = True
    options.max_tasks = MAX_TASKS
    options.purge_offline_workers = 300
    options.persistent = True
    folder = settings.data_dir / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is kept is unpickled: it is code
    options.db = str(folder / "flower")
    options.state_save_interval = SAVE_SECONDS * 1000
    options.tasks_columns = COLUMNS
    options.format_task = shorten
    extract_settings()
    setup_logging()


def _open(app: Celery) -> Flower:
    events = CeleryEvents(
        app,
        io_loop=IOLoop.current(),
        db=options.db,
        persistent=True,
        state_save_interval=options.state_save_interval,
        max_workers_in_memory=options.max_workers,
        max_tasks_in_memory=options.max_tasks,
    )
    flower = Flower(capp=app, options=options, events=events, **web_settings)
    prefix = f"/{options.url_prefix.strip('/')}" if options.url_prefix else ""
    flower.add_handlers(
        ".*",
        [(f"{prefix}/metrics", GuardedMetrics), (f"{prefix}/worker/(.+)", EndpointView)],
    )
    return flower
