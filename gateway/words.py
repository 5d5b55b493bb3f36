"""Amounts and requests, as people read them."""

from decimal import Decimal
from typing import Any


def say_usd(value: Decimal | float | None) -> str:
    """Dollars with as many digits as tell something."""
    if value is None:
        return "-"
    if value >= 1 or value == 0:
        return f"${value:,.2f}"
    whole, _, digits = f"{value:.6f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"


def say_bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 -- a step of the units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def say_seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:  # noqa: PLR2004 -- a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def say_prompt(values: dict[str, Any]) -> str:
    """The prompt of an input, wherever it stands."""
    if isinstance(prompt := values.get("prompt"), str):
        return prompt
    messages = values.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        return str(messages[-1].get("content", ""))
    return ""
