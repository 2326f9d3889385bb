"""The changes that a mutation run makes to a module: which there are, and how one is made.

Left alone: docstrings and other texts, annotations, decorators, imports, ``__all__``, what stands
in a ``raise`` (messages) or under ``if TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

__all__ = ["Mutation", "mutate", "mutations"]

COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
WITH_CONSTANTS = (ast.Compare, ast.BinOp, ast.Subscript, ast.UnaryOp)
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        number: among all changes of the module.
        line: of the text before.
        place: the function or class that it is in, ``module`` outside of them.
        before: the changed statement or expression.
        after: the same, changed.
    """

    number: int
    line: int
    place: str
    before: str
    after: str


def mutations(source: str) -> list[Mutation]:
    """All changes of a module, in the order of its text."""
    found = []
    for number, site in enumerate(_sites(ast.parse(source), "module")):
        before = site.show()
        site.change()
        after = site.show()
        site.change(back=True)
        found.append(Mutation(number, site.line, site.place, before, after))
    return found


def mutate(source: str, mutation: Mutation) -> ast.Module:
    """The module with that one change."""
    tree = ast.parse(source)
    for number, site in enumerate(_sites(tree, "module")):
        if number == mutation.number:
            site.change()
            return ast.fix_missing_locations(tree)
    raise ValueError(f"there is no change {mutation.number}")


class _Change:
    """Sets a field of a node, or an entry of a list in it, and back."""

    def __init__(self, owner: Any, field: str, value: Any, at: int | None = None) -> None:
        self.owner, self.field, self.value, self.at = owner, field, value, at
        held = getattr(owner, field)
        self.before = held if at is None else held[at]

    def __call__(self, *, back: bool = False) -> None:
        value = self.before if back else self.value
        if self.at is None:
            setattr(self.owner, self.field, value)
        else:
            getattr(self.owner, self.field)[self.at] = value

    def shown(self) -> str:
        """What the field holds at this moment."""
        held = getattr(self.owner, self.field)
        return ast.unparse(held if self.at is None else held[self.at])


_Found = tuple[int, Callable[[], str], _Change]


@dataclass(frozen=True)
class _Site:
    place: str
    line: int
    show: Callable[[], str]
    change: _Change


def _sites(node: ast.AST, place: str, within: ast.AST | None = None) -> Iterator[_Site]:
    if _left_alone(node):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        place = node.name if place == "module" else f"{place}.{node.name}"
    for line, show, change in _changes(node):
        alone = not (isinstance(node, ast.Constant) and isinstance(within, WITH_CONSTANTS))
        yield _Site(place, line, show if alone else partial(ast.unparse, within), change)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _sites(child, place, node)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _changes(node: ast.AST) -> Iterator[_Found]:
    """Changes of one node itself: its line, what shows it, what changes it."""
    for change in _in_expressions(node):
        yield node.lineno, partial(ast.unparse, node), change  # type: ignore[attr-defined]
    yield from _conditions(node)
    yield from _left_out(node)


def _in_expressions(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                yield _Change(node, "ops", other(), at)
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield _Change(node, "op", OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _Change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.Constant):
        for value in _constants(node.value):
            yield _Change(node, "value", value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in CALLS:
            yield _Change(node.func, "id", CALLS[node.func.id])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield _Change(node, "op", ast.UAdd())


def _constants(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value * 1.25 if value else 1.0


def _conditions(node: ast.AST) -> Iterator[_Found]:
    """Conditions turned round, where no comparison in them is turned anyway."""
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare):
        turned: ast.expr = ast.UnaryOp(ast.Not(), node.test)
        if isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not):
            turned = node.test.operand
        change = _Change(node, "test", turned)
        yield node.lineno, change.shown, change
    elif isinstance(node, ast.comprehension):
        for at, test in enumerate(node.ifs):
            change = _Change(node, "ifs", ast.Constant(True), at)
            yield test.lineno, change.shown, change


def _left_out(node: ast.AST) -> Iterator[_Found]:
    """Statements left out."""
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        if not isinstance(statements, list):
            continue
        for at, statement in enumerate(statements):
            called = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if called or isinstance(statement, ast.AugAssign | ast.Continue | ast.Break):
                change = _Change(node, field, ast.Pass(), at)
                yield statement.lineno, change.shown, change
