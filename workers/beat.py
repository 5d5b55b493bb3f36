"""Beat: ticks the sweep. Celery's, with a scheduler that has nothing to lose: see `tasks/sweep.py`.

It goes by the monotonic clock, so a step of the host's neither holds sweeps back nor hurries them.
It remembers nothing, for a sweep looks at what is due, not at what was missed. And it sends none
while one waits: where no worker runs for an hour, they do not pile up.
"""

import time
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from kombu import Connection, Producer

from workers import telemetry
from workers.app import make_app
from workers.pulse import Pulse
from workers.settings import Settings

NAME = "beat"  # of its pulse

log = structlog.get_logger()


class SweepScheduler(Scheduler):
    """Sends each entry once in its interval."""

    pulse: Pulse

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- Celery's interface
        self._due_at: dict[str, float] = {}
        self._closed = False
        super().__init__(*args, **kwargs)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:  # noqa: ANN401
        """Send what is due; returns the seconds until something is again."""
        if self._closed:
            raise SystemExit
        try:
            self.pulse.beat()
        except OSError as error:
            log.warning("pulse_not_written", error=str(error))
        now = time.monotonic()
        for name, entry in self.schedule.items():
            if self._due_at.get(name, now) <= now:
                every: Any = entry.schedule
                self._due_at[name] = now + every.seconds
                self.apply_entry(entry)
        return max(min(self._due_at.values()) - time.monotonic(), 0.0)

    def close(self) -> None:
        """A signal does this wherever beat is, and then ends it by raising.

        Amid a publish that becomes an error like others, so the next tick ends it.
        """
        self._closed = True
        super().close()

    def apply_entry(self, entry: ScheduleEntry, producer: Producer | None = None) -> None:  # noqa: ARG002
        """Send it, unless one waits already."""
        try:
            if not self._count_waiting(entry):
                self.apply_async(entry, producer=self.producer, advance=False)
        except Exception as error:  # noqa: BLE001 -- Redis is away, and kombu's errors are many
            log.warning("tick_not_sent", task=entry.task, error=repr(error))

    def _count_waiting(self, entry: ScheduleEntry) -> int:
        queue = self.app.amqp.router.route({}, str(entry.task))["queue"].name
        channel: Any = (
            self.producer.channel
        )  # its type says that it may be none of the things it is
        return int(channel.queue_declare(queue=queue).message_count)

    def _ensure_connected(self) -> Connection:
        """Celery would wait here for Redis; a tick that cannot be sent is one missed."""
        return self.connection


def run_beat(settings: Settings) -> None:
    """Run until a signal."""
    telemetry.set_up(settings)
    SweepScheduler.pulse = Pulse(settings.data_dir, NAME)
    try:
        make_app(settings).start(["beat", f"--loglevel={settings.log_level}", "--pidfile="])
    finally:
        SweepScheduler.pulse.close()
