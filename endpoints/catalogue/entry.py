"""One endpoint of the catalogue: what it takes, what it gives back, what it costs.

The values are read from `data/*.yaml` by `loading`; the arithmetic of a price is in `price`.
"""

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar

from pydantic import ConfigDict, PositiveInt

from endpoints.catalogue.limits import Limit, Operation
from endpoints.catalogue.problem import InputCheck, Problem

Key = bool | int | str
Table = dict[Key, Decimal]
Rates = Decimal | Table | dict[Key, Table]


class Kind(enum.StrEnum):
    """What comes out."""

    IMAGE = "image"
    VIDEO = "video"
    SPEECH = "speech"
    TEXT = "text"


class Unit(enum.StrEnum):
    """What is counted for the bill."""

    JOB = "job"
    PIXEL = "pixel"  # width times height
    SECOND = "second"
    CHARACTER = "character"  # of the prompt
    TOKEN = "token"  # noqa: S105 -- a unit of text, no secret


class Length(enum.StrEnum):
    """Where the billed seconds are found."""

    DURATION = "duration"  # the input field of that name
    MEDIA = "media"  # a file that the caller supplies
    RESULT = "result"  # the file that is produced


@dataclass(frozen=True, slots=True)
class Price:
    """What a job costs, in US dollars: `usd` for each `each` units.

    `usd` is one figure, or a table keyed by the values of the input fields `by`, outermost first.
    Below that, tokens may have an `input` and an `output` figure. With `banded`, `usd` is keyed by
    the longest length, in seconds, that a figure is good for. `unless` names the input field whose
    file sets the length instead of the duration.
    """

    per: Unit
    usd: Rates
    each: PositiveInt = 1
    by: tuple[str, ...] = ()
    length: Length | None = None
    unless: str | None = None
    banded: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Output:
    """The shape of a finished job's `output`, as the endpoint's sample reply shows it.

    `field` holds the result: a URL, or a text's choices. `listed`: the object stands alone in a
    list. `cost`: a cost comes with it. `worker`: the reply names its worker.
    """

    field: str
    extension: str | None = None
    listed: bool = False
    cost: bool = True
    worker: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Frame:
    """What JSON Schema cannot ask of a `size` of width*height: its pixels, and its shape.

    `most_ratio` is the longer side over the shorter.
    """

    least_pixels: PositiveInt
    most_pixels: PositiveInt
    most_ratio: PositiveInt

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def problem(self, size: object) -> Problem | None:
        """Return what is wrong with a size; whether it is one at all, the schema says."""
        sides = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", size) if isinstance(size, str) else None
        if sides is None:
            return None
        short, long = sorted((int(sides[1]), int(sides[2])))
        if not self.least_pixels <= short * long <= self.most_pixels:
            wanted = f"between {self.least_pixels} and {self.most_pixels} pixels"
            return Problem("size", size, wanted)
        if long > short * self.most_ratio:
            return Problem("size", size, f"between 1:{self.most_ratio} and {self.most_ratio}:1")
        return None


@dataclass(frozen=True, eq=False)  # no slots: the input check is built at its first use
class Endpoint:
    """One hosted endpoint. Compared by identity: the catalogue holds one object for each.

    `task` and `also` are what it is for ("text-to-image"). `schema` is the JSON Schema (draft
    2020-12) of its `input`; it is shared and must not be changed. `frame` bounds `size` further.
    `typical_seconds` and `typical_delay_seconds` are the run and the wait of the documented sample,
    where to start a forecast from. `openai` holds the model names of the OpenAI-compatible route,
    the default first; None if there is no such route.
    """

    id: str
    name: str
    kind: Kind
    task: str
    about: str
    schema: Mapping[str, Any]
    price: Price | None
    output: Output
    typical_seconds: float
    typical_delay_seconds: float
    also: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    openai: tuple[str, ...] | None = None
    frame: Frame | None = None
    limits: Mapping[Operation, Limit] = field(default_factory=dict)

    def check(self, values: object) -> list[Problem]:
        """Return what is wrong with an input, one problem a field; empty if it can be sent.

        Takes any JSON value: what is no object is one problem.
        """
        found = self._check.problems(values)
        if self.frame is not None and isinstance(values, Mapping):
            misfit = self.frame.problem(values.get("size"))
            if misfit is not None and all(problem.field != misfit.field for problem in found):
                found.append(misfit)
        return found

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the input as the endpoint takes it: what was given, else the default."""
        return _with_defaults(self.schema, values)

    def supplied_urls(self, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the field and the address of each file that an input leaves to be fetched."""
        for name, inner in self.schema["properties"].items():
            given = values.get(name)
            listed = inner.get("items", inner).get("format") == "uri"
            for url in given if isinstance(given, list) else [given]:
                if listed and isinstance(url, str) and url.startswith(("http://", "https://")):
                    yield name, url

    @cached_property
    def _check(self) -> InputCheck:
        return InputCheck(self.schema)


def _with_defaults(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(given)
    for name, inner in schema["properties"].items():
        if inner["type"] == "object" and isinstance(values.get(name, {}), Mapping):
            nested = _with_defaults(inner, values.get(name, {}))
            if nested or name in values:
                values[name] = nested
        elif "default" in inner:
            values.setdefault(name, inner["default"])
    return values
