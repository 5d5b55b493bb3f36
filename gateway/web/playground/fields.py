"""From an endpoint's schema to the fields of its form, and from what they hold to an input.

Every property becomes a field; those of an object (`sampling_params`) stand beside the others,
under their path ("sampling_params.top_p").
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class FieldKind(enum.StrEnum):
    """How a field is filled in."""

    TEXT = "text"  # several lines
    LINE = "line"
    SUGGEST = "suggest"  # a line, with examples
    CHOICE = "choice"
    RATIO = "ratio"  # of sides, drawn
    SIZE = "size"  # width*height, drawn
    SIDE = "side"  # width or height alone
    NUMBER = "number"
    SEED = "seed"
    SWITCH = "switch"
    FILE = "file"
    FILES = "files"
    ROWS = "rows"  # objects, of which each has the same fields
    JSON = "json"


LABELS = {
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "image_format": "Format",
    "output_format": "Format",
    "fps": "Frames per second",
    "bgm": "Background music",
    "voice_id": "Voice",
    "duration": "Duration, seconds",
    "disable_safety_checker": "Without the safety checker",
    "enable_safety_checker": "Safety checker",
}
FIRST = {
    "prompt",
    "messages",
    "negative_prompt",
    "image",
    "images",
    "aspect_ratio",
    "size",
    "width",
    "height",
    "resolution",
    "duration",
    "seed",
    "voice",
    "voice_id",
    "model",
}
NUMBERS = {"seed": FieldKind.SEED, "width": FieldKind.SIDE, "height": FieldKind.SIDE}
LONG = {"prompt", "negative_prompt", "content"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """
    Attributes:
        name: its path in the input.
        wanted: what it takes, in words.
        default: what the endpoint takes if it is left out; None: nothing is known.
        advanced: folded at first.
        accept: of a file, as browsers have it.
        fields: of one row.
    """

    name: str
    label: str
    kind: FieldKind
    wanted: str = ""
    required: bool = False
    advanced: bool = False
    default: Any = None
    options: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    whole: bool = False
    accept: str = ""
    fields: tuple["Field", ...] = ()

    def describe(self) -> dict[str, Any]:
        """For form.js."""
        described = {name: getattr(self, name) for name in self.__slots__ if name != "fields"}
        described["fields"] = [one.describe() for one in self.fields]
        return described


def find_fields(schema: Mapping[str, Any]) -> list[Field]:
    """Of an endpoint's `input_schema`; what most people fill in comes first."""
    found = list(_find(schema))
    return sorted(found, key=lambda field: field.advanced)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """An input from the values of fields by their paths."""
    values: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, name = path.split(".")
        place = values
        for step in outer:
            place = place.setdefault(step, {})
        place[name] = value
    return values


def flatten(values: Mapping[str, Any], fields: list[Field]) -> dict[str, Any]:
    """The values of fields from an input; what no field stands for is left out."""
    flat = {}
    for field in fields:
        value: Any = values
        for step in field.name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            flat[field.name] = value
    return flat


def is_telling(field: Field, value: object) -> bool:
    """Whether it is to be sent: it is given, and not what the endpoint would take anyway."""
    if value is None or value in ("", []):
        return False
    return field.required or field.default is None or value != field.default


def _find(schema: Mapping[str, Any], outer: str = "") -> Iterator[Field]:
    required = set(schema.get("required", ()))
    # Either of these will do, so both are to be seen.
    either = {name for one in schema.get("anyOf", ()) for name in one.get("required", ())}
    for name, inner in schema.get("properties", {}).items():
        if inner.get("type") == "object" and "properties" in inner:
            yield from _find(inner, f"{outer}{name}.")
            continue
        kind = _kind_of(name, inner)
        needed = name in required
        first = not outer and (needed or name in FIRST or name in either)
        yield Field(
            name=f"{outer}{name}",
            label=LABELS.get(name, name.replace("_", " ").capitalize()),
            kind=kind,
            wanted=say_wanted(inner),
            required=needed,
            advanced=not first,
            default=inner.get("default"),
            options=_options(inner),
            least=inner.get("minimum", inner.get("minItems")),
            most=inner.get("maximum", inner.get("maxItems")),
            whole=inner.get("type") == "integer",
            accept=_accept(name) if kind in {FieldKind.FILE, FieldKind.FILES} else "",
            fields=tuple(_find(inner["items"])) if kind is FieldKind.ROWS else (),
        )


def _kind_of(name: str, schema: Mapping[str, Any]) -> FieldKind:
    kind = FieldKind.JSON
    match schema:
        case {"format": "uri"}:
            kind = FieldKind.FILE
        case {"type": "array", "items": {"format": "uri"}}:
            kind = FieldKind.FILES
        case {"type": "array", "items": {"type": "object", "properties": _}}:
            kind = FieldKind.ROWS
        case {"type": "string"}:
            kind = _kind_of_text(name, schema)
        case {"enum": _}:
            kind = FieldKind.CHOICE
        case {"type": "boolean"}:
            kind = FieldKind.SWITCH if "default" in schema else FieldKind.CHOICE
        case {"type": "integer" | "number"}:
            kind = NUMBERS.get(name, FieldKind.NUMBER)
    return kind


def _kind_of_text(name: str, schema: Mapping[str, Any]) -> FieldKind:
    options = _options(schema)
    if name == "aspect_ratio" and options:
        return FieldKind.RATIO
    if name == "size" and options and all("*" in str(one) for one in options):
        return FieldKind.SIZE
    if options:
        return FieldKind.CHOICE if "enum" in schema else FieldKind.SUGGEST
    return FieldKind.TEXT if name in LONG else FieldKind.LINE


def _options(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    if schema.get("type") == "boolean":
        return (True, False)
    return tuple(schema.get("enum", schema.get("examples", ())))


def say_wanted(schema: Mapping[str, Any]) -> str:
    """What a field takes: "256 to 2048, in steps of 64 (also 1140, 1328)"."""
    if "description" in schema and "minimum" not in schema:
        return str(schema["description"])
    match schema:
        case {"enum": _} | {"type": "boolean"}:
            return ""
        case {"minimum": least, "maximum": most}:
            said = f"{least:g} to {most:g}"
        case {"minimum": least}:
            said = f"{least:g} or more"
        case {"minItems": least, "maxItems": most}:
            return f"{least} to {most}"
        case _:
            return ""
    for rule in schema.get("anyOf", (schema,)):
        if "multipleOf" in rule:
            said += f", in steps of {rule['multipleOf']}"
        elif "enum" in rule:
            said += f" (also {', '.join(map(str, rule['enum']))})"
    return said


def _accept(name: str) -> str:
    for word in ("video", "audio"):
        if word in name:
            return f"{word}/*"
    return "audio/*" if name.startswith("voice") else "image/*"
