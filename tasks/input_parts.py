"""The input of a request, put together from parts."""

from collections.abc import Mapping
from typing import Any

from endpoints.catalogue import Endpoint


def prompt_input(listed: Endpoint | None, prompt: str) -> dict[str, Any]:
    """Where a prompt goes: into `prompt`, or a user's message where there is no such field."""
    fields = listed.schema["properties"] if listed else {}
    if "messages" in fields and "prompt" not in fields:
        return {"messages": [{"role": "user", "content": prompt}]}
    return {"prompt": prompt}


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
