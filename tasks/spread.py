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

from workers.at_once import DUE_AT, TakenAtOnce
from workers.clock import read_moment
from workers.kombu_fix import GENERATE


class Map(TakenAtOnce):
    """[task(item) for item in it]"""

    name = "celery.map"
    acks_late = True
    ignore_result = False

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
        header.set(task_id=str(uuid5(family, "header")))
        gather: Any = self.app.tasks["celery.accumulate"].s(index=0)
        return self.replace(chord(header, gather.set(ignore_result=False), app=self.app))

    def spread(self, item: Any) -> tuple[Any, ...]:  # noqa: ANN401 -- any JSON
        return (item,)


class StarMap(Map):
    """[task(*item) for item in it]"""

    name = "celery.starmap"

    def spread(self, item: Any) -> tuple[Any, ...]:  # noqa: ANN401
        return tuple(item)


def _take_the_place_of_celerys(sender: Any, **_signal: Any) -> None:  # noqa: ANN401 -- Celery's interface
    for task in (Map(), StarMap()):
        sender.app.register_task(task)


# When Celery's own are registered, and before anything is consumed; weak=False: nothing holds it.
signals.worker_init.connect(_take_the_place_of_celerys, weak=False)
