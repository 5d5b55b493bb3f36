"""What `/run` and `/runsync` are sent, `{input, webhook?, policy?, s3Config?}`, and headers.

    Idempotency-Key: <text>           sent again within a day, it is the same job
    Pressroom-Cache: true | false     a stored result of an equal request with a fixed seed will do
    Pressroom-Priority: 0 to 9        the highest goes first; 5 is usual

Fields that nobody knows are passed over, as the upstream does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway.errors import ApiError
from models.fairness import HIGHEST, LOWEST

POLICY_BOUNDS_MS = {
    "ttl": (10_000, 604_800_000),  # 10 s to 7 days
    "executionTimeout": (5_000, 604_800_000),
}
S3_FIELDS = ("accessId", "accessSecret", "bucketName", "endpointUrl")
LONGEST_KEY = 255
LONGEST_S3_VALUE = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBody:
    """A body whose form is right. `webhook` is yet to be looked at."""

    input: dict[str, Any]
    webhook: object = None
    policy: dict[str, Any] | None = None
    s3_config: dict[str, str] | None = None


def read_run_body(body: Mapping[str, Any]) -> RunBody:
    """
    Raises:
        ApiError: 400, with everything that is wrong.
    """
    problems: list[str] = []
    values = body.get("input")
    if not isinstance(values, dict):
        came = "nothing" if "input" not in body else _say_type(values)
        problems.append(f"input: {came} came, an object was wanted")
    policy = _read_policy(body.get("policy"), problems)
    s3_config = _read_s3_config(body.get("s3Config"), problems)
    if problems or not isinstance(values, dict):
        raise ApiError(HTTPStatus.BAD_REQUEST, "; ".join(problems), problems=problems)
    return RunBody(input=values, webhook=body.get("webhook"), policy=policy, s3_config=s3_config)


def read_idempotency_key(headers: Mapping[str, str]) -> str | None:
    """
    Raises:
        ApiError: 400 empty, too long, or with characters that are none.
    """
    key = headers.get("idempotency-key")
    return None if key is None else check_idempotency_key(key)


def check_idempotency_key(key: str) -> str:
    """
    Raises:
        ApiError: 400 empty, too long, or with characters that are none.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"Idempotency-Key: 1 to {LONGEST_KEY} printable characters were wanted",
        )
    return key


def read_cache_header(headers: Mapping[str, str]) -> bool | None:
    """Whether a stored result will do; None: as the key or the settings say.

    Raises:
        ApiError: 400 neither true nor false.
    """
    value = headers.get("pressroom-cache")
    words = {None: None, "true": True, "false": False}
    if (value and value.lower()) not in words:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, f"Pressroom-Cache: {value!r} came, true or false was wanted"
        )
    return words[value and value.lower()]


def read_priority_header(headers: Mapping[str, str]) -> int | None:
    """None: as usual.

    Raises:
        ApiError: 400 it is none.
    """
    value = headers.get("pressroom-priority")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and LOWEST <= int(value) <= HIGHEST):
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"Pressroom-Priority: {value[:100]!r} came, {LOWEST} to {HIGHEST} was wanted",
        )
    return int(value)


def _read_policy(came: object, problems: list[str]) -> dict[str, Any] | None:
    if came is None:
        return None
    if not isinstance(came, dict):
        problems.append(f"policy: {_say_type(came)} came, an object was wanted")
        return None
    for name, value in came.items():
        if name == "lowPriority":
            if not isinstance(value, bool):
                problems.append("policy.lowPriority: true or false was wanted")
        elif name not in POLICY_BOUNDS_MS:
            wanted = ", ".join((*POLICY_BOUNDS_MS, "lowPriority"))
            problems.append(f"policy.{name[:100]}: unknown; there are {wanted}")
        else:
            least, most = POLICY_BOUNDS_MS[name]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                problems.append(f"policy.{name}: an integer {least:,} to {most:,} (ms) was wanted")
    return came or None


def _read_s3_config(came: object, problems: list[str]) -> dict[str, str] | None:
    """Its values are secret: no message shows one."""
    if came is None:
        return None
    if not isinstance(came, dict):
        problems.append(f"s3Config: {_say_type(came)} came, an object was wanted")
        return None
    for name, value in came.items():
        if name not in S3_FIELDS:
            problems.append(f"s3Config.{name[:100]}: unknown; there are {', '.join(S3_FIELDS)}")
        elif not isinstance(value, str) or not 0 < len(value) <= LONGEST_S3_VALUE:
            problems.append(f"s3Config.{name}: a text was wanted")
    return came or None


def _say_type(value: object) -> str:
    names = {list: "an array", dict: "an object", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
