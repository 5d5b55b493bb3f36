"""Celery's consumer, sooner back after an outage of Redis.

Celery waits two seconds longer before each try, up to 30: a worker would take nothing for half a
minute after Redis is back. And where Redis is there but refuses (out of memory), it would try
again at once, and again.
"""

import time

import structlog
from celery.worker import state
from celery.worker.consumer.consumer import Consumer
from kombu import Connection

RETRY_SECONDS = 1

log = structlog.get_logger()


class PromptConsumer(Consumer):
    """Tries to reach the broker every second, for ever."""

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
        if isinstance(exc, self.channel_errors):  # type: ignore[attr-defined]  # it is there
            time.sleep(RETRY_SECONDS)
