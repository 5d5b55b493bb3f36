"""What a job will cost, and what it did cost, in US dollars.

An estimate says what it stands on (`Basis`), because a budget treats a figure that is known
differently from one that is bounded or allowed for. Money is Decimal, and nothing is rounded: the
upstream prints six to eight digits of the same figure.
"""

import enum
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from endpoints.catalogue.entry import Endpoint, Length, Price, Rates, Unit

# Prompts are tokenized by models whose tokenizers we do not have. English runs at four bytes or
# more to a token, code at three, Chinese, Japanese and Korean at two to three; two bytes are below
# all of these. Only long runs of digits and rare scripts can be finer.
BYTES_PER_TOKEN = 2
TEMPLATE_TOKENS = 64  # what a chat template adds; sample jobs have 10 to 35 input tokens in all
SPOKEN_CHARACTERS_PER_SECOND = 8  # half the usual pace, for slow voices and pauses

FRAME_PIXELS = {"480p": 854 * 480, "720p": 1280 * 720, "1080p": 1920 * 1080}


class Basis(enum.StrEnum):
    """What a figure stands on, from the firmest to none."""

    EXACT = "exact"  # the price list, applied to the input
    CEILING = "ceiling"  # the job costs this or less
    MEDIA = "media"  # depends on a supplied file: an allowance, no bound
    AFTER = "after"  # only the result tells: an allowance, no bound
    UNLISTED = "unlisted"  # no price is known for this input


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a job before it runs; `usd` is None if and only if the price is unlisted."""

    usd: Decimal | None
    basis: Basis


class _Rate(NamedTuple):
    usd: Decimal
    output_usd: Decimal  # differs from `usd` for tokens only
    basis: Basis


class _Quantity(NamedTuple):
    units: Decimal
    basis: Basis


UNLISTED = Estimate(None, Basis.UNLISTED)
_SOFTNESS = {basis: place for place, basis in enumerate(Basis)}


def estimate(endpoint: Endpoint, values: Mapping[str, Any]) -> Estimate:
    """Return what a job with this input will cost.

    An input that `endpoint.check` finds fault with may be unlisted. A text is bounded by its
    longest reply; a length that the price list leaves out, by the dearest printed rate per second.
    Where a file decides, the figure allows for the longest clip on the list or for slow speech.
    """
    price = endpoint.price
    if price is None:
        return UNLISTED
    values = endpoint.with_defaults(values)
    if price.per is not Unit.TOKEN:
        return _media_cost(endpoint, price, values, seconds=None)
    rate = _rate(price, values, seconds=None)
    most_tokens = _most_tokens(values)
    if rate is None or most_tokens is None:
        return UNLISTED
    usd = rate.usd * _prompt_tokens(values) + rate.output_usd * most_tokens
    return Estimate(usd / price.each, Basis.CEILING)


def bill(
    endpoint: Endpoint,
    values: Mapping[str, Any],
    *,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    output_seconds: float | None = None,
) -> Decimal | None:
    """Return what a finished job cost by the price list; None if the list or the facts fall short.

    The upstream's own figure, where the reply holds one, stands above this. A text needs both
    token counts; a clip or a speech whose length a file decides needs the seconds of the result.
    """
    price = endpoint.price
    if price is None:
        return None
    values = endpoint.with_defaults(values)
    if price.per is Unit.TOKEN:
        rate = _rate(price, values, seconds=None)
        if rate is None or input_tokens is None or output_tokens is None:
            return None
        return (rate.usd * input_tokens + rate.output_usd * output_tokens) / price.each
    cost = _media_cost(endpoint, price, values, seconds=_positive(output_seconds))
    return cost.usd if cost.basis in (Basis.EXACT, Basis.CEILING) else None


def _media_cost(
    endpoint: Endpoint, price: Price, values: Mapping[str, Any], *, seconds: Decimal | None
) -> Estimate:
    """Price anything but text; `seconds` is the length of the file that decides, if known."""
    rate = _rate(price, values, seconds=seconds)
    quantity = _quantity(endpoint, price, values, seconds=seconds)
    if rate is None or quantity is None:
        return UNLISTED
    basis = max(rate.basis, quantity.basis, key=_SOFTNESS.__getitem__)
    return Estimate(rate.usd * quantity.units / price.each, basis)


def _rate(price: Price, values: Mapping[str, Any], *, seconds: Decimal | None) -> _Rate | None:
    """Look up the figure for this input."""
    rates: Rates = price.usd
    basis = Basis.EXACT
    if price.banded:
        return _band(rates, seconds)
    for name in price.by:
        row = _row(rates, name, values.get(name))
        if row is None:
            return None
        rates, row_basis = row
        basis = max(basis, row_basis, key=_SOFTNESS.__getitem__)
    match rates:
        case {"input": Decimal() as usd, "output": Decimal() as output_usd}:
            return _Rate(usd, output_usd, basis)
        case Decimal() as usd:
            return _Rate(usd, usd, basis)
    return None


def _band(rates: Rates, seconds: Decimal | None) -> _Rate | None:
    bands = dict(_by_length(rates))
    if seconds is None:
        dearest = max(bands.values())
        return _Rate(dearest, dearest, Basis.MEDIA)
    longest = min((length for length in bands if length >= seconds), default=None)
    return None if longest is None else _Rate(bands[longest], bands[longest], Basis.EXACT)


def _row(rates: Rates, name: str, value: object) -> tuple[Rates, Basis] | None:
    """Return the part of a table that a field's value selects."""
    if isinstance(rates, Decimal):
        return None
    for key, row in rates.items():
        if key == value:
            return row, Basis.EXACT
    if name == "size":
        return _row_of_frame(rates, value)
    seconds = _positive(value)
    if name == "duration" and seconds is not None:
        # The printed lengths all follow one rate, so others most likely do too.
        per_second = max(usd / length for length, usd in _by_length(rates))
        return per_second * seconds, Basis.CEILING
    return None


