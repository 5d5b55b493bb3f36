"""A span of time as people write it: `90s`, `30m`, `1h30m`, `7d`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

LONGEST_SECONDS = 365 * 86_400.0

_PART = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_span(said: str) -> float:
    """Seconds.

    Raises:
        ValueError: it is none.
    """
    parts = _PART.findall(said)
    if not parts or "".join(number + unit for number, unit in parts) != said:
        raise ValueError(f"a duration such as 90s, 30m or 1h30m was wanted, {said!r} came")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _read_duration(said: object) -> object:
    return parse_span(said) if isinstance(said, str) else said  # a number is seconds


Span = Annotated[float, BeforeValidator(_read_duration, json_schema_input_type=str | float)]
Duration = Annotated[Span, Field(gt=0, le=LONGEST_SECONDS)]
