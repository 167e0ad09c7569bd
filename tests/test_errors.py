"""The drawn tree of errors, their statuses, and the lines that they print."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import re
from collections.abc import Iterator

import pytest

import chatpipe
from chatpipe import errors
from chatpipe.errors import (
    AnswerFault,
    BadInput,
    ChatpipeError,
    LineFailed,
    OutcomeFault,
    Problems,
    SomeFailed,
    Status,
    quantity,
    reason,
)
from support.parametrize import cases

# chatpipe(1), EXIT STATUS; but for those of a signal
STATUSES = {
    "OK": 0,
    "SOME_FAILED": 1,
    "USAGE": 2,
    "TRUNCATED": 3,
    "REFUSED": 4,
    "MISMATCH": 5,
    "TOOL_CALLS": 6,
    "BUDGET": 7,
    "BAD_INPUT": 65,
    "NO_INPUT": 66,
    "UNREACHABLE": 69,
    "BUG": 70,
    "CANNOT_WRITE": 74,
    "TRY_LATER": 75,
    "BROKEN_ANSWER": 76,
    "NO_ACCESS": 77,
    "BAD_CONFIGURATION": 78,
    "OUT_OF_TIME": 124,
}


def test_statuses_are_those_of_the_manual() -> None:
    assert {status.name: int(status) for status in Status} == STATUSES


def tree(kind: type[ChatpipeError], depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """Depth, name and status of each class: `*` if its instances bring their own status."""
    yield depth, kind.__name__, "*" if issubclass(kind, OutcomeFault) else str(int(kind.status))
    for each in kind.__subclasses__():
        yield from tree(each, depth + 1)


def test_the_drawing_shows_every_error_with_its_status() -> None:
    """Classes that other modules define are found too: the whole package is imported."""
    for module in pkgutil.walk_packages(chatpipe.__path__, "chatpipe."):
        # The relay is a program of its own, for which Ray has to be there.
        if module.name not in ("chatpipe.__main__", "chatpipe.cluster.relay", "chatpipe.cluster.ray_api"):
            importlib.import_module(module.name)
    assert errors.__doc__ is not None
    drawn = [
        (len(match[1]) // 2 - 2, match[2], match[3])
        for match in re.finditer(r"^( +)(\w+) +(\d+|\*)  ", errors.__doc__, re.MULTILINE)
    ]
    assert drawn == list(tree(ChatpipeError))


@pytest.mark.parametrize("kind", [AnswerFault, LineFailed, SomeFailed])
def test_an_outcome_gives_its_status(kind: type[OutcomeFault]) -> None:
    error = kind("what", Status.REFUSED, place="f:1", fix="do")
    assert (error.status, str(error)) == (4, "f:1: what: do")


def test_what_is_nobody_s_fault_is_ours() -> None:
    assert ChatpipeError.status == 70


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "what"),
        ({"place": "f:1"}, "f:1: what"),
        ({"fix": "do"}, "what: do"),
        ({"place": "--x", "fix": "do"}, "--x: what: do"),
    ],
)
def test_an_error_is_one_line(parts: dict[str, str], line: str) -> None:
    assert str(ChatpipeError("what", **parts)) == line  # type: ignore[arg-type]  # only strings are given


@pytest.mark.parametrize(
    ("what", "line"), [("Too long.", "Too long: do"), ("Just a moment...", "Just a moment...: do")]
)
def test_no_full_stop_stands_before_a_remedy(what: str, line: str) -> None:
    assert str(ChatpipeError(what, fix="do")) == line
    assert str(ChatpipeError(what)) == what


def test_facts_of_a_reply() -> None:
    error = BadInput("what", http_status=400, request_id="r", body=b"b")
    assert (error.http_status, error.request_id, error.body) == (400, "r", b"b")


def test_problems_hold_each_fault() -> None:
    faults = [BadInput("a"), BadInput("b")]
    error = Problems(faults)
    assert (error.faults, str(error), error.status) == (faults, "2 problems", 65)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "f"),
            "no such file or directory",
            id="missing",
        ),
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "no space left on device", id="full"),
        pytest.param(OSError("Odd"), "odd", id="words alone"),
        pytest.param(ValueError("embedded null byte"), "NUL byte in its name", id="a NUL in a name"),
        pytest.param(OSError(), "", id="nothing said"),
    ],
)
def test_the_reason_of_an_error_is_in_lower_case(error: OSError | ValueError, text: str) -> None:
    assert reason(error) == text


@cases(
    ("number", "noun", "text"),
    {
        "none": (0, "line", "0 lines"),
        "one": (1, "token", "1 token"),
        "two": (2, "line", "2 lines"),
        "y": (3, "try", "3 tries"),
        "one y": (1, "try", "1 try"),
    },
)
def test_a_noun_agrees_with_its_number(number: int, noun: str, text: str) -> None:
    assert quantity(number, noun) == text
