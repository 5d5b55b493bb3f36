"""What /run and /runsync are sent, checked as strictly as any upstream might."""

import json
from dataclasses import dataclass
from typing import Final

from endpoints.emulator.jobs import Policy

FIELDS: Final = frozenset({"input", "webhook", "policy", "s3Config"})
POLICY_BOUNDS_MS: Final = {
    "ttl": (10_000, 7 * 24 * 3_600_000),
    "executionTimeout": (5_000, 7 * 24 * 3_600_000),
}
POLICY_FIELDS: Final = frozenset({*POLICY_BOUNDS_MS, "lowPriority"})


class BadRequest(ValueError):
    """A body that is answered with 400; its text says what came and what was wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBody:
    """A body that can be accepted as far as its envelope goes."""

    input: dict[str, object]
    webhook: str | None
    policy: Policy


def parse_object(raw: bytes) -> dict[str, object]:
    """Return the JSON object that `raw` is.

    Raises:
        BadRequest: it is not one.
    """
    try:
        body = json.loads(raw)
    except ValueError as error:  # not JSON, or not UTF-8
        raise BadRequest(f"body: not JSON ({error})") from None
    if not isinstance(body, dict):
        raise BadRequest(f"body: a JSON {type(body).__name__} came, an object was wanted")
    return body


def parse_run_body(raw: bytes) -> RunBody:
    """Return what a /run or /runsync body asks for.

    Raises:
        BadRequest: it does not have the documented form.
    """
    body = parse_object(raw)
    unknown = body.keys() - FIELDS
    if unknown:
        raise BadRequest(f"{min(unknown)}: unknown field, wanted {', '.join(sorted(FIELDS))}")
    values = body.get("input")
    if not isinstance(values, dict):
        raise BadRequest("input: an object is required")
    webhook = body.get("webhook")
    if webhook is not None and not str(webhook).startswith(("http://", "https://")):
        raise BadRequest(f"webhook: {webhook!r} is not an http(s) URL")
    return RunBody(
        input=values,
        webhook=None if webhook is None else str(webhook),
        policy=_parse_policy(body.get("policy", {})),
    )


def _parse_policy(came: object) -> Policy:
    if not isinstance(came, dict):
        raise BadRequest(f"policy: {came!r} is not an object")
    unknown = came.keys() - POLICY_FIELDS
    if unknown:
        raise BadRequest(f"policy.{min(unknown)}: unknown, wanted {sorted(POLICY_FIELDS)}")
    if not isinstance(came.get("lowPriority", False), bool):
        raise BadRequest(f"policy.lowPriority: {came['lowPriority']!r} is not true or false")
    for name, (least, most) in POLICY_BOUNDS_MS.items():
        value = came.get(name, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadRequest(f"policy.{name}: {value!r} is not an integer {least} to {most} (ms)")
    usual = Policy()
    return Policy(
        ttl=came.get("ttl", usual.ttl * 1000) / 1000,
        time_limit=came.get("executionTimeout", usual.time_limit * 1000) / 1000,
    )
