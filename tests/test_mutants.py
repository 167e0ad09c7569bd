"""The mutants that `tests/quality/mutate.py` tries: one change each, in code that runs."""

from __future__ import annotations

import ast
import inspect

from quality.equivalents import EQUIVALENTS
from quality.mutants import Mutant, chosen, mutants
from support.parametrize import cases


def changes(body: str) -> list[str]:
    """The changes of the mutants of a function with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return [each.what for each in mutants(f"def f(a, b):\n{lines}\n")]


@cases(
    ("body", "expected"),
    {
        "operators": ("a + b * a", ["a + b * a -> (a - b * a)", "b * a -> (b // a)"]),
        "comparison": ("a <= b", ["a <= b -> (a < b)"]),
        "several comparisons": ("a < b < a", []),
        "and": ("a and b", ["a and b -> (a or b)"]),
        "not": ("not a", ["not a -> (a)"]),
        "in": ("a not in b", ["a not in b -> (a in b)"]),
        "number": ("a = 1", ["1 -> 2"]),
        "truth": ("a = True", ["True -> False"]),
        "text": ("a = 'x'", ["'x' -> ''"]),
        "empty bytes": ("a = b''", ["b'' -> b'mutant'"]),
        "branch": ("if a:\n    pass", ["a -> (not (a))"]),
        "conditional": ("b = a if b else b", ["b -> (not (b))"]),
        "loop": ("while a:\n    break", ["a -> (not (a))"]),
        "call": ("a(b)", ["a(b) -> None"]),
        "addition in place": ("a += b", ["a += b -> a -= b"]),
        "return": ("return a", ["return a -> return None"]),
        "None is returned": ("return None", []),
        "docstring": ("'x'", []),
        "assertion": ("assert a == 1", []),
        "f-string": ("a = f'{b + 1}'", []),
        "strict": ("a = zip(a, b, strict=True)", []),
        "annotation": ("a: 'int | b' = b", []),
        "inner function": ("def g(a=1):\n    return a", ["return a -> return None"]),
    },
)
def test_one_change_each(body: str, expected: list[str]) -> None:
    assert changes(body) == expected


def test_a_returned_bool_is_negated() -> None:
    found = mutants("def f() -> bool:\n    return a")
    assert [each.what for each in found] == ["return a -> return not (a)"]


SOURCE = """
X = 1


class C:
    Y = 2

    def f(self) -> str:
        "Ä"
        return "ä" + (
            "b"
        )
"""


def test_a_mutant_is_a_module_with_one_change_in_a_function() -> None:
    found = mutants(SOURCE)
    assert [(each.function, each.first, each.last, each.what) for each in found] == [
        ("C.f", 10, 12, "return 'ä' + 'b' -> return None"),
        ("C.f", 10, 12, "'ä' + 'b' -> ('ä' - 'b')"),
        ("C.f", 10, 10, "'ä' -> ''"),
        ("C.f", 11, 11, "'b' -> ''"),
    ]
    assert [ast.unparse(ast.parse(each.source)).splitlines()[-1].strip() for each in found] == [
        "return None",
        "return 'ä' - 'b'",
        "return '' + 'b'",
        "return 'ä' + ''",
    ]


def test_the_choice_depends_on_the_seed_and_on_no_other_line() -> None:
    found = mutants(inspect.getsource(ast))
    first, second = chosen(found, 20, 1), chosen(found, 20, 2)
    assert len(first) == 20
    assert first != second
    moved = [each._replace(first=each.first + 9, last=each.last + 9, source="") for each in found]
    assert _names(chosen(moved, 20, 1)) == _names(first)


def _names(found: list[Mutant]) -> set[str]:
    return {f"{each.function} {each.what}" for each in found}


def test_every_equivalent_has_a_reason() -> None:
    assert all(EQUIVALENTS.values())
