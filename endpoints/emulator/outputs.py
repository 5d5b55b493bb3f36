"""What a completed job gives back and what it is billed: the endpoint's shape, the real figures."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from endpoints.catalogue import Endpoint, Kind, bill
from endpoints.emulator.frames import frame_size
from endpoints.emulator.jobs import Job
from endpoints.emulator.media import (
    ClipSpec,
    ImageSpec,
    MediaSpec,
    SpeechSpec,
    speech_seconds,
    write_text,
)

PRINTED: Final = Decimal("0.00000001")  # the upstream prints at most 8 decimals
USUAL_CLIP_SECONDS: Final = 5.0  # where neither the input nor the catalogue says how long
USUAL_MAX_TOKENS: Final = 512
RANDOM_SEED: Final = -1
WORDS_A_PIECE: Final = 6  # of a streamed text


@dataclass(frozen=True, slots=True)
class Product:
    """An output, and its price in USD as billed; None if the catalogue knows no price."""

    output: object
    cost: Decimal | None


def produce(job: Job, endpoint: Endpoint | None, publish: Callable[[MediaSpec], str]) -> Product:
    """Return what `job` gives back; `publish` makes a file available and returns its URL."""
    if endpoint is None:
        return Product({"echo": job.input}, None)
    values = endpoint.with_defaults(job.input)
    if endpoint.kind is Kind.TEXT:
        return _produce_text(job, endpoint, values)
    spec = _media_spec(job, endpoint, values)
    seconds = None if isinstance(spec, ImageSpec) else spec.seconds
    cost = bill(endpoint, job.input, output_seconds=seconds)
    if endpoint.output.cost and cost is not None:
        cost = cost.quantize(PRINTED).normalize()
    if values.get("enable_base64_output"):
        # The name of this field stands on no page.
        named: dict[str, object] = {"image": base64.b64encode(spec.render()).decode()}
        return Product(_with_cost(named, endpoint, cost), cost)
    url = publish(spec)
    if job.fate.shape is not None:
        return Product(_odd_shape(job.fate.shape, url), cost)
    return Product(_with_cost({endpoint.output.field: url}, endpoint, cost), cost)


def text_pieces(output: object) -> list[object]:
    """Return an output as what /stream hands out: a text in pieces, anything else whole."""
    first = output[0] if isinstance(output, list) and output else output
    match first:
        case {"choices": [{"tokens": [*tokens]}]}:
            words = "".join(map(str, tokens)).split(" ")
            starts = range(0, len(words), WORDS_A_PIECE)
            return [" ".join(words[start : start + WORDS_A_PIECE]) for start in starts]
    return [output]


def prompt_of(values: Mapping[str, object]) -> str:
    """Return the words of an input, whether a prompt or messages."""
    match values:
        case {"prompt": str(prompt)}:
            return prompt
        case {"messages": [*messages]}:
            return "\n".join(str(m.get("content", "")) for m in messages if isinstance(m, dict))
    return ""


def _produce_text(job: Job, endpoint: Endpoint, values: Mapping[str, object]) -> Product:
    sampling = values.get("sampling_params")
    given = sampling if isinstance(sampling, Mapping) else values
    max_tokens = given.get("max_tokens", USUAL_MAX_TOKENS)
    written = write_text(prompt_of(values), seed=_seed(job, given), max_tokens=int(str(max_tokens)))
    cost = bill(
        endpoint,
        job.input,
        input_tokens=written.input_tokens,
        output_tokens=written.output_tokens,
    )
    if cost is not None:
        cost = cost.quantize(PRINTED).normalize()
    if job.fate.shape is not None:
        return Product(_odd_shape(job.fate.shape, written.text), cost)
    usage = {"input": written.input_tokens, "output": written.output_tokens}
    body: dict[str, object] = {"choices": [{"tokens": [written.text]}], "usage": usage}
    reply = _with_cost(body, endpoint, cost)
    return Product([reply] if endpoint.output.listed else reply, cost)


def _media_spec(job: Job, endpoint: Endpoint, values: Mapping[str, object]) -> MediaSpec:
    prompt = prompt_of(values)
    if endpoint.kind is Kind.SPEECH:
        return SpeechSpec(
            prompt=prompt,
            voice=str(values.get("voice", values.get("voice_id"))),
            seconds=speech_seconds(prompt, speed=float(str(values.get("speed", 1)))),
            format=str(values.get("format", endpoint.output.extension)),
        )
    seed = _seed(job, values)
    width, height = frame_size(values, kind=endpoint.kind)
    if endpoint.kind is Kind.VIDEO:
        return ClipSpec(
            endpoint=endpoint.id,
            prompt=prompt,
            seed=seed,
            width=width,
            height=height,
            seconds=float(str(values.get("duration", USUAL_CLIP_SECONDS))),
        )
    return ImageSpec(
        endpoint=endpoint.id,
        prompt=prompt,
        seed=seed,
        width=width,
        height=height,
        format=str(
            values.get("image_format", values.get("output_format", endpoint.output.extension))
        ),
    )


def _seed(job: Job, values: Mapping[str, object]) -> int:
    seed = values.get("seed", RANDOM_SEED)
    return job.quirk if seed in {RANDOM_SEED, None} else int(str(seed))


def _with_cost(
    body: dict[str, object], endpoint: Endpoint, cost: Decimal | None
) -> dict[str, object]:
    if endpoint.output.cost and cost is not None:
        body["cost"] = float(cost)
    return body


def _odd_shape(shape: str, result: str) -> object:
    match shape:
        case "string":
            return result
        case "list":
            return [result]
    return {shape: result}
