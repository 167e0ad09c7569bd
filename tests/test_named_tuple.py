"""Our NamedTuple does what Python's does: each row is done to the same class made by both."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chatpipe
from chatpipe import named_tuple
from support.parametrize import cases

FIELDS = "abcdefghijklmnopqrstuvwxyz"


def made(base: Any, fields: str, body: str = "") -> Any:
    """A class with these fields, separated by blanks, each with the default after its `=`."""
    names = [field.partition("=") for field in fields.split()]
    lines = [f"{name}: int{equals}{default}" for name, equals, default in names]
    source = "\n    ".join(["class Made(Base):", '"""Made."""', *lines, *body.splitlines()])
    space: dict[str, Any] = {"Base": base, "__name__": __name__}
    exec(compile(f"from __future__ import annotations\n{source}", "made", "exec"), space)
    return space["Made"]


def matched(instance: Any) -> tuple[Any, ...]:
    match instance:
        case (a, b) if type(instance).__match_args__ == ("a", "b"):
            return (b, a)
    return ()


def pickled(made: Any) -> Any:
    """A copy through pickle, which finds the class in this module."""
    setattr(sys.modules[__name__], "Made", made)  # noqa: B010
    return pickle.loads(pickle.dumps(made(1, 2)))


@cases(
    "does",
    {
        "positions": lambda made: made(1, 2),
        "names": lambda made: made(b=1, a=2),
        "default": lambda made: made(1),
        "nothing given": lambda made: made(),
        "too many": lambda made: made(1, 2, 3),
        "unknown name": lambda made: made(1, c=2),
        "twice": lambda made: made(1, a=2),
        "fields": lambda made: (made(1).a, made(1).b, made(1)[0], len(made(1))),
        "unpacked": lambda made: [*made(1, 2)],
        "equal to a tuple": lambda made: made(1, 2) == (1, 2),
        "hash": lambda made: hash(made(1, 2)),
        "a constant": lambda made: setattr(made(1), "a", 2),
        "no other attribute": lambda made: setattr(made(1), "c", 2),
        "repr": lambda made: repr(made(1)),
        "replaced": lambda made: made(1)._replace(b=4),
        "replaced by no field": lambda made: made(1)._replace(c=4),
        "a dict": lambda made: made(1)._asdict(),
        "made of values": lambda made: made._make([1, 2]),
        "names of fields": lambda made: (made._fields, made._field_defaults),
        "matched": lambda made: matched(made(1, 2)),
        "copied": lambda made: copy.deepcopy(made(1, 2)),
        "pickled": pickled,
        "signature": lambda made: [*inspect.signature(made).parameters],
        "type": lambda made: (type(made), made.__name__, made.__module__, made.__doc__, made.__slots__),
        "a tuple": lambda made: isinstance(made(1), tuple),
        "method": lambda made: made(1, 2).sum(),
        "property": lambda made: made(1, 2).first,
        "class method": lambda made: made.zero(),
    },
)
def test_a_class_does_the_same(does: Callable[[Any], Any]) -> None:
    body = """
def sum(self): return self.a + self.b
@property
def first(self): return self.a
@classmethod
def zero(cls): return cls(0, 0)
"""
    ours, theirs = (
        end_of(does, made(base, "a b=3", body)) for base in (named_tuple.NamedTuple, typing.NamedTuple)
    )
    assert ours == theirs


def end_of(does: Callable[[Any], Any], made: Any) -> Any:
    """The value, or the kind of the error: since Python 3.13, a field that is not there is a TypeError."""
    try:
        value = does(made)
    except (TypeError, ValueError):
        return TypeError
    except AttributeError:
        return AttributeError
    return (tuple(value), repr(value)) if isinstance(value, made) else value


@pytest.mark.parametrize("count", range(27))
def test_any_number_of_fields(count: int) -> None:
    instance = made(named_tuple.NamedTuple, " ".join(FIELDS[:count]))(*range(count))
    assert instance == tuple(range(count))
    assert instance._asdict() == dict(zip(FIELDS, range(count), strict=False))


def test_a_default_is_not_followed_by_a_field_without() -> None:
    with pytest.raises(TypeError, match="default"):
        made(named_tuple.NamedTuple, "a=1 b")


def test_the_package_uses_no_other() -> None:
    """One that is imported from typing costs ten times as much at start-up.

    Ours needs the __future__ import from Python 3.14 on.
    """
    package = Path(chatpipe.__file__).parent
    for path in sorted(package.rglob("*.py")):
        imported = {
            (statement.module, alias.name)
            for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(statement, ast.ImportFrom)
            for alias in statement.names
        }
        assert ("typing", "NamedTuple") not in imported or path.stem == "named_tuple"
        if ("chatpipe.named_tuple", "NamedTuple") in imported:
            assert ("__future__", "annotations") in imported, path
