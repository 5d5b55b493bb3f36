"""The input of a generation, put together from a file, `--prompt` and `--set`."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from endpoints.catalogue import Endpoint
from models.errors import PressroomError


class BadInput(PressroomError):
    """What was typed cannot be used; its text says what came and what was wanted."""


DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(said: str) -> float:
    """Seconds, of a duration such as `90s`, `30m`, `1h30m`.

    Raises:
        BadInput: it is none.
    """
    parts = DURATION.findall(said)
    if not parts or "".join(number + unit for number, unit in parts) != said:
        raise BadInput(f"a duration such as 90s, 30m or 1h30m was wanted, {said!r} came")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)


def read_input(source: str) -> dict[str, Any]:
    """The JSON object in a file, or on standard input for `-`.

    Raises:
        BadInput: no such file, or no JSON object in it.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise BadInput(f"--input {source}: {error.strerror}") from error
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadInput(
            f"--input {source}:{error.lineno}:{error.colno}: came {error.msg}; wanted a JSON object"
        ) from error
    if not isinstance(value, dict):
        raise BadInput(f"--input {source}: came a {type(value).__name__}; wanted a JSON object")
    # A whole request body is taken too: what the upstream's own examples post.
    return value["input"] if set(value) == {"input"} and isinstance(value["input"], dict) else value


def parse_sets(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs; a value is JSON if it parses as such, else text; dots nest.

    Raises:
        BadInput: a pair without `=`, or a dot below what is no object.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, raw = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise BadInput(f"--set {pair!r}: wanted key=value, as in --set width=768")
        place = values
        *outer, last = key.split(".")
        for step in outer:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise BadInput(f"--set {pair!r}: {step} was set to a value that holds nothing")
        place[last] = _parse_value(raw)
    return values


def _parse_value(raw: str) -> Any:  # noqa: ANN401 -- any JSON
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw


def prompt_input(listed: Endpoint | None, prompt: str) -> dict[str, Any]:
    """Where a prompt goes: into `prompt`, or a user's message where there is no such field."""
    fields = listed.schema["properties"] if listed else {}
    if "messages" in fields and "prompt" not in fields:
        return {"messages": [{"role": "user", "content": prompt}]}
    return {"prompt": prompt}


def merge_input(
    listed: Endpoint | None, *, source: str | None, prompt: str | None, sets: Sequence[str]
) -> dict[str, Any]:
    """A file's input, `--prompt` over it, `--set` over both; an object is merged, not replaced.

    Raises:
        BadInput: one of them is none.
    """
    values = read_input(source) if source else {}
    if prompt is not None:
        values |= prompt_input(listed, prompt)
    return overlay(values, parse_sets(sets))


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: objects within are merged, all else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = overlay(under, value)
        else:
            merged[key] = value
    return merged
