"""A LineRecord behaves as a NamedTuple does in what both have, and is no tuple."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple
from support.parametrize import cases


class Plain(NamedTuple):
    name: str
    sizes: tuple[int, ...] = ()
    size: int = 0

    @property
    def total(self) -> int:
        return sum(self.sizes) + self.size


class Slotted(LineRecord):
    name: str
    sizes: tuple[int, ...] = ()
    size: int = 0

    @property
    def total(self) -> int:
        return sum(self.sizes) + self.size


def matched(record: Any) -> Any:
    match record:
        case Plain(name, sizes) | Slotted(name, sizes):
            return name, sizes


@cases(
    "does",
    {
        "positions": lambda made: [*made("a", (1,), 2)],
        "names": lambda made: [*made(size=2, name="a")],
        "fields": lambda made: (made("a").name, made("a").sizes, made("a", size=3).size),
        "method": lambda made: made("a", (1, 2), 3).total,
        "unpacked": lambda made: (lambda a, b, c: (c, b, a))(*made("a")),
        "made": lambda made: [*made._make(("a", (), 2))],
        "replaced": lambda made: [*made("a", (1,), 2)._replace(size=5, name="b")],
        "text": lambda made: repr(made("a", (1,))).removeprefix(made.__name__),
        "matched": lambda made: matched(made("a", (1,))),
        "equal": lambda made: (made("a") == made("a"), made("a") == made("b"), made("a") != made("a")),
        "copied": lambda made: [*copy.copy(made("a", (1,), 2))],
        "pickled": lambda made: pickle.loads(pickle.dumps(made("a", (1,), 2))) == made("a", (1,), 2),
    },
)
def test_does_what_a_named_tuple_does(does: Callable[[Any], object]) -> None:
    assert does(Slotted) == does(Plain)


@cases(
    "does",
    {
        "nothing given": lambda made: made(),
        "too many": lambda made: made("a", (), 1, 2),
        "unknown name": lambda made: made("a", other=1),
        "replaced unknown": lambda made: made("a")._replace(other=1),
    },
)
def test_refuses_what_a_named_tuple_refuses(does: Callable[[Any], object]) -> None:
    for made in (Plain, Slotted):
        with pytest.raises(TypeError):
            does(made)


def test_is_no_tuple_and_takes_no_other_attribute() -> None:
    record: Any = Slotted("a")
    assert record != ("a", (), 0)
    with pytest.raises(AttributeError):
        record.other = 1
    with pytest.raises(TypeError):
        hash(record)
