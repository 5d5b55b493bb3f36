"""Small changes to a piece of SQL, each of which makes it say something else.

SQL is read as tokens, not parsed: what clause a token stands in is told by the keywords before it,
within its own parentheses and its own CASE. A piece may begin anywhere and be full of holes (an
f-string's), so now and then a change makes no SQL at all; the first test to run it tells.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# The next word of a row takes a word's place, the first the last one's.
Vocabulary = Sequence[Sequence[str]]

_TOKEN = re.compile(
    r"""
      (?P<space> \s+ | --[^\n]* )
    | (?P<word> '(?:[^']|'')*' )
    | (?P<hole> \{\{ | \}\} | \{[^{}]*\} )
    | (?P<name> "\w+" | [A-Za-z_]\w* )
    | (?P<number> \d+(?:\.\d+)? )
    | (?P<mark> <> | <= | >= | => | ->> | -> | \|\| | :: | :\w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_IS_SQL = re.compile(
    r"\b(SELECT|UPDATE|INSERT|WHERE|CASE|WHEN|SET|IS NULL|IS NOT NULL|AND|EXISTS)\b|\w = \w+ \+ 1"
)

_CLAUSES = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "ON", "SET", "VALUES", "RETURNING"),
        *("ORDER", "LIMIT", "GROUP", "FOR", "HAVING", "UNION", "USING"),
        *("INTO", "JOIN", "LEFT", "FULL", "CROSS", "WITH", "UPDATE"),
        *("INSERT", "WHEN", "THEN", "ELSE", "OVER", "DO"),
    }
)
_SWAPS: Mapping[str, Sequence[str]] = {
    "AND": ["OR"],
    "OR": ["AND"],
    "<>": ["="],
    "<": ["<=", ">="],
    "<=": ["<", ">"],
    ">": [">=", "<="],
    ">=": [">", "<"],
    "true": ["false"],
    "false": ["true"],
}
_PICKS = frozenset({"coalesce", "least", "greatest"})


@dataclass(frozen=True, slots=True)
class Change:
    """What stands from `start` to `end` is replaced."""

    kind: str
    start: int
    end: int
    by: str

    def apply(self, sql: str) -> str:
        return sql[: self.start] + self.by + sql[self.end :]


@dataclass(eq=False, slots=True)
class _Frame:
    """A pair of parentheses, a CASE, or the whole."""

    opened_by: str
    clause: str = ""


