"""`map` and `starmap` of generations: `celery.map` and `celery.starmap`, as our workers run them.

Celery's own call the task for one item after the other, in one process, and know nothing of the
signature but its name. A generation gives nothing back when it is called; so the task becomes a
chord, whose header are the signature's generations, one for each item, and whose result is their
list. An item comes by position, as a result before it would: `from_previous` says what is taken.

The ids of the generations, and of the chord, follow from the task's: a second copy of its message
doubles nothing.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

from celery import chord, group, signals, signature
from celery.exceptions import Ignore

from workers.at_once import DUE_AT, TakenAtOnce
from workers.clock import read_moment
from workers.kombu_fix import GENERATE
from workers.runtime import Runtime, get_process

KEPT_SECONDS = 86_400  # as long as results
SENDING_SECONDS = 15  # as long as one that died may hold off its second copy, and longer ...
SENT_A_SECOND = 50  # ... by what a slow worker needs for its items
AGAIN_SECONDS = 2.0
ITEMS, SENDING, SENT = "items", "sending", "sent"


class Map(TakenAtOnce):
    """[task(item) for item in it]"""

    name = "celery.map"
    acks_late = True
    ignore_result = False
    send_events = False  # its items are prompts

    def run(self, task: dict[str, Any], it: Iterable[Any]) -> Any:  # noqa: ANN401 -- a replaced task has no result
        """Send a generation for each item; the result is the list of theirs.

        Raises:
            ValueError: it is not of generations.
        """
        mapped: Any = signature(task, app=self.app)
        if mapped.task != GENERATE:
            raise ValueError(f"{self.name} of {GENERATE} was wanted, {mapped.task} came")
        request: Any = self.request
        due_at = (request.headers or {}).get(DUE_AT)
        when = {"eta": read_moment(due_at)} if due_at else {}
        family = UUID(request.id)
        header: Any = group(
            [
                mapped.clone(args=self.spread(item)).set(task_id=str(uuid5(family, str(n))), **when)
                for n, item in enumerate(it)
            ],
            app=self.app,
        )
        if not header.tasks:
            return []
        if not self._begin(request.id, len(header.tasks)):
            raise self.retry(countdown=AGAIN_SECONDS, max_retries=None)
        header.set(task_id=str(uuid5(family, "header")))
        gather: Any = self.app.tasks["celery.accumulate"].s(index=0)
        try:
            return self.replace(chord(header, gather.set(ignore_result=False), app=self.app))
        except Ignore:
            self._note(request.id, SENT)
            raise

    def _begin(self, task_id: str, items: int) -> bool:
        """Whether this copy is to send it: not while another does, which may be about to die.

        To send it anew while its last part comes back would take the chord out of the hands of who
        is about to complete it.

        Raises:
            Ignore: another copy has sent it.
        """
        client: Any = self.backend.client  # type: ignore[attr-defined]
        key = self._key(task_id, SENT)
        if client.exists(key):
            raise Ignore
        # For whoever revokes it: it is no job, and its items are.
        client.set(self._key(task_id, ITEMS), items, ex=KEPT_SECONDS)
        seconds = SENDING_SECONDS + items // SENT_A_SECOND
        return bool(client.set(self._key(task_id, SENDING), 1, nx=True, ex=seconds))

    def _note(self, task_id: str, what: str) -> None:
        client: Any = self.backend.client  # type: ignore[attr-defined]
        client.set(self._key(task_id, what), 1, ex=KEPT_SECONDS)

    def _key(self, task_id: str, what: str) -> str:
        return _key(get_process().runtime, task_id, what)

    def spread(self, item: Any) -> tuple[Any, ...]:  # noqa: ANN401 -- any JSON
        return (item,)


async def list_items(runtime: Runtime, task_id: str) -> list[UUID]:
    """The jobs of a map; none of what is none.

    Raises:
        RedisError: Redis does not say.
    """
    items = int(await runtime.redis.get(_key(runtime, task_id, ITEMS)) or 0)
    return [uuid5(UUID(task_id), str(n)) for n in range(items)]


def _key(runtime: Runtime, task_id: str, what: str) -> str:
    return f"{runtime.settings.redis_prefix}map:{task_id}:{what}"


class StarMap(Map):
    """[task(*item) for item in it]"""

    name = "celery.starmap"

    def spread(self, item: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return tuple(item)


class Gather(TakenAtOnce):
    """What Celery makes a list of results with; as it is, but unseen: the results hold prompts."""

    name = "celery.accumulate"
    ignore_result = True
    send_events = False

    def run(self, *args: Any, index: int | None = None) -> Any:  # noqa: ANN401 -- any JSON
        return args if index is None else args[index]


def _take_the_place_of_celerys(sender: Any, **_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
    for task in (Map(), StarMap(), Gather()):
        sender.app.register_task(task)


# When Celery's own are registered, and before anything is consumed; weak=False: nothing holds it.
signals.worker_init.connect(_take_the_place_of_celerys, weak=False)
