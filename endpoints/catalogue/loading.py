"""Read the catalogue's files, and refuse whatever would only show itself at run time.

The files are held to a narrow part of JSON Schema: keywords that the input check can put into
words, and that a form can be made from. A misspelt keyword would otherwise check nothing.
"""

import datetime as dt
import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from endpoints.catalogue.catalogue import Catalogue
from endpoints.catalogue.entry import Endpoint, Frame, Kind, Length, Output, Price, Unit
from endpoints.catalogue.limits import Limit, Operation
from endpoints.catalogue.problem import InputCheck

ENDPOINT_FILES = ("image.yaml", "video.yaml", "speech.yaml", "text.yaml")
PRICED_FIELDS = {Unit.PIXEL: ("width", "height"), Unit.CHARACTER: ("prompt",)}


class CatalogueError(ValueError):
    """A file of the catalogue is broken; nothing of it was loaded."""

    def __init__(self, file: str, endpoint: str, field: str, reason: str) -> None:
        super().__init__(file, endpoint, field, reason)
        self.file = file
        self.endpoint = endpoint
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.endpoint, self.field) if part)
        return f"{where}: {self.reason}"


class _Loader(yaml.CSafeLoader):
    """A safe loader that refuses a key given twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 -- the loader's own signature
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands here twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Option(_Strict):
    """One of the ways in which `anyOf` can be met."""

    model_config = ConfigDict(alias_generator=to_camel)

    required: list[str] | None = None  # of an object
    multiple_of: PositiveFloat | None = None
    enum: list[Any] | None = None


class _FieldSchema(_Strict):
    model_config = ConfigDict(alias_generator=to_camel)

    type: Literal["string", "integer", "number", "boolean", "array", "object"]
    default: Any = None
    description: str | None = None
    examples: list[Any] | None = None
    enum: list[Any] | None = None
    format: Literal["uri"] | None = None
    pattern: re.Pattern[str] | None = None
    min_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: PositiveFloat | None = None
    items: "_FieldSchema | None" = None
    min_items: int | None = None
    max_items: int | None = None
    properties: "dict[str, _FieldSchema] | None" = None
    required: list[str] | None = None
    any_of: Annotated[list[_Option], Field(min_length=2)] | None = None
    additional_properties: Literal[False] | None = None


class _Typical(_Strict):
    seconds: PositiveFloat
    delay_seconds: PositiveFloat


class _Entry(_Strict):
    name: str
    task: str
    also: tuple[str, ...] = ()
    about: str
    aliases: tuple[str, ...] = ()
    openai: tuple[str, ...] | None = None
    price: Price | None = None
    typical: _Typical
    output: Output
    input: _FieldSchema
    frame: Frame | None = None
    limits: dict[Operation, Limit] = {}


T = TypeVar("T")

_KIND = TypeAdapter(Kind)
_ENTRY = TypeAdapter(_Entry)
_LIMITS = TypeAdapter(dict[Operation, Limit])
_RETIRED = TypeAdapter(dict[str, dt.date])


@functools.cache
def load_catalogue() -> Catalogue:
    """Return the catalogue that is part of this package, read once.

    Raises:
        CatalogueError: a file of it is broken.
    """
    return read_catalogue(importlib.resources.files("endpoints.catalogue") / "data")


def read_catalogue(folder: Traversable) -> Catalogue:
    """Return the catalogue whose files stand in a folder.

    Raises:
        CatalogueError: a file is missing, is no YAML, or breaks a rule.
    """
    endpoints: dict[str, Endpoint] = {}
    for file in ENDPOINT_FILES:
        for endpoint in _read_endpoints(folder, file):
            for name in (endpoint.id, *endpoint.aliases):
                if name in endpoints:
                    raise CatalogueError(file, endpoint.id, "", f"{name!r} is taken")
                endpoints[name] = endpoint
    limits = _valid("limits.yaml", _LIMITS, _read(folder, "limits.yaml"))
    retired = _valid("retired.yaml", _RETIRED, _read(folder, "retired.yaml"))
    return Catalogue(dict.fromkeys(endpoints.values()), limits=limits, retired=retired)


def _read(folder: Traversable, file: str) -> dict[str, Any]:
    try:
        content = yaml.load((folder / file).read_bytes(), _Loader)  # noqa: S506 -- a safe one
    except (OSError, yaml.YAMLError) as error:
        raise CatalogueError(file, "", "", str(error)) from error
    if not isinstance(content, dict):
        raise CatalogueError(file, "", "", f"{type(content).__name__} is not a mapping")
    return content


def _valid(file: str, adapter: TypeAdapter[T], value: object, endpoint: str = "") -> T:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"])
        raise CatalogueError(file, endpoint, field, first["msg"]) from error


def _read_endpoints(folder: Traversable, file: str) -> Iterator[Endpoint]:
    content = _read(folder, file)
    kind = _valid(file, _KIND, content.get("kind"), "kind")
    for endpoint_id, raw in content.get("endpoints", {}).items():
        entry = _valid(file, _ENTRY, raw, endpoint_id)
        endpoint = Endpoint(
            id=endpoint_id,
            name=entry.name,
            kind=kind,
            task=entry.task,
            also=entry.also,
            about=entry.about,
            aliases=entry.aliases,
            openai=entry.openai,
            frame=entry.frame,
            schema=raw["input"],
            price=entry.price,
            output=entry.output,
            typical_seconds=entry.typical.seconds,
            typical_delay_seconds=entry.typical.delay_seconds,
            limits=entry.limits,
        )
        faults = (
            *_schema_faults(endpoint.schema),
            *_frame_faults(endpoint),
            *_price_faults(endpoint),
        )
        for field, reason in faults:
            raise CatalogueError(file, endpoint_id, field, reason)
        yield endpoint


def _schema_faults(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the form of a schema cannot show: defaults and names that do not fit."""
    properties = schema.get("properties", {})
    if schema["type"] == "object" and not (properties and "additionalProperties" in schema):
        yield "input", "an object has to list its properties and take no others"
    named = list(schema.get("required", ()))
    for option in schema.get("anyOf", ()):
        if len(option) != 1 or ("required" in option) != (schema["type"] == "object"):
            yield "input.anyOf", "an option is one keyword, and that is `required` of objects alone"
        named += option.get("required", ())
    for name in named:
        if name not in properties:
            yield f"input.{name}", "required, but not described"
    for name, inner in properties.items():
        if "default" in inner:
            for problem in InputCheck(inner).problems(inner["default"]):
                yield f"input.{name}.default", str(problem)
        yield from _schema_faults(inner.get("items", inner))


def _frame_faults(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if endpoint.frame is None:
        return
    size = endpoint.schema["properties"].get("size", {})
    if problem := endpoint.frame.problem(size.get("default")):
        yield "input.size.default", str(problem)
    elif "pattern" not in size:
        yield "frame", "'size' is no input of this endpoint that has a pattern"


def _price_faults(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    price = endpoint.price
    if price is None:
        return
    named = [*price.by, *PRICED_FIELDS.get(price.per, ())]
    if price.length is Length.DURATION:
        named.append("duration")
    if price.unless:
        named.append(price.unless)
    for name in named:
        if name not in endpoint.schema["properties"]:
            yield "price", f"{name!r} is not an input of this endpoint"
    if price.per is Unit.SECOND and price.length is None:
        yield "price.length", "missing, wanted one of duration, media, result"
