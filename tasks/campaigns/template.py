"""Templates: text with `{name}` in it, where a row's or a combination's value goes.

Braces that are meant are doubled. A template that is nothing but `{name}` gives the value as it is,
a number as a number; within other text it is written out.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class BadTemplate(ValueError):
    """It cannot be read, or names what is not there; its text says what came and was wanted."""


@dataclass(frozen=True, slots=True)
class _Name:
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """Made by `read_template`; `parts` are pieces of text, and names between them."""

    parts: tuple[str | _Name, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(part.text for part in self.parts if isinstance(part, _Name))

    def fill(self, values: Mapping[str, object]) -> object:
        """
        Raises:
            BadTemplate: it names something that is not among the values.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], _Name):
            return _find(values, self.parts[0])
        return "".join(
            part if isinstance(part, str) else _say(_find(values, part)) for part in self.parts
        )


def read_template(text: str) -> Template:
    """
    Raises:
        BadTemplate: a brace has no partner, or nothing stands between two.
    """
    parts: list[str | _Name] = []
    for match in _PART.finditer(text):
        piece, name = match[0], match[1]
        if piece in {"{{", "}}"}:
            piece = piece[0]
        elif piece in {"{", "}"}:
            raise BadTemplate(f"{text!r}: a lone {piece!r}; one that is meant is doubled")
        elif name is not None:
            if not name.strip():
                raise BadTemplate(f"{text!r}: nothing between braces; braces meant are doubled")
            parts.append(_Name(name.strip()))
            continue
        if parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)
    return Template(tuple(parts))


def read_templates(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    """The same JSON with a `Template` for each text that names something.

    Raises:
        BadTemplate: one of them cannot be read.
    """
    if isinstance(value, str):
        template = read_template(value)
        return template if template.names else template.fill({})
    if isinstance(value, Mapping):
        return {name: read_templates(one) for name, one in value.items()}
    if isinstance(value, list):
        return [read_templates(one) for one in value]
    return value


def fill_templates(value: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 -- any JSON
    """
    Raises:
        BadTemplate: one names something that is not among the values.
    """
    if isinstance(value, Template):
        return value.fill(values)
    if isinstance(value, Mapping):
        return {name: fill_templates(one, values) for name, one in value.items()}
    if isinstance(value, list):
        return [fill_templates(one, values) for one in value]
    return value


def find_names(value: Any) -> frozenset[str]:  # noqa: ANN401 -- any JSON
    """What the templates in it name."""
    if isinstance(value, Template):
        return value.names
    if isinstance(value, Mapping):
        return frozenset[str]().union(*map(find_names, value.values()))
    if isinstance(value, list):
        return frozenset[str]().union(*map(find_names, value))
    return frozenset()


def suggest(name: str, known: Iterable[str]) -> str:
    """A near name to end a message with, or all of a few."""
    folded = {one.casefold(): one for one in sorted(known)}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"there are {', '.join(map(repr, folded.values()))}" if folded else "there are none"


def _find(values: Mapping[str, object], name: _Name) -> object:
    try:
        return values[name.text]
    except KeyError:
        raise BadTemplate(
            f"{{{name.text}}}: no such column; {suggest(name.text, values)}"
        ) from None


def _say(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
