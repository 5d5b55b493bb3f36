"""The matrix: every combination of the values of its axes, as continuous integration has them.

`exclude` takes out the combinations that have all of an entry's values. An entry of `include` adds
its values to the combinations that it agrees with, on the axes that it names; one that agrees with
none is a combination of its own.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MOST_COMBINATIONS = 100_000

Combination = Mapping[str, Any]


class BadMatrix(ValueError):
    """It cannot be used; its text says what came and what was wanted."""


def combine(
    axes: Mapping[str, Sequence[Any]],
    *,
    include: Sequence[Combination] = (),
    exclude: Sequence[Combination] = (),
) -> Sequence[Combination]:
    """The combinations in order: the last axis changes first. Without axes there is one, empty.

    Raises:
        BadMatrix: there are too many, or none is left, or an entry names no axis.
    """
    for name, values in axes.items():
        if not values:
            raise BadMatrix(f"{name}: no values; at least one was wanted")
    count = math.prod(len(values) for values in axes.values())
    if count > MOST_COMBINATIONS:
        sizes = " x ".join(f"{name} {len(values):,}" for name, values in axes.items())
        raise BadMatrix(
            f"{count:,} combinations ({sizes}); at most {MOST_COMBINATIONS:,} are taken"
        )
    for entry in exclude:
        if strange := entry.keys() - axes.keys():
            raise BadMatrix(f"exclude: {min(strange)!r} is no axis; there are {_list(axes)}")
    kept = [
        one
        for one in _multiply(axes)
        if not any(_agrees(one, entry, entry.keys()) for entry in exclude)
    ]
    combinations = list(_include(kept, include, axes))
    if not combinations:
        raise BadMatrix("exclude: no combination is left")
    return combinations


def _multiply(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _include(
    kept: Sequence[dict[str, Any]],
    include: Sequence[Combination],
    axes: Mapping[str, Sequence[Any]],
) -> Iterator[Combination]:
    if not axes and include:
        yield from include
        return
    alone = []
    for entry in include:
        shared = entry.keys() & axes.keys()
        agreeing = [one for one in kept if _agrees(one, entry, shared)]
        for one in agreeing:
            one.update(entry)
        if not agreeing:
            alone.append(entry)
    yield from kept
    yield from alone


def _agrees(combination: Combination, entry: Combination, names: Iterable[str]) -> bool:
    return all(combination[name] == entry[name] for name in names)


def _list(axes: Mapping[str, Sequence[Any]]) -> str:
    return ", ".join(map(repr, axes)) or "none"