@dataclass(slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    frame: _Frame
    clause: str = ""  # its frame's at this place
    closes: int = field(default=-1)  # of an opening one: where the frame ends


def is_sql(piece: str) -> bool:
    return _IS_SQL.search(piece) is not None


def find_changes(sql: str, vocabulary: Vocabulary = ()) -> list[Change]:
    """In the order of their places; no two make the same of it."""
    tokens = _read(sql)
    found: dict[str, Change] = {}
    for find in (
        _swap,
        _drop_conditions,
        _drop_arms,
        _drop_arguments,
        _drop_assignments,
        _drop_clauses,
        _drop_spans,
        _change_numbers,
        _change_nots,
    ):
        for change in find(tokens):
            found.setdefault(change.apply(sql), change)
    for change in _change_words(tokens, vocabulary):
        found.setdefault(change.apply(sql), change)
    return sorted(found.values(), key=lambda change: (change.start, change.end, change.by))


def _read(sql: str) -> list[_Token]:
    """The tokens, without white space and comments, each with where it stands."""
    tokens: list[_Token] = []
    # A piece that begins with a comma goes on with what is SET.
    stack = [_Frame("", "SET" if sql.lstrip().startswith(",") else "")]
    opened: list[int] = []
    for match in _TOKEN.finditer(sql):
        kind = str(match.lastgroup)
        if kind == "space":
            continue
        text = match.group()
        if text in {")", "END"} and len(stack) > 1:
            stack.pop()
            tokens[opened.pop()].closes = len(tokens)
        frame = stack[-1]
        if text in _CLAUSES and not (text == "SET" and frame.clause == "WHERE"):
            frame.clause = text
        tokens.append(_Token(kind, text, match.start(), match.end(), frame, frame.clause))
        if text in {"(", "CASE"}:
            opened.append(len(tokens) - 1)
            stack.append(_Frame(text))
    return tokens


def _end(tokens: Sequence[_Token], first: int, ends: frozenset[str]) -> int:
    """Before which token ends what begins with `first`: one of `ends`, or the end of its frame."""
    place = first + 1
    while place < len(tokens) and tokens[place].text not in ends | {")", "END"}:
        place = max(tokens[place].closes, place) + 1
    return min(place, len(tokens))


def _cut(kind: str, tokens: Sequence[_Token], first: int, before: int, by: str = "") -> Change:
    """From the beginning of one token to the end of the one before another."""
    return Change(kind, tokens[first].start, tokens[before - 1].end, by)


def _swap(tokens: Sequence[_Token]) -> Iterator[Change]:
    for token in tokens:
        for other in _SWAPS.get(token.text, ()):
            yield Change("swap", token.start, token.end, other)
        if token.text == "=" and not (token.clause == "SET" and token.frame.opened_by != "CASE"):
            yield Change("swap", token.start, token.end, "<>")


_JOINTS = frozenset({"AND", "OR", ","}) | _CLAUSES


def _drop_conditions(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens):
        if token.text in {"AND", "OR"}:
            yield _cut("drop condition", tokens, at, _end(tokens, at, _JOINTS))
            begin = _begin(tokens, at)
            if begin is not None and begin < at:
                yield _cut("drop condition", tokens, begin, at + 1)
        elif token.text == "WHERE" and at + 1 < len(tokens):
            end = _end(tokens, at, _JOINTS)
            alone = end >= len(tokens) or tokens[end].text not in {"AND", "OR"}
            if alone and end > at + 1:
                yield _cut("drop condition", tokens, at + 1, end, "true")


def _begin(tokens: Sequence[_Token], joint: int) -> int | None:
    """Where the condition on the left of a joint begins; None if a joint stands before it."""
    frame = tokens[joint].frame
    for at in range(joint - 1, -1, -1):
        token = tokens[at]
        if token.frame is frame:
            if token.text in {"AND", "OR"}:
                return None
            if token.text in _CLAUSES or token.text == ",":
                return at + 1
        if token.text == "(" and token.closes > joint:
            return at + 1
    return 0


def _drop_arms(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens):
        if token.text == "WHEN" and token.frame.opened_by == "CASE":
            then = next(
                (
                    place
                    for place in range(at, len(tokens))
                    if tokens[place].frame is token.frame and tokens[place].text == "THEN"
                ),
                None,
            )
            if then is not None and then > at + 1:
                yield _cut("drop arm", tokens, at + 1, then, "false")
        if token.text == "ELSE" and token.frame.opened_by == "CASE":
            yield _cut("drop arm", tokens, at, _end(tokens, at, _CLAUSES))


def _drop_arguments(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens[:-1]):
        if token.text not in _PICKS or tokens[at + 1].closes < 0:
            continue
        for first, before in _items(tokens, at + 2, tokens[at + 1].closes):
            yield _drop_item("drop argument", tokens, first, before, begin=at + 2)


def _drop_assignments(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens):
        if token.text != "SET" or token.frame.opened_by == "CASE":
            continue
        items = list(_items(tokens, at + 1, _end(tokens, at, _CLAUSES)))
        if len(items) > 1:
            for first, before in items:
                yield _drop_item("drop assignment", tokens, first, before, begin=at + 1)


def _items(tokens: Sequence[_Token], first: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts between the commas of one frame."""
    if first >= end:
        return
    frame, begin = tokens[first].frame, first
    for at in range(first, end):
        if tokens[at].frame is frame and tokens[at].text == ",":
            yield begin, at
            begin = at + 1
    yield begin, end


def _drop_item(
    kind: str, tokens: Sequence[_Token], first: int, before: int, *, begin: int
) -> Change:
    """With the comma before it; the first with the one after."""
    if first == begin and before < len(tokens) and tokens[before].text == ",":
        return _cut(kind, tokens, first, before + 1)
    return _cut(kind, tokens, max(first - 1, begin), before)


def _drop_clauses(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens):
        if token.text in {"LIMIT", "ORDER"} or (
            token.text == "FOR" and at + 1 < len(tokens) and tokens[at + 1].text == "UPDATE"
        ):
            ends = _CLAUSES - {"UPDATE", "ON"} | {"ROWS"}
            yield _cut("drop clause", tokens, at, _end(tokens, at, ends))
        if token.text == "SKIP":
            yield _cut("drop clause", tokens, at, at + 2)
        if token.text == "DESC":
            yield _cut("drop clause", tokens, at, at + 1)


def _drop_spans(tokens: Sequence[_Token]) -> Iterator[Change]:
    """`now() + make_interval(...)` becomes `now()`."""
    for at, token in enumerate(tokens[:-2]):
        if token.text in {"+", "-"} and tokens[at + 1].text == "make_interval":
            closes = tokens[at + 2].closes
            if closes > 0:
                yield _cut("drop span", tokens, at, closes + 1)


def _change_numbers(tokens: Sequence[_Token]) -> Iterator[Change]:
    for before, token in itertools.pairwise(tokens):
        if token.kind == "number":
            other = "0" if before.text in {"+", "-"} else str(int(float(token.text)) + 1)
            yield Change("change number", token.start, token.end, other)
        if token.text in {"+", "-"}:
            other = {"+": "-", "-": "+"}[token.text]
            yield Change("swap", token.start, token.end, other)


def _change_nots(tokens: Sequence[_Token]) -> Iterator[Change]:
    for at, token in enumerate(tokens):
        before = tokens[at - 1].text if at else ""
        after = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if token.text == "NOT" and after not in {"MATERIALIZED", ""}:
            yield _cut("change not", tokens, at, at + 1)
        if token.text == "EXISTS" and before != "NOT":
            yield Change("change not", token.start, token.start, "NOT ")
        if token.text == "IS" and after in {"NULL", "DISTINCT"}:
            yield Change("change not", token.end, token.end, " NOT")


def _change_words(tokens: Sequence[_Token], vocabulary: Vocabulary) -> Iterator[Change]:
    for token in tokens:
        if token.kind != "word":
            continue
        word = token.text[1:-1]
        for row in vocabulary:
            if word in row:
                other = row[(row.index(word) + 1) % len(row)]
                yield Change("change word", token.start, token.end, f"'{other}'")
                break
