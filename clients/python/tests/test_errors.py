"""Errors: one tree, and each can be sent from one process to another."""

import inspect
import pickle
import re

import pytest

from pressroom import errors
from pressroom.errors import PressroomError

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PressroomError)
]
EXAMPLES = [
    errors.InvalidRequest("no", ["width: 7"]),
    errors.RateLimited("slow down", 2.5),
    errors.Unavailable("gone", "job-1"),
    errors.WaitTimeout("job-1", 3.0),
    errors.GenerationFailed("job-1", "failed", "upstream_failed", "why"),
    errors.ArtifactUnavailable("file-1", "gone"),
    *(kind("why") for kind in KINDS if "__init__" not in vars(kind)),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error):
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_every_error_has_an_example():
    assert {type(error) for error in EXAMPLES} == set(KINDS)


def test_the_tree_at_the_top_is_the_tree():
    drawn = re.findall(r"^\+- (\w+)", errors.__doc__ or "", re.MULTILINE)

    assert sorted(drawn) == sorted(kind.__name__ for kind in PressroomError.__subclasses__())
