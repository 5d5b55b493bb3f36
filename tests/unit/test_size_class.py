"""Inputs that take about as long share a class, and those that do not are told apart."""

import pytest

from endpoints.catalogue import load_catalogue
from endpoints.size_class import LONGEST, find_size_class

CATALOGUE = load_catalogue()
FLUX = CATALOGUE.find("black-forest-labs-flux-1-dev")
VIDEO = CATALOGUE.find("p-video")
SPEECH = CATALOGUE.find("chatterbox-turbo")


def test_what_is_left_to_the_defaults_is_of_the_class_of_the_defaults():
    left, said = {"prompt": "a fox"}, {"prompt": "a jay", "width": 1024, "num_inference_steps": 28}

    assert find_size_class(FLUX, left) == find_size_class(FLUX, said) is not None


@pytest.mark.parametrize(
    "other", [{"width": 512}, {"num_inference_steps": 50}, {"width": 256, "height": 256}]
)
def test_another_size_is_another_class(other):
    usual = {"prompt": "a fox"}

    assert find_size_class(FLUX, usual) != find_size_class(FLUX, {**usual, **other})


def test_what_tells_nothing_of_the_time_is_left_out():
    assert find_size_class(VIDEO, {"prompt": "waves", "seed": 1}) == find_size_class(
        VIDEO, {"prompt": "a storm, at night, from above", "seed": 2}
    )


def test_figures_that_are_close_share_a_class_and_small_ones_do_not():
    near = [find_size_class(None, {"max_tokens": tokens}) for tokens in (500, 512, 530)]
    seconds = [find_size_class(None, {"duration": duration}) for duration in (4, 5, 6)]

    assert near == ["max_tokens=512"] * 3
    assert seconds == ["duration=4", "duration=5", "duration=6"]


def test_speech_takes_as_long_as_there_is_to_say():
    short, long = ({"prompt": "word " * count, "voice": "lucy"} for count in (4, 400))

    assert find_size_class(SPEECH, short) != find_size_class(SPEECH, long)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"prompt": "a fox"},
        {"duration": None},
        {"size": ["large"]},
        {"duration": {"seconds": 5}},
    ],
)
def test_where_nothing_tells_there_is_no_class(values):
    assert find_size_class(None, values) is None


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, 0, 1e300, 10**400, True])
def test_absurd_figures_are_classes_like_others(value):
    assert find_size_class(None, {"duration": value}) is not None


def test_a_class_is_never_long():
    named = find_size_class(None, {"size": "x" * 9000, "resolution": "y" * 9000})

    assert named is not None
    assert len(named) == LONGEST
