"""Any JSON as source text, whatever is in its strings.

What cannot be printed (line separators, marks that turn the direction of writing) is escaped, so
that a program is what it looks like.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

STEP = 4  # spaces
SHORT = 60  # characters of a list that stays on its line

_identifier = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")

Write = Callable[[str], str]


def python(value: Any, indent: int = 0) -> str:
    """As Python; lines after the first begin `indent` spaces in, those within it deeper."""
    return _write(value, indent, STEP, _PYTHON)


def javascript(value: Any, indent: int = 0) -> str:
    return _write(value, indent, STEP // 2, _JAVASCRIPT)


def shell_json(value: Any, indent: int = 0) -> str:
    """JSON to stand between single quotes of a shell, which nothing but their like can end."""
    return _write(value, indent, STEP // 2, _JSON).replace("'", "\\u0027")


def shell_word(words: str) -> str:
    """Between single quotes."""
    return "'" + words.replace("'", "'\\''") + "'"


def _quote_python(words: str) -> str:
    return _escape(words, lambda code: f"\\U{code:08x}")


def _quote_json(words: str) -> str:
    return _escape(words, _as_pair)


def _escape(words: str, write: Callable[[int], str]) -> str:
    quoted = json.dumps(words, ensure_ascii=False)
    return "".join(one if one.isprintable() else write(ord(one)) for one in quoted)


def _as_pair(code: int) -> str:
    units = chr(code).encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def name_in_javascript(name: str) -> str:
    """Of a field, in an object."""
    if name == "__proto__":  # by its bare name it would be the object's prototype
        return '["__proto__"]'
    return name if _identifier.fullmatch(name) else _quote_json(name)


class _Syntax:
    """How a language writes strings, names of fields, and what else JSON has."""

    def __init__(
        self, quote: Write, name: Write, words: Mapping[object, str], *, last: str
    ) -> None:
        self.quote = quote
        self.name = name
        self.words = words
        self.last = last  # after the last of several lines


_JSON_WORDS: Mapping[object, str] = {True: "true", False: "false", None: "null"}
_PYTHON = _Syntax(
    _quote_python, _quote_python, {True: "True", False: "False", None: "None"}, last=","
)
_JAVASCRIPT = _Syntax(_quote_json, name_in_javascript, _JSON_WORDS, last=",")
_JSON = _Syntax(_quote_json, _quote_json, _JSON_WORDS, last="")


def _write(value: Any, indent: int, step: int, syntax: _Syntax) -> str:
    inner = indent + step
    match value:
        case str():
            return syntax.quote(value)
        case bool() | None:
            return syntax.words[value]
        case Mapping():
            lines = [
                f"{syntax.name(name)}: {_write(one, inner, step, syntax)}"
                for name, one in value.items()
            ]
            return _lay_out(lines, "{}", indent, inner, syntax)
        case Sequence():
            lines = [_write(one, inner, step, syntax) for one in value]
            line = f"[{', '.join(lines)}]"
            if len(line) <= SHORT and "\n" not in line:
                return line
            return _lay_out(lines, "[]", indent, inner, syntax)
        case _:
            return json.dumps(value)


def _lay_out(lines: list[str], ends: str, indent: int, inner: int, syntax: _Syntax) -> str:
    if not lines:
        return ends
    laid = f",\n{' ' * inner}".join(lines)
    return f"{ends[0]}\n{' ' * inner}{laid}{syntax.last}\n{' ' * indent}{ends[1]}"