def _row_of_frame(rates: Rates, size: object) -> tuple[Rates, Basis] | None:
    """Price a width*height by the smallest listed frame with as many pixels, upright or not."""
    sides = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", size) if isinstance(size, str) else None
    if sides is None or isinstance(rates, Decimal):
        return None
    pixels = int(sides[1]) * int(sides[2])
    frames = sorted((FRAME_PIXELS[key], row) for key, row in rates.items() if key in FRAME_PIXELS)
    for frame_pixels, row in frames:
        if pixels <= frame_pixels:
            return row, Basis.EXACT if pixels == frame_pixels else Basis.CEILING
    return None


def _by_length(rates: Rates) -> Iterator[tuple[int, Decimal]]:
    if isinstance(rates, dict):
        for key, usd in rates.items():
            if isinstance(key, int) and isinstance(usd, Decimal):
                yield key, usd


def _quantity(
    endpoint: Endpoint, price: Price, values: Mapping[str, Any], *, seconds: Decimal | None
) -> _Quantity | None:
    """Count the units of this input."""
    match price.per:
        case Unit.JOB:
            return _Quantity(Decimal(1), Basis.EXACT)
        case Unit.PIXEL:
            width, height = _positive(values.get("width")), _positive(values.get("height"))
            return _Quantity(width * height, Basis.EXACT) if width and height else None
        case Unit.CHARACTER:
            return _Quantity(Decimal(len(str(values.get("prompt", "")))), Basis.EXACT)
    overridden = price.unless is not None and values.get(price.unless) is not None
    if price.length is Length.DURATION and not overridden:
        return _asked_seconds(price, values)
    return _Quantity(seconds, Basis.EXACT) if seconds else _allowed_seconds(endpoint, values)


def _allowed_seconds(endpoint: Endpoint, values: Mapping[str, Any]) -> _Quantity:
    """Guess a length that a file decides: the longest clip on offer, or slow speech."""
    longest = endpoint.schema["properties"].get("duration", {}).get("maximum")
    if longest is not None:
        return _Quantity(Decimal(longest), Basis.MEDIA)
    characters = len(str(values.get("prompt", "")))
    return _Quantity(Decimal(math.ceil(characters / SPOKEN_CHARACTERS_PER_SECOND)), Basis.AFTER)


def _asked_seconds(price: Price, values: Mapping[str, Any]) -> _Quantity | None:
    seconds = _positive(values.get("duration"))
    if seconds is None:
        return None
    begun = math.ceil(seconds / price.each) * price.each if price.each > 1 else seconds
    # Whether a part of five seconds is billed in full is not documented.
    return _Quantity(Decimal(begun), Basis.EXACT if begun == seconds else Basis.CEILING)


def _prompt_tokens(values: Mapping[str, Any]) -> int:
    """Return more tokens than the prompt is likely to have."""
    # The keys and quotes of messages in JSON stand for what marks their turns in the template.
    text = values.get("prompt") or json.dumps(values.get("messages"), ensure_ascii=False)
    size = len(str(text).encode(errors="surrogatepass"))
    return TEMPLATE_TOKENS + math.ceil(size / BYTES_PER_TOKEN)


def _most_tokens(values: Mapping[str, Any]) -> Decimal | None:
    sampling = values.get("sampling_params")
    return _positive((sampling if isinstance(sampling, Mapping) else values).get("max_tokens"))


def _positive(value: object) -> Decimal | None:
    """Return a positive JSON number as a Decimal, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(value) if isinstance(value, int) else Decimal(str(value))
    return number if number.is_finite() and number > 0 else None
