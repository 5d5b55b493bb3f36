"""The input of a generation, put together from a file, `--prompt` and `--set`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from endpoints.catalogue import Endpoint
from models.errors import PressroomError
from tasks.input_parts import overlay, prompt_input


class BadInput(PressroomError):
    """What was typed cannot be used; its text says what came and what was wanted."""


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
