"""Which functions use what stands in no function, or in one that runs when its module is loaded."""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Statement:
    """One of a module, in no function or class."""

    module: str
    node: ast.stmt

    @cached_property
    def defined(self) -> set[str]:
        if isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return {self.node.name}
        if isinstance(self.node, ast.AnnAssign | ast.AugAssign):
            return {one.id for one in _names(self.node.target)}
        if isinstance(self.node, ast.Assign):
            return {one.id for target in self.node.targets for one in _names(target)}
        return {one.id for one in _names(self.node) if isinstance(one.ctx, ast.Store)}

    @cached_property
    def used(self) -> set[str]:
        attributes = {one.attr for one in ast.walk(self.node) if isinstance(one, ast.Attribute)}
        return attributes | {one.id for one in _names(self.node) if isinstance(one.ctx, ast.Load)}

    @cached_property
    def functions(self) -> list[tuple[str, set[str]]]:
        """Each function in it, as `models/lane.py:close_lane`, and what it uses."""
        return [
            (f"{self.module}:{one.name}", Statement(self.module, one).used)
            for one in ast.walk(self.node)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        ]


def _names(node: ast.AST) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name))


def find_users(
    sources: Mapping[str, str], module: str, line: int, *, called: Collection[str]
) -> set[str]:
    """The functions that use what a line of a module defines, directly or not.

    Names are not told apart by where they were imported from: some more may be found.

    Args:
        sources: of all modules.
        called: the functions that any test calls: what the others make is used by its name.
    """
    statements = [
        Statement(name, node) for name, source in sources.items() for node in ast.parse(source).body
    ]
    names = {
        name
        for one in statements
        if one.module == module and one.node.lineno <= line <= (one.node.end_lineno or line)
        for name in one.defined
    }
    users: set[str] = set()
    grown = True
    while grown:
        before = len(names)
        for one in statements:
            found = {function for function, used in one.functions if used & names}
            users |= found & set(called)
            if one.used & names and not found & set(called):
                names |= one.defined
        grown = len(names) > before
    return users
