"""What is linked has an id of its own, the same in every copy of the request."""

from uuid import uuid4

import pytest
from celery import Celery, chain, chord, group

from tasks.links import name_links

app = Celery(set_as_current=False)
LEAF = app.signature("pressroom.generate", kwargs={"endpoint": "e", "input": {}})


def find_ids(signature):
    """Of each task in it, in order."""
    if not isinstance(signature, dict) or "task" not in signature:
        return []
    kwargs = signature["kwargs"]
    inner = [*(kwargs.get("tasks") or ()), *_header(kwargs), *filter(None, [kwargs.get("body")])]
    if not inner:
        return [signature["options"].get("task_id")]
    return [task_id for one in inner for task_id in find_ids(one)]


def _header(kwargs):
    header = kwargs.get("header") or ()
    return header if isinstance(header, list | tuple) else [header]


@pytest.mark.parametrize(
    ("link", "tasks"),
    [
        (LEAF, 1),
        (chain(LEAF, LEAF, app=app), 2),
        (group([LEAF, LEAF, LEAF], app=app), 3),
        (chord([LEAF, LEAF], LEAF, app=app), 3),
        (group([chain(LEAF, LEAF, app=app), LEAF], app=app), 3),
    ],
)
def test_every_task_of_what_is_linked_has_an_id_that_is_the_same_each_time(link, tasks):
    request = uuid4()
    as_json = [link, LEAF]

    first = name_links(request, "link", as_json) or []
    second = name_links(request, "link", as_json)
    of_errors = name_links(request, "link_error", as_json) or []

    ids = [task_id for one in first for task_id in find_ids(one)]
    assert len(ids) == tasks + 1
    assert None not in ids
    assert len(set(ids)) == len(ids)
    assert first == second
    assert not set(ids) & {task_id for one in of_errors for task_id in find_ids(one)}


def test_an_id_that_was_given_stays_and_what_is_no_signature_too():
    given = LEAF.clone().set(task_id="mine")

    [named, odd] = name_links(uuid4(), "link", [given, "not a signature"]) or []

    assert (named["options"]["task_id"], odd) == ("mine", "not a signature")
    assert name_links(uuid4(), "link", None) is None
    assert "task_id" not in LEAF["options"]
