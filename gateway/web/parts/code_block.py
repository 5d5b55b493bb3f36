"""A program to read, in colours."""

from itertools import groupby

from nicegui.element import Element
from pygments.lexers import get_lexer_by_name
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    String,
    Token,
    _TokenType,
    is_token_subtype,
)

KINDS = (  # what is nearest of them; the rest is as the text is
    (Comment, "comment"),
    (String, "string"),
    (Number, "number"),
    (Keyword, "keyword"),
    (Name.Builtin, "keyword"),
    (Name.Function, "name"),
    (Name.Class, "name"),
    (Name.Variable, "name"),
)


class CodeBlock(Element, component="code_block.js"):
    """Args:
    lexer: of Pygments: bash, python, javascript.
    name: what it is, for who hears the page.
    """

    def __init__(self, program: str, *, lexer: str, name: str) -> None:
        super().__init__()
        self.set(program, lexer=lexer, name=name)

    def set(self, program: str, *, lexer: str, name: str) -> None:
        self.props["name"] = name
        self.props["runs"] = color(program, lexer=lexer)


def color(program: str, *, lexer: str) -> list[tuple[str, str]]:
    """The program in runs of text, each with its kind: "comment", "string", ... or ""."""
    found = get_lexer_by_name(lexer, stripnl=False, ensurenl=False)
    tokens = ((_kind_of(kind), words) for kind, words in found.get_tokens(program))
    return [
        (kind, "".join(words for _, words in run))
        for kind, run in groupby(tokens, key=lambda one: one[0])
    ]


def _kind_of(kind: _TokenType) -> str:
    if kind is Token.Name.Builtin.Pseudo:
        return "keyword"
    return next((ours for theirs, ours in KINDS if is_token_subtype(kind, theirs)), "")
