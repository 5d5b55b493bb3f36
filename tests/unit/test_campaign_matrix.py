"""The matrix: its combinations, and what include and exclude make of them."""

from typing import Any

import pytest

from tasks.campaigns.matrix import MOST_COMBINATIONS, BadMatrix, combine

AXES: dict[str, list[Any]] = {"seed": [1, 2], "size": ["a", "b"]}


def test_the_last_axis_changes_first():
    assert combine(AXES) == [
        {"seed": 1, "size": "a"},
        {"seed": 1, "size": "b"},
        {"seed": 2, "size": "a"},
        {"seed": 2, "size": "b"},
    ]


def test_without_axes_there_is_one_of_nothing():
    assert combine({}) == [{}]


def test_what_agrees_with_all_of_an_entry_is_excluded():
    made = combine(AXES, exclude=[{"seed": 1, "size": "b"}, {"seed": 2}])

    assert made == [{"seed": 1, "size": "a"}]


def test_an_included_entry_adds_to_those_it_agrees_with_or_stands_alone():
    made = combine(
        AXES,
        include=[{"seed": 1, "steps": 4}, {"guidance": 2}, {"seed": 9, "size": "a"}],
    )

    assert made == [
        {"seed": 1, "size": "a", "steps": 4, "guidance": 2},
        {"seed": 1, "size": "b", "steps": 4, "guidance": 2},
        {"seed": 2, "size": "a", "guidance": 2},
        {"seed": 2, "size": "b", "guidance": 2},
        {"seed": 9, "size": "a"},
    ]


def test_entries_without_axes_are_the_combinations():
    entries: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2, "size": "a"}]

    assert combine({}, include=entries) == entries


@pytest.mark.parametrize(
    ("axes", "exclude", "said"),
    [
        (
            {"seed": list(range(1000)), "size": list(range(1000)), "n": list(range(1000))},
            [],
            r"1,000,000,000 combinations \(seed 1,000 x size 1,000 x n 1,000\); at most 100,000",
        ),
        ({"seed": []}, [], "seed: no values"),
        (AXES, [{"sede": 1}], "exclude: 'sede' is no axis; there are 'seed', 'size'"),
        (AXES, [{"seed": 1}, {"seed": 2}], "no combination is left"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused(axes, exclude, said):
    with pytest.raises(BadMatrix, match=said):
        combine(axes, exclude=exclude)


def test_as_many_as_are_taken_are_made():
    assert len(combine({"n": list(range(MOST_COMBINATIONS))})) == MOST_COMBINATIONS
