"""Signals and failures at exact moments: a process that sends signals to itself, or whose calls fail.

`process.run` takes moments in the variable STRIKE of its environment, each a word of this form:

    os:replace,1,before,2        SIGINT just before the first call of os.replace
    os:fsync,3,after,15,1        SIGTERM and at once SIGHUP just behind the third call of os.fsync
    os:fsync,1,fail,5            the first call of os.fsync fails with EIO
    chatpipe.call:f,1,crash      a bug in the first call of f, whose words have all arguments
    line,1200,before,2           SIGINT at the 1200th line of chatpipe and asyncio that the process executes
    apart                        no moment: a word for a process that the test itself sends signals to

An hour seems to pass between any two signals of such a process, so that each of them counts.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from chatpipe.system import signals

VARIABLE = "STRIKE"
# The environment of a process for which signals that the test sends at once are hours apart.
APART = {VARIABLE: "apart"}
_FOLDERS = (f"{os.sep}chatpipe{os.sep}", f"{os.sep}asyncio{os.sep}")


def at(*moments: tuple[str, int, str, Sequence[int]]) -> dict[str, str]:
    """The environment of a process with moments: place, nth, when, and signals or an errno."""
    words = (",".join([place, str(nth), when, *map(str, map(int, to))]) for place, nth, when, to in moments)
    return {VARIABLE: " ".join(words)}


def arm(moments: str) -> None:
    """Wait for the moments in this process."""
    set_apart()
    for moment in moments.replace("apart", "").split():
        place, nth, when, *numbers = moment.split(",")
        if place == "line":
            _arm_line(int(nth), list(map(int, numbers)))
        else:
            _arm_call(place, int(nth), when, list(map(int, numbers)))


def set_apart() -> None:
    """Let each signal come an hour behind the one before, as the clock of signals.py has it."""
    signals._arrivals.clock = itertools.count(step=3600).__next__


def _send(numbers: Sequence[int]) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def _arm_call(place: str, nth: int, when: str, numbers: Sequence[int]) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    @functools.wraps(function)
    def struck(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        number = calls
        if number == nth and when == "before":
            _send(numbers)
        if number == nth and when == "fail":
            raise OSError(numbers[0], os.strerror(numbers[0]))
        if number == nth and when == "crash":
            raise RuntimeError(f"a bug at {arguments!r} {options!r}")
        result = function(*arguments, **options)
        if number == nth and when == "after":
            _send(numbers)
        return result

    setattr(owner, name, struck)


def _arm_line(nth: int, numbers: Sequence[int]) -> None:
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if not any(folder in frame.f_code.co_filename for folder in _FOLDERS):
            return None
        if event == "line":
            lines += 1
            if lines == nth:
                sys.settrace(None)
                _send(numbers)
        return trace

    sys.settrace(trace)
