"""A worker watches itself: does it still take messages?

Celery's consumer can come out of an outage of Redis alive, connected, answering pings, and deaf.
So every few seconds a thread of its own sends this worker a message through a queue that only it
reads. Its run shows that the consumer reads and that a thread was free; a call to the event loop
shows that stages can work. A worker that hears nothing of either for 30 s, although Redis takes
messages and threads are free, is deaf: it says so, hands back what it holds, and ends, for its
supervisor to start another. While Redis is away nobody is deaf.

All waiting is counted in looks, and one look counts for little: a process that was stopped for a
minute has not listened in vain for a minute.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, shared_task, signals
from celery.worker import state
from kombu import Exchange, Queue
from redis.exceptions import RedisError

from workers import clock
from workers.pulse import Pulse
from workers.redis_client import connect_redis
from workers.runtime import Process
from workers.settings import Settings
from workers.sign import FORGET_SECONDS, Sign, sign_key

LOOK_SECONDS = 3.0
DEAF_SECONDS = 30.0
START_SECONDS = 30.0  # on top, before it has heard anything
FULL_SECONDS = 3900.0  # that no stage ends in a full pool: longer than any runs (workers/lane.py)
LEAVE_SECONDS = 35.0  # that running stages are given before a deaf worker ends: a `/run` takes 30
DEAF_EXIT = 70  # EX_SOFTWARE

log = structlog.get_logger()

_watch: "Watch | None" = None


@shared_task(name="pressroom.echo", ignore_result=True, send_events=False)
def echo() -> None:
    """Show this worker that it takes messages."""
    if _watch is not None:
        _watch.hear()


def own_queue(node: str) -> Queue:
    """The queue that one worker reads alone; what is left in it goes with the worker."""
    name = f"echo.{node}"
    # With an exchange of its own, what kombu keeps of both in Redis is swept away with it.
    return Queue(name, exchange=Exchange(name), routing_key=name, expires=FORGET_SECONDS)


def start_watch(process: Process, *, name: str, node: str) -> "Watch":
    """Begin to watch this worker; close it when the worker has stopped.

    Args:
        name: of the process, for its pulse.
        node: Celery's name of it, which no other worker has.
    """
    global _watch  # noqa: PLW0603 -- one a process is what it is
    app = process.runtime.app
    queue = own_queue(node)
    app.amqp.queues.add(queue)
    _watch = Watch(
        process,
        Pulse(process.runtime.settings.data_dir, name),
        Mailbox(app, process.runtime.settings, node=node, queue=queue),
    )
    threading.Thread(target=_watch.run, name="watch", daemon=True).start()
    return _watch


class Mailbox:
    """Redis, as the watch sees it: on connections of its own, for a busy pool or loop has none."""

    def __init__(self, app: Celery, settings: Settings, *, node: str, queue: Queue) -> None:
        self._app = app
        self._queue = queue
        self._list = f"{settings.redis_prefix}{queue.name}"
        self._sign = sign_key(settings, node)
        self._redis = connect_redis(settings)

    def look(self, said: str) -> int:
        """Leave a sign of life; returns how many messages wait for this worker.

        Raises:
            RedisError: Redis is away, or takes no writes.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.llen(self._list)
            (seconds, microseconds), waiting = pipe.execute()
        clock.learn(seconds + microseconds / 1e6)
        self._redis.set(self._sign, Sign(seconds, said).to_json(), ex=FORGET_SECONDS)
        return int(waiting)

    def send(self) -> None:
        """
        Raises:
            OperationalError: the broker is away, or takes no writes.
        """
        self._app.send_task("pressroom.echo", queue=self._queue.name, ignore_result=True)
        self._redis.expire(self._list, FORGET_SECONDS)

    def close(self) -> None:
        """This worker is not to be missed."""
        try:
            self._redis.delete(self._sign, self._list)
        except RedisError as error:
            log.warning("sign_not_taken_back", error=str(error))
        self._redis.close()


