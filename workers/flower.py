"""Flower, as it should be run: behind a login, read-only, with a bound on its memory.

It shows what Celery does; why a job is where it is, `pressroom jobs show` tells.
"""

import os

from workers import telemetry
from workers.app import make_app
from workers.settings import Settings

USER = "pressroom"
MAX_TASKS = 10_000  # 5 kB each


class FlowerPasswordMissing(Exception):
    """Flower without a login would show its pages to everybody."""

    def __str__(self) -> str:
        return "PRESSROOM_FLOWER_PASSWORD is not set: Flower is run behind a login or not at all"


def run_flower(settings: Settings) -> None:
    """Run until a signal.

    Raises:
        FlowerPasswordMissing: no password is set.
    """
    if settings.flower_password is None:
        raise FlowerPasswordMissing
    telemetry.set_up(settings)
    # By the environment: an argument would be seen in the list of processes.
    os.environ["FLOWER_BASIC_AUTH"] = f"{USER}:{settings.flower_password.get_secret_value()}"
    app = make_app(settings)
    if settings.redis_where.service:
        # Its page of queues hands them to an asyncio client, which retries in another way.
        options = app.conf.broker_transport_options
        options["sentinel_kwargs"] = {**options["sentinel_kwargs"]}
        del options["sentinel_kwargs"]["retry"]
    app.start(
        [
            "flower",
            f"--address={settings.flower_host}",
            f"--port={settings.flower_port}",
            "--read_only=True",
            f"--max_tasks={MAX_TASKS}",
            "--purge_offline_workers=300",
        ]
    )
