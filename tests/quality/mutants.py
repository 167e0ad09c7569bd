"""Mutants of a module: its source with one operator, constant, branch, call or return value changed.

Only code in functions is changed, because `mutate.py` puts it in the place of the old code while
everything is loaded. Assertions, `zip(strict=True)`, annotations, docstrings and f-strings are left out:
they state what is so already, or say something for people only.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SHOWN = 60  # characters of a piece of code


class Mutant(NamedTuple):
    """A changed module. function is the outermost function that has the change, by its qualified name.

    first and last are lines of the original. what is the old code and the new code.
    """

    function: str
    first: int
    last: int
    what: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a source, in its order."""
    return [
        Mutant(
            function,
            node.lineno,
            node.end_lineno or node.lineno,
            f"{_shown(ast.unparse(node))} -> {_shown(text)}",
            _replaced(source, node, text),
        )
        for function, body in _functions(ast.parse(source), "")
        for node, text in _changes(body, returns_bool=ast.unparse(body.returns or ast.Pass()) == "bool")
    ]


def chosen(found: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Some of the mutants, in their order. Other lines of the source do not change the choice."""
    ranked = sorted(found, key=lambda each: sha256(f"{seed} {each.function} {each.what}".encode()).digest())
    return sorted(ranked[:count], key=lambda each: each.first)


def _functions(
    tree: ast.Module | ast.ClassDef, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node


def _changes(function: ast.AST, *, returns_bool: bool) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """The nodes of a function that can be changed, each with its new text.

    A returned bool is negated, since None is as good as False.
    """
    for node in _code(function):
        match node:
            case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in _SWAPPED:
                yield node, _with(node, op=_SWAPPED[type(op)]())
            case ast.Compare(ops=[op]):
                yield node, _with(node, ops=[_SWAPPED[type(op)]()])
            case ast.Constant(value=bool() | int() | str() | bytes() as value):
                yield node, repr(_other(value))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield node, f"({ast.unparse(operand)})"
            case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield() | ast.YieldFrom()):
                yield node, "None"
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield node, f"return not ({ast.unparse(value)})" if returns_bool else "return None"
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            yield node.test, f"(not ({ast.unparse(node.test)}))"


def _code(node: ast.AST) -> Iterator[Any]:
    """The nodes of the code below a node."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and not _is_left_out(child):
                yield child
                yield from _code(child)


def _is_left_out(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.Expr(value=ast.Constant()) | ast.keyword(arg="strict"):
            return True
    return False


def _other(value: bool | int | str | bytes) -> bool | int | str | bytes:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return "" if value else "mutant"
        case _:
            return b"" if value else b"mutant"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: ast.expr | ast.stmt, **fields: Any) -> str:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    text = ast.unparse(changed)
    return f"({text})" if isinstance(node, ast.expr) else text


def _replaced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The source with other text in the place of a node. Columns of ast count bytes."""
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    data = source.encode()
    return (data[:start] + text.encode() + data[end:]).decode()


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
