"""What of an input says how long it takes: two that share a class take about as long.

Which fields these are is known by their names, which are the same at most endpoints, also at those
that nobody listed. Figures are grouped by the half octave, so that there are few classes.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from endpoints.catalogue import Endpoint, Kind

FIELDS: Final = (
    "model",
    "duration",
    "num_frames",
    "fps",
    "width",
    "height",
    "size",
    "resolution",
    "num_inference_steps",
    "steps",
    "num_images",
    "draft",
    "max_tokens",
)
EXACT: Final = 16  # figures up to this one are classes of their own
ABSURD: Final = 10**12  # all above are one class
LONGEST: Final = 200  # of a class's name
SPOKEN: Final = "prompt"  # of speech, how much there is to say


def find_size_class(listed: Endpoint | None, values: Mapping[str, Any]) -> str | None:
    """Its name, such as `duration=5 size=720p`; None if nothing of the input tells.

    Args:
        listed: fills in what the input leaves to its defaults.
        values: the input.
    """
    whole = listed.with_defaults(values) if listed else values
    parts = [
        f"{name}={_group(value)}"
        for name in FIELDS
        if isinstance(value := whole.get(name), int | float | str)
    ]
    text = whole.get(SPOKEN)
    if listed and listed.kind is Kind.SPEECH and isinstance(text, str):
        parts.append(f"characters={_group(len(text))}")
    return " ".join(parts)[:LONGEST] or None


def _group(value: float | str) -> str:
    if isinstance(value, bool | str) or not EXACT < value < math.inf:
        return str(value)
    return f"{2 ** (round(2 * math.log2(min(value, ABSURD))) / 2):.0f}"
