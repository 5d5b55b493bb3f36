"""The Vercel AI SDK with Runpod's provider (1.4), whose functions have arguments of their own.

The provider sends more than it is given: what it would fill in is left out again, so that the job
has the input of the form. Where it cannot send that, it says so in words.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.web.playground.code.request import Wanted

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """Args:
    function: of the package `ai`, by another name if it is `renamed`.
    model: the provider's method for it, "" for text.
    base: of the provider, unless `model_id` is an address.
    options: go as they are into the input.
    left_out: that the provider would fill in.
    file: where in the result it is; None: the result is text.
    """

    function: str
    model: str
    model_id: str
    base: str | None = None
    renamed: str | None = None
    arguments: Values = field(default_factory=dict)
    options: Values = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    file: str | None = None
    own_download: bool = False


class Inexpressible(Exception):
    """The provider cannot send this: `str()` says why."""


@dataclass(frozen=True)
class Family:
    """Models of which the provider makes one kind of input.

    Args:
        mark: in the endpoint's id.
        fills_in: the fields that it sends unasked.
        only: the fields that it can send; None: any.
    """

    mark: str
    fills_in: tuple[str, ...]
    only: tuple[str, ...] | None = None


# In the order in which the provider looks. The last is for all others.
FAMILIES = (
    Family(
        "flux-1-kontext",
        (
            "negative_prompt",
            "seed",
            "num_inference_steps",
            "guidance",
            "size",
            "output_format",
            "enable_safety_checker",
        ),
    ),
    Family(
        "flux",
        (
            "negative_prompt",
            "seed",
            "num_inference_steps",
            "guidance",
            "width",
            "height",
            "image_format",
        ),
    ),
    Family(
        "p-image-edit",
        ("aspect_ratio", "disable_safety_checker"),
        ("aspect_ratio", "disable_safety_checker", "seed", "images"),
    ),
    Family(
        "p-image",
        ("aspect_ratio", "disable_safety_checker"),
        ("aspect_ratio", "disable_safety_checker", "seed", "width", "height"),
    ),
    Family(
        "nano-banana-2",
        ("aspect_ratio", "resolution", "output_format", "enable_safety_checker"),
        ("aspect_ratio", "resolution", "output_format", "enable_safety_checker", "images"),
    ),
    Family(
        "nano-banana-pro",
        (
            "aspect_ratio",
            "resolution",
            "output_format",
            "enable_base64_output",
            "enable_sync_mode",
        ),
        (
            "aspect_ratio",
            "resolution",
            "output_format",
            "enable_base64_output",
            "enable_sync_mode",
            "images",
        ),
    ),
    Family("nano-banana-edit", ("enable_safety_checker",), ("enable_safety_checker", "images")),
    Family(
        "qwen-image-edit-2511",
        ("size", "seed", "output_format", "enable_base64_output", "enable_sync_mode"),
    ),
    Family("z-image-turbo", ("size", "seed", "output_format", "enable_safety_checker")),
    Family("wan-2", ("size", "seed", "enable_safety_checker")),
    Family("", ("negative_prompt", "size", "seed", "enable_safety_checker")),
)
SETTINGS = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "seed": "seed",
}


def plan_call(wanted: Wanted) -> Call:
    """
    Raises:
        Inexpressible
    """
    match wanted.kind:
        case "image":
            return _plan_image(wanted)
        case "video":
            return _plan_video(wanted)
        case "speech":
            return _plan_speech(wanted)
        case "text":
            return _plan_text(wanted)
    raise Inexpressible(
        "The AI SDK knows models of images, video, speech and text; of this endpoint it is not "
        "known what it makes."
    )


def _plan_image(wanted: Wanted) -> Call:
    family = next(one for one in FAMILIES if one.mark in wanted.name)
    given = {name: value for name, value in wanted.input.items() if name != "prompt"}
    left_out = tuple(name for name in family.fills_in if name not in given)
    if family.only is not None:
        cannot = sorted(given.keys() - set(family.only))
        if "aspect_ratio" not in given or given["aspect_ratio"] != "custom":
            cannot += sorted(given.keys() & {"width", "height"})
        if cannot:
            raise Inexpressible(f"Runpod's provider cannot send {_list(cannot)} to this model.")
        # It has a value of its own for each of these, and takes no word for "none".
        given |= _defaults(wanted, left_out)
        left_out = ()
    return Call(
        function="generateImage",
        model=".image",
        model_id=wanted.name,
        base=wanted.url,
        arguments={"prompt": _prompt(wanted)},
        options=given,
        left_out=left_out,
        file="image",
    )


def _defaults(wanted: Wanted, names: tuple[str, ...]) -> Values:
    fields: Mapping[str, Any] = wanted.endpoint.get("input_schema", {}).get("properties", {})
    without = [name for name in names if fields.get(name, {}).get("default") is None]
    if without:
        raise Inexpressible(
            f"Runpod's provider sends {_list(without)} to this model, whether one wants it or not. "
            "Choose a value in the form."
        )
    return {name: fields[name]["default"] for name in names}


def _plan_video(wanted: Wanted) -> Call:
    options = {name: value for name, value in wanted.input.items() if name != "prompt"}
    return Call(
        function="experimental_generateVideo",
        renamed="generateVideo",
        model=".video",
        model_id=wanted.url,  # of video and speech the provider asks no `baseURL`
        arguments={"prompt": _prompt(wanted)},
        options=options,
        file="video",
        own_download=_is_private(wanted.base),
    )


def _plan_speech(wanted: Wanted) -> Call:
    given = dict(wanted.input)
    prompt = _prompt(wanted)
    if "\n" in prompt or "\r" in prompt:
        raise Inexpressible("Runpod's provider makes spaces of the line breaks of a text.")
    fields = wanted.endpoint.get("input_schema", {}).get("properties", {})
    own = {name: given.pop(name) for name in ("prompt", "voice", "voice_url") if name in given}
    cannot = [name for name, value in given.items() if value != fields.get(name, {}).get("default")]
    if "voice" not in fields:
        raise Inexpressible("Runpod's provider knows other models of speech, not this one.")
    if cannot:
        raise Inexpressible(f"Runpod's provider cannot send {_list(cannot)} to this model.")
    if "voice_url" in own:
        own.pop("voice", None)
    arguments = {"text": prompt} | ({"voice": own["voice"]} if "voice" in own else {})
    return Call(
        function="experimental_generateSpeech",
        renamed="generateSpeech",
        model=".speech",
        model_id=wanted.url,
        arguments=arguments,
        options={"voice_url": own["voice_url"]} if "voice_url" in own else {},
        file="audio",
    )


def _plan_text(wanted: Wanted) -> Call:
    models = wanted.endpoint.get("openai_models") or []
    if not models:
        raise Inexpressible("The AI SDK calls text models by OpenAI's API, which this has not.")
    given = dict(wanted.input)
    arguments: Values = {}
    if "messages" in given:
        arguments["messages"] = given.pop("messages")
    else:
        arguments["prompt"] = given.pop("prompt", "")
    model = given.pop("model", models[0])
    given |= given.pop("sampling_params", {})
    for name, argument in SETTINGS.items():
        if name in given:
            arguments[argument] = given.pop(name)
    if "stop" in given:
        stop = given.pop("stop")
        arguments["stopSequences"] = [stop] if isinstance(stop, str) else stop
    return Call(
        function="generateText",
        model="",
        model_id=model,
        base=f"{wanted.url}/openai/v1",
        arguments=arguments,
        options=given,
    )


def _prompt(wanted: Wanted) -> str:
    return str(wanted.input.get("prompt", ""))


def _list(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_private(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".localhost", ".internal"))
