"""The Celery app: one set of settings for every process, workers, beat, Flower and producers.

Its messages are bells (`workers/bell.py`), acknowledged early and worth nothing when lost. Only
`pressroom.generate` carries a request of somebody's: it is acknowledged late, and its id makes a
second copy harmless.
"""

from celery import Celery

from workers.kombu_fix import repair
from workers.redis_client import sentinel_arguments
from workers.settings import Settings

QUEUES = (
    "generate",
    "expand",
    "submit",
    "poll",
    "cancel",
    "archive",
    "notify",
    "webhook",
    "announce",
    "sweep",
)


def make_app(settings: Settings) -> Celery:
    """A configured app; connects to nothing yet."""
    repair()
    where = settings.redis_where
    sentinels = (
        {"master_name": where.service, "sentinel_kwargs": sentinel_arguments(settings)}
        if where.service
        else {}
    )
    app = Celery(
        "pressroom",
        include=[
            "workers.health",
            "workers.watch",
            "tasks.revoke",
            "tasks.spread",
            *(f"tasks.{name}" for name in QUEUES),
        ],
        broker=settings.broker_dsn,
        backend=settings.broker_dsn,
        task_cls="workers.clock:ClockedTask",
    )
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,  # but for pressroom.generate
        # Of Celery's own tasks those that a canvas of generations has sent from here.
        task_routes={f"pressroom.{name}": {"queue": name} for name in QUEUES}
        | {"celery.*": {"queue": "generate"}},
        # What is linked to a generation is a producer's, whose workers listen there unless it says.
        task_default_queue="celery",
        task_acks_late=False,
        # A frozen Redis must not hang a publisher: what was not published, the sweep rings for.
        broker_transport_options={
            "global_keyprefix": settings.redis_prefix,
            "visibility_timeout": 3600,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": False,  # it could publish twice
            **sentinels,
        },
        broker_use_ssl=where.tls,
        redis_backend_use_ssl=where.tls,
        result_backend_transport_options={
            "global_keyprefix": settings.redis_prefix,
            "retry_policy": {"max_retries": 2, "interval_start": 0, "interval_max": 0.2},
            **sentinels,
        },
        redis_socket_timeout=5,
        redis_socket_connect_timeout=5,
        result_expires=86_400,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the supervisor and `doctor` watch it
        broker_channel_error_retry=True,  # a Redis that is full refuses; the worker outlives it
        task_publish_retry=True,
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
        worker_consumer="workers.consumer:PromptConsumer",
        worker_disable_prefetch=True,  # what is not started yet is another worker's to take
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=20,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        beat_schedule={
            "sweep": {
                "task": "pressroom.sweep",
                "schedule": settings.sweep_seconds,
                "options": {"ignore_result": True},
            }
        },
        beat_scheduler="workers.beat:SweepScheduler",
    )
    return app