class Watch:
    """Looks, judges, and ends the process if it must.

    Args:
        die: what ends it.
    """

    def __init__(
        self,
        process: Process,
        pulse: Pulse,
        mailbox: Mailbox,
        *,
        die: Callable[[int], Any] = os._exit,
    ) -> None:
        self._process = process
        self._pulse = pulse
        self._mailbox = mailbox
        self._die = die
        self._closed = threading.Event()
        self._heard = threading.Event()
        self._answered = threading.Event()
        self._answered.set()
        self._ended = 0  # tasks, so far
        self._ended_before = 0
        self._deaf_seconds = -START_SECONDS
        self._stuck_seconds = 0.0
        self._full_seconds = 0.0
        self._looked_at = time.monotonic()
        signals.task_postrun.connect(self._note_end, weak=False)

    def hear(self) -> None:
        """A message came through."""
        self._heard.set()

    def run(self) -> None:
        """Look until closed."""
        while not self._closed.is_set():
            problem = self.look()
            if problem is not None:
                self._leave(problem)
                return
            self._closed.wait(LOOK_SECONDS)

    def look(self) -> str | None:
        """Look once; returns what is wrong with this worker, if it must be replaced."""
        now = time.monotonic()
        elapsed = min(now - self._looked_at, 2 * LOOK_SECONDS)
        self._looked_at = now
        self._beat()
        if self._process.runtime.stopping.is_set():
            return None  # it takes nothing any more, and ends by itself
        return self._ask_loop(elapsed) or self._ask_pool(elapsed) or self._ask_consumer(elapsed)

    def close(self) -> None:
        """The worker has stopped by itself."""
        self._closed.set()
        self._mailbox.close()
        self._pulse.close()

    def _beat(self) -> None:
        try:
            self._pulse.beat()
        except OSError as error:
            log.warning("pulse_not_written", error=str(error))

    def _ask_loop(self, elapsed: float) -> str | None:
        if self._answered.is_set():
            self._stuck_seconds = 0.0
            self._answered.clear()
            self._process.loop.start(self._answer())
            return None
        self._stuck_seconds += elapsed
        if self._stuck_seconds < DEAF_SECONDS:
            return None
        return f"the event loop has not answered for {self._stuck_seconds:.0f} s"

    async def _answer(self) -> None:
        self._answered.set()

    def _ask_pool(self, elapsed: float) -> str | None:
        moved = self._ended != self._ended_before
        self._ended_before = self._ended
        if not self._is_full() or moved:
            self._full_seconds = 0.0
            return None
        self._full_seconds += elapsed
        if self._full_seconds < FULL_SECONDS:
            return None
        return f"every thread is busy, and no stage has ended for {self._full_seconds:.0f} s"

    def _ask_consumer(self, elapsed: float) -> str | None:
        full = self._is_full()
        if self._heard.is_set():
            self._heard.clear()
            self._deaf_seconds = 0.0
        elif not full:
            self._deaf_seconds += elapsed
        try:
            waiting = self._mailbox.look("has every thread busy" if full else "")
            if not waiting:  # it was taken, or lost with the data of Redis
                self._mailbox.send()
        except Exception as error:  # noqa: BLE001 -- kombu and redis-py each have several
            log.warning("redis_lost", error=str(error))
            self._deaf_seconds = min(self._deaf_seconds, 0.0)
            return None
        if self._deaf_seconds < DEAF_SECONDS:
            return None
        return (
            f"it has taken no message for {self._deaf_seconds:.0f} s, "
            f"{waiting} waited, and Redis takes more"
        )

    def _is_full(self) -> bool:
        return len(state.reserved_requests) >= self._process.runtime.settings.worker_threads

    def _note_end(self, **_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
        self._ended += 1

    def _leave(self, problem: str) -> None:
        """End the process: what can be handed back is; a `/run` on its way is waited for."""
        log.error(
            "worker_went_deaf",
            problem=problem,
            threads_busy=len(state.reserved_requests),
            threads=self._process.runtime.settings.worker_threads,
        )
        self._process.runtime.stopping.set()
        deadline = time.monotonic() + LEAVE_SECONDS
        # Not Celery's requests: of those that a deaf worker holds some never end.
        while self._process.runtime.lane_runs and time.monotonic() < deadline:
            self._closed.wait(0.1)
        self._die(DEAF_EXIT)
