"""The exception tree as it is drawn, its statuses, and the lines that are made of it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

import pytest

from chatpipe import errors
from chatpipe.errors import BadInput, ChatpipeError, Problems, Status, reason

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


def tree(kind: type[ChatpipeError], depth: int = 0) -> Iterator[tuple[int, str, int]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield depth + 1, each.__name__, int(each.status)
            yield from tree(each, depth + 1)


def test_tree_is_the_one_that_is_drawn() -> None:
    assert errors.__doc__ is not None
    drawn = [
        (len(match[1]) // 2 - 2, match[2], int(match[3]))
        for match in re.finditer(r"^( +)(\w+) +(\d+)  ", errors.__doc__, re.MULTILINE)
    ]
    assert drawn == list(tree(ChatpipeError))


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
        pytest.param(ValueError("embedded null byte"), "embedded null byte", id="a NUL in a name"),
        pytest.param(OSError(), "", id="nothing said"),
    ],
)
def test_the_reason_of_an_error_is_in_lower_case(error: OSError | ValueError, text: str) -> None:
    assert reason(error) == text
