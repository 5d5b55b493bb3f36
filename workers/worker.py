"""A worker: one process, a pool of threads that wait, one event loop that works."""

import socket
from typing import Any

import structlog
from celery import signals

from workers import telemetry
from workers.app import QUEUES, make_app
from workers.garbage import keep_what_is_loaded
from workers.metrics_server import serve_metrics
from workers.runtime import Process, open_process
from workers.settings import Settings
from workers.sweep_watch import start_sweep_watch
from workers.trace_context import HEADER, find_passed_on
from workers.watch import own_queue, start_watch

log = structlog.get_logger()


def run_worker(settings: Settings, *, name: str, metrics_port: int | None = None) -> None:
    """Run until a signal; a TERM stops it gracefully: see `workers/lane.py`.

    Args:
        name: before the host's: `celery inspect` and Flower show it.
        metrics_port: its own, where several run on a machine; None: that of the settings.
    """
    telemetry.set_up(settings)
    app = make_app(settings)
    process = open_process(settings, app)
    _connect(process)
    node = f"{name}@{socket.gethostname()}"
    watch = start_watch(process, name=name, node=node)
    serve_metrics(settings, port=metrics_port or settings.metrics_port)
    log.info("worker_started", name=name, threads=settings.worker_threads)
    try:
        app.worker_main(
            [
                "worker",
                "--pool=threads",
                f"--concurrency={settings.worker_threads}",
                f"--hostname={node}",
                f"--queues={','.join((*QUEUES, own_queue(node).name))}",
                "--without-gossip",
                "--without-mingle",
                f"--loglevel={settings.log_level}",
            ]
        )
    finally:
        watch.close()
        if process.runtime.tracer is not None:
            process.runtime.tracer.close()


def _connect(process: Process) -> None:
    def keep_logging(**_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
        """Celery sets up no logging of its own where somebody listens to this signal."""

    def begin(**_signal: Any) -> None:  # noqa: ANN401
        start_sweep_watch(process)
        keep_what_is_loaded()

    def stop(**_signal: Any) -> None:  # noqa: ANN401
        process.runtime.stopping.set()
        log.info("worker_told_to_stop")

    def add_traceparent(headers: dict[str, Any], **_signal: Any) -> None:  # noqa: ANN401
        # Where a job's end is told: whatever is linked to its task goes on in its trace.
        if traceparent := find_passed_on():
            headers.setdefault(HEADER, traceparent)

    # weak=False: nothing else holds these functions.
    signals.setup_logging.connect(keep_logging, weak=False)
    signals.worker_ready.connect(begin, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
    signals.before_task_publish.connect(add_traceparent, weak=False)
