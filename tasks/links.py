"""What is linked to a generation is sent once, however often its message comes.

Celery gives the next link of a chain and the body of a chord their ids as it sends the first; a
`link` or `link_error` it gives one each time that it is called. A generation that is linked would
be paid for twice: its message may come twice, and the word of an end is sent again if whoever sent
it died. So each gets an id that follows from the request's, where it has none.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5


def name_links(task_id: UUID, kind: str, links: Sequence[Any] | None) -> Sequence[Any] | None:
    """The signatures, as JSON, with ids.

    Args:
        kind: `link` or `link_error`: what an id follows from.
    """
    return links and [
        _name(link, uuid5(task_id, f"{kind} {number}")) for number, link in enumerate(links)
    ]


def _name(signature: Any, task_id: UUID) -> Any:  # noqa: ANN401 -- a signature, or what stands in its place
    if not isinstance(signature, dict) or "task" not in signature:
        return signature
    named = {**signature, "options": {**(signature.get("options") or {})}}
    kwargs = named.get("kwargs") or {}
    for part in ("tasks", "header"):  # of a chain or group, of a chord
        if isinstance(kwargs.get(part), list | tuple):
            kwargs = {**kwargs, part: _name_each(kwargs[part], task_id, part)}
        elif part in kwargs:
            kwargs = {**kwargs, part: _name(kwargs[part], uuid5(task_id, part))}
    if "body" in kwargs:
        kwargs = {**kwargs, "body": _name(kwargs["body"], uuid5(task_id, "body"))}
    named["kwargs"] = kwargs
    if named.get("subtask_type") != "chain":  # whose id is its last task's
        named["options"].setdefault("task_id", str(task_id))
    return named


def _name_each(signatures: Sequence[Any], task_id: UUID, part: str) -> list[Any]:
    return [_name(one, uuid5(task_id, f"{part} {n}")) for n, one in enumerate(signatures)]
