"""Celery's consumer, sooner back after an outage of Redis, and with fewer messages of events.

Celery waits two seconds longer before each try, up to 30: a worker would take nothing for half a
minute after Redis is back. And where Redis is there but refuses (out of memory), it would try
again at once, and again.

And what happens to tasks it tells at once, in a message for each turn of its loop: a busy worker
spends a sixteenth of its time on it. A quarter of a second later is as good to the eye.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import state
from celery.worker.consumer.consumer import Consumer
from kombu import Connection

RETRY_SECONDS = 1
EVENT_SECONDS = 0.25  # that events are gathered for one message

log = structlog.get_logger()


class PromptConsumer(Consumer):
    """Tries to reach the broker every second, for ever; tells events four times a second."""

    hub: Any  # its types lack these
    event_dispatcher: Any
    channel_errors: tuple[type[Exception], ...]
    _flush_events: Callable[[], None]

    _flush_at = 0.0  # of the monotonic clock

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # a typo of its types
        """Of any thread: the loop's own sees to the timer, which is not for others to touch.

        By the time and not by whether a flush is under way: that may be lost with the connection.
        """
        if (now := time.monotonic()) >= self._flush_at:
            self._flush_at = now + EVENT_SECONDS
            self.hub.call_soon(self._flush_later)

    def _flush_later(self) -> None:
        self.hub.call_later(EVENT_SECONDS, self._flush_events)

    def stop(self) -> None:
        self._flush_events()
        super().stop()

    def ensure_connected(self, conn: Connection) -> Connection:
        def tell(error: Exception, _seconds: float) -> None:
            log.warning("broker_lost", error=str(error))

        connected = conn.ensure_connection(
            tell,
            interval_start=RETRY_SECONDS,
            interval_step=0,
            interval_max=RETRY_SECONDS,
            callback=state.maybe_shutdown,
        )
        self.first_connection_attempt = False
        return connected

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        log.warning("broker_refused", error=str(exc))
        time.sleep(RETRY_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            time.sleep(RETRY_SECONDS)
