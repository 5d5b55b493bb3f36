"""What a finished job gave: files, text, tokens and cost, from an `output` of any shape.

The documented shapes differ from each other, and from what other sources show:

    {"image_url": URL, "cost": 0.02}     also video_url, audio_url; result, url; lists of URLs
    [{"choices": [{"tokens": [...]}], "usage": {"input": 9, "output": 90}, "cost": 0.001}]
    {"choices": ..., "usage": ...}       the same without the list, and OpenAI's own words
    "https://..." or "some text"         a bare string

Anybody's own endpoint may answer anything else. Nothing here raises: what is not understood is
left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from endpoints.catalogue.entry import Endpoint, Kind
from endpoints.catalogue.media import find_files

# More than one job can cost or count: garbage, which a database column would refuse.
COST_BOUND_USD = 1_000_000
TOKENS_BOUND = 2**31

INPUT_TOKENS_NAMES = ("input", "prompt_tokens", "input_tokens")
OUTPUT_TOKENS_NAMES = ("output", "completion_tokens", "output_tokens")
TEXT_NAMES = ("text", "generated_text", "response", "content")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A produced file: where it is, and the path of the field that said so ("output.image_url").

    `url` is an http(s) or a data: URL; base64 text was made into the latter.
    """

    url: str
    field: str


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in an output. `cost` is what the upstream stated, in US dollars."""

    files: tuple[FileRef, ...] = ()
    text: str | None = None
    cost: Decimal | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def read_result(endpoint: Endpoint | None, output: object) -> Result:
    """Return what a job's output holds; `endpoint` is None for one outside the catalogue.

    The output of an endpoint that writes is never searched for files: its text may be a URL.
    Of a streamed list, the last cost and the last token counts are taken: they are running totals.
    """
    writes = endpoint is not None and endpoint.kind is Kind.TEXT
    files = () if writes else tuple(FileRef(url, path) for url, path in find_files(output))
    objects = _objects(output)
    usages = [item["usage"] for item in objects if isinstance(item.get("usage"), dict)]
    usage = usages[-1] if usages else {}
    input_tokens, output_tokens = read_usage(usage)
    return Result(
        files=files,
        text=_text(output, objects, {file.url for file in files}),
        cost=_last_cost(objects),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )


def read_usage(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the tokens that went in and that came out, by any of their names."""
    return _count(usage, INPUT_TOKENS_NAMES), _count(usage, OUTPUT_TOKENS_NAMES)


def _objects(output: object) -> list[dict[str, Any]]:
    items = output if isinstance(output, list) else [output]
    return [item for item in items if isinstance(item, dict)]


def _text(output: object, objects: list[dict[str, Any]], urls: set[str]) -> str | None:
    written = [piece for item in objects for piece in _choices(item)]
    if not written:
        bare = output if isinstance(output, list) else [output]
        written = [item for item in bare if isinstance(item, str) and item not in urls]
    if not written:
        named = (item.get(name) for item in objects for name in TEXT_NAMES)
        written = [value for value in named if isinstance(value, str) and value not in urls]
    return "".join(written) if written else None


def _choices(item: Mapping[str, Any]) -> Iterator[str]:
    choices = item.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        match choice:
            case {"tokens": list(tokens)}:
                yield from (token for token in tokens if isinstance(token, str))
            case {"message": {"content": str(text)}} | {"text": str(text)}:
                yield text


def _last_cost(objects: list[dict[str, Any]]) -> Decimal | None:
    costs = (_number(item.get("cost"), bound=COST_BOUND_USD) for item in reversed(objects))
    return next((cost for cost in costs if cost is not None), None)


def _count(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    counts = (_number(usage.get(name), bound=TOKENS_BOUND) for name in names)
    return next((int(count) for count in counts if count is not None and count % 1 == 0), None)


def _number(value: object, *, bound: int) -> Decimal | None:
    """Return a number, or the text of one, that is at least 0 and below `bound`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        # A float by its digits: 0.1 is meant as a tenth.
        number = Decimal(value if isinstance(value, int) else str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number < bound else None
