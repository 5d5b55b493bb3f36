"""What is wrong with an input, in words for whoever sent it.

width: 1000 is not a multiple of 64
promt: unknown field, did you mean 'prompt'?
prompt: missing, wanted a non-empty string
input: an object is not complete without images or image
"""

import difflib
import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

SHOWN_CHARACTERS = 40  # of a value in a message: an input may hold a file as a data URL

TYPE_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class Fault(enum.StrEnum):
    """The way in which a field is wrong."""

    INVALID = "invalid"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that stops an input from being sent; `str()` of it is one line.

    `field` is the path to it ("loras[0].scale"), or "input" for the whole. `came` is the value
    as it was sent, None if there was none.
    """

    field: str
    came: object
    wanted: str
    fault: Fault = Fault.INVALID

    def __str__(self) -> str:
        match self.fault:
            case Fault.MISSING:
                return f"{self.field}: missing, wanted {self.wanted}"
            case Fault.UNKNOWN:
                return f"{self.field}: unknown field, {self.wanted}"
            case Fault.INVALID:
                return f"{self.field}: {_shown(self.came)} is not {self.wanted}"


class InputCheck:
    """A JSON Schema made ready to check many inputs."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._validator = _Validator(schema)

    def problems(self, values: object) -> list[Problem]:
        """Return every problem, at most one for each field, in the schema's order."""
        found: dict[tuple[str, Fault], Problem] = {}
        for error in self._validator.iter_errors(values):
            for problem in _translate(error):
                # A wrong type comes first and says more than what follows from it.
                found.setdefault((problem.field, problem.fault), problem)
        return list(found.values())


def close_match(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most likely a slip of."""
    return next(iter(difflib.get_close_matches(str(word), list(known), n=1)), None)


def _is_finite_number(_checker: TypeChecker, value: object) -> bool:
    # Python's json reads NaN and Infinity, which no endpoint takes and no bound holds back.
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = extend(  # type: ignore[no-untyped-call]  # the stubs leave its types out
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number),
)


def _translate(error: ValidationError) -> Iterator[Problem]:
    path = list(error.absolute_path)
    came: Any = error.instance
    schema: Any = error.schema
    rule: Any = error.validator_value
    match error.validator:
        case "required":
            for name in rule:  # which one it is stands in the error's message only
                if name not in came:
                    wanted = _wanted(schema["properties"][name])
                    yield Problem(_path([*path, name]), None, wanted, Fault.MISSING)
        case "additionalProperties":
            for name, value in came.items():
                if name not in schema["properties"]:
                    yield _unknown(_path([*path, name]), name, value, schema["properties"])
        case "type":
            yield Problem(_path(path), came, TYPE_WORDS[rule])
        case "multipleOf":
            yield Problem(_path(path), came, f"a multiple of {rule}")
        case "anyOf":
            yield Problem(_path(path), came, _wanted_of(rule, came))
        case _:
            yield Problem(_path(path), came, _wanted(schema, came))


def _unknown(path: str, name: object, value: object, known: Iterable[str]) -> Problem:
    meant = close_match(name, known)
    wanted = f"did you mean {meant!r}?" if meant else f"wanted one of {', '.join(known)}"
    return Problem(path, value, wanted, Fault.UNKNOWN)


def _wanted(schema: Mapping[str, Any], came: object = None) -> str:
    """Say in words what a field takes."""
    match schema:
        case {"enum": allowed}:
            wanted = _one_of(allowed, came)
        case {"format": "uri"}:
            wanted = "an http(s) or data: URL"
        case {"pattern": _, "examples": examples}:
            wanted = f"a value such as {' or '.join(_shown(value) for value in examples)}"
        case {"type": "string", "minLength": _}:
            wanted = "a non-empty string"
        case {"type": "array", "minItems": least, "maxItems": most}:
            wanted = f"a list of {least} to {most} items"
        case {"type": "array", "minItems": least}:
            wanted = f"a list of {least} or more items"
        case {"minimum": least, "maximum": most}:
            wanted = f"between {least} and {most}"
        case {"minimum": least}:
            wanted = f"at least {least}"
        case {"multipleOf": step}:
            wanted = f"a multiple of {step}"
        case _:
            wanted = TYPE_WORDS[schema["type"]]
    return wanted


def _wanted_of(options: list[Mapping[str, Any]], came: object) -> str:
    """Say in words what would do: of fields, any of them; of values, what is documented.

    That is the first option. The others are exceptions that a client needs.
    """
    fields = [" and ".join(option["required"]) for option in options if "required" in option]
    return f"complete without {' or '.join(fields)}" if fields else _wanted(options[0], came)


def _one_of(allowed: Iterable[object], came: object) -> str:
    meant = close_match(came, map(str, allowed)) if isinstance(came, str) else None
    hint = f"; did you mean {meant!r}?" if meant else ""
    return f"one of {', '.join(_shown(value) for value in allowed)}{hint}"


def _path(steps: Iterable[object]) -> str:
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".") or "input"


def _shown(value: object) -> str:
    """Return a value as short text, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() if len(value) > SHOWN_CHARACTERS:
            return f"{value[:SHOWN_CHARACTERS]!r}… ({len(value)} characters)"
        case list():
            return f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
        case Mapping():
            return "an object"
    return repr(value)[:SHOWN_CHARACTERS]
