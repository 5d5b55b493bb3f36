"""What is said of two models side by side. No I/O."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from gateway.web.playground.chooser import Chooser
from gateway.words import say_seconds, say_usd


@dataclass
class Side:
    """Args:
    endpoint: its entry in the API; of one that is not listed its name alone.
    """

    name: str
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    chooser: Chooser = field(init=False)
    words: Any = field(init=False)
    place: ui.element = field(init=False)


def make_input(endpoint: Mapping[str, Any], prompt: str, seed: int | None) -> dict[str, Any]:
    """The prompt, as this endpoint takes it, and the seed if there is one."""
    fields = endpoint.get("input_schema", {}).get("properties", {"prompt": {}})
    if "prompt" in fields:
        values: dict[str, Any] = {"prompt": prompt}
    else:
        values = {"messages": [{"role": "user", "content": prompt}]}
    return values if seed is None else values | {"seed": seed}


def takes_seed(endpoint: Mapping[str, Any]) -> bool:
    return "seed" in endpoint.get("input_schema", {}).get("properties", {})


def tell_apart(names: Sequence[str], jobs: Sequence[Mapping[str, Any]]) -> str:
    """Which was cheaper and which sooner, of those that are done."""
    if any(job["state"] != "completed" for job in jobs):
        done = [name for name, job in zip(names, jobs, strict=True) if job["state"] == "completed"]
        return f"Only {done[0]} is done." if done else "Neither is done."
    if names[0] == names[1]:
        names = ("The left one", "the right one")
    costs = [job["cost_usd"] for job in jobs]
    said = []
    if None not in costs:
        said.append(_rank(names, costs, "cheaper", say_usd, "Both cost the same"))
    took = [_seconds(job) for job in jobs]
    said.append(_rank(names, took, "sooner", say_seconds, "Both took as long"))
    return " ".join(said)


def _rank(
    names: Sequence[str],
    figures: Sequence[float],
    word: str,
    say: Any,
    same: str,
) -> str:
    less = 0 if figures[0] < figures[1] else 1
    if say(figures[0]) == say(figures[1]):
        return f"{same}: {say(figures[0])}."
    return f"{names[less]} was {word}: {say(figures[less])} to {say(figures[1 - less])}."


def _seconds(job: Mapping[str, Any]) -> float:
    began, ended = (dt.datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    return (ended - began).total_seconds()
