"""The library's operators (cosmic-ray), and two of our own: SQL in strings, and dropped calls."""

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import parso.python.tree
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import OPERATOR_PROVIDERS

from models.artifact import ArtifactState
from models.attempt import Answer, Fate
from models.delivery import DeliveryKind, DeliveryState
from models.job import JobState, OnUnknown, Reason, Route
from scripts.mutations.sql import Change, find_changes, is_sql

Node = Any  # of the parser's tree, which is typed in part
Position = tuple[tuple[int, int], tuple[int, int]]

_WORDS: tuple[type[enum.StrEnum], ...] = (
    *(JobState, Answer, DeliveryState, ArtifactState),
    *(Fate, OnUnknown, Route, DeliveryKind, Reason),
)
VOCABULARY = [tuple(word.value for word in words) for words in _WORDS]


class ChangeSql(Operator):  # type: ignore[misc]  # the library has no types
    """Makes a piece of SQL in a string say something else."""

    def mutation_positions(self, node: Node) -> Iterator[Position]:
        code = _code(node)
        for change in _sql_changes(node):
            end = max(change.end, change.start + 1)  # the library wants some width
            yield _place(node, code, change.start), _place(node, code, end)

    def mutate(self, node: Node, index: int) -> Node:
        changed = _sql_changes(node)[index].apply(_code(node))
        return parso.python.tree.String(changed, node.start_pos, node.get_code()[: _gap(node)])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example('x = "WHERE a AND b"', 'x = "WHERE a OR b"', occurrence=1),)


def _sql_changes(node: Node) -> list[Change]:
    if node.type not in {"string", "fstring"} or node.parent.type == "simple_stmt":
        return []
    code = _code(node)
    begin = 1 + max(code.find('"'), 0)
    if code[begin - 1 :].startswith('"""'):
        begin += 2
    end = len(code) - (3 if code.endswith('"""') else 1)
    inner = code[begin:end]
    if not is_sql(inner):
        return []
    return [
        Change(change.kind, change.start + begin, change.end + begin, change.by)
        for change in find_changes(inner, VOCABULARY)
    ]


def _gap(node: Node) -> int:
    return len(node.get_code()) - len(node.get_code(include_prefix=False))


def _code(node: Node) -> str:
    return str(node.get_code(include_prefix=False))


def _place(node: Node, code: str, offset: int) -> tuple[int, int]:
    line, column = node.start_pos
    before = code[:offset]
    if "\n" not in before:
        return line, column + offset
    return line + before.count("\n"), offset - before.rindex("\n") - 1


class DropCall(Operator):  # type: ignore[misc]  # the library has no types
    """Leaves out a statement that is a call, or adds what one returns; but for the log's."""

    def mutation_positions(self, node: Node) -> Iterator[Position]:
        if node.type == "simple_stmt":
            statement = node.children[0]
            code = str(statement.get_code(include_prefix=False))
            if (
                statement.type in {"atom_expr", "await_expr", "expr_stmt"}
                and code.endswith(")")
                and not code.startswith("log.")
                and (
                    statement.type != "expr_stmt"
                    or statement.children[1].get_code().strip() == "|="
                )
            ):
                yield statement.start_pos, statement.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        assert index == 0  # noqa: S101 -- there is one position
        statement = node.children[0]
        prefix = statement.get_code()[: _gap(statement)]
        node.children[0] = parso.python.tree.Keyword("pass", statement.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("write(1)", "pass"),)


# Of the library's own those that change what a function does, and one of each kind: `==` to `<`
# tells no more than `==` to `!=`. Operators of types (`int | None`) are not among them, nor is
# `ExceptionReplacer`, which fails at a name with a dot.
_LIBRARYS = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ZeroIterationForLoop",
)


class Chosen:
    """A provider, as the library asks one for operators: ours, and some of its own."""

    def __init__(self) -> None:
        librarys = OPERATOR_PROVIDERS["core"]
        self._operators: Mapping[str, type[Operator]] = {
            "ChangeSql": ChangeSql,
            "DropCall": DropCall,
            **{name: librarys[name] for name in _LIBRARYS},
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._operators)

    def __getitem__(self, name: str) -> type[Operator]:
        return self._operators[name]


def choose_operators() -> None:
    """From now on the library uses these, and no others.

    An entry point, as the library wants it, would be one of Pressroom's; this is for developers.
    """
    chosen = Chosen()
    OPERATOR_PROVIDERS.clear()
    OPERATOR_PROVIDERS["pressroom"] = chosen
