"""An endpoint of the catalogue as JSON, and the least input that it takes."""

from collections.abc import Sequence
from typing import Any

from endpoints.catalogue import Endpoint, estimate
from endpoints.forecast import median

SAMPLE = "a lighthouse at dusk"
SAMPLE_URL = "https://example.com/lighthouse.png"


def describe_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Without its schema. The estimate is of a job with defaults."""
    cost = estimate(endpoint, sample_input(endpoint))
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "kind": endpoint.kind,
        "task": endpoint.task,
        "also": list(endpoint.also),
        "about": endpoint.about,
        "aliases": list(endpoint.aliases),
        "openai_models": list(endpoint.openai or ()),
        "typical_seconds": endpoint.typical_seconds,
        "estimate_usd": None if cost.usd is None else float(cost.usd),
        "estimate_basis": cost.basis,
    }


def describe_measured(durations: Sequence[float]) -> dict[str, Any] | None:
    """How long its jobs took here: of about the last 200, the older the less they count.

    None if none has ended.
    """
    seconds = median(durations)
    if seconds is None:
        return None
    return {"jobs": max(round(sum(durations)), 1), "p50_seconds": round(seconds, 2)}


def sample_input(endpoint: Endpoint) -> dict[str, Any]:
    """The least that the endpoint takes: defaults, and for what is required an example."""
    fields = endpoint.schema["properties"]
    names = list(endpoint.schema.get("required", []))
    for option in endpoint.schema.get("anyOf", ())[:1]:  # the documented one
        names += option["required"]
    return {name: _sample(fields[name]) for name in names}


def _sample(schema: dict[str, Any]) -> Any:  # noqa: ANN401 -- any JSON
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "array":
        return [_sample(schema["items"])]
    if schema["type"] == "object":
        return {name: _sample(one) for name, one in schema.get("properties", {}).items()}
    if schema.get("format") == "uri":
        return SAMPLE_URL
    return schema.get("minimum", SAMPLE if schema["type"] == "string" else 1)
