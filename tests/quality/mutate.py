"""Change one thing in a module at a time, run the tests that execute it, and print what no test noticed.

    python tests/quality/mutate.py [--count N] [--seed N] [--jobs N] [MODULE...]

A module is named as in TESTS. Nothing is written: the tests are collected once, and each mutant lives in
a fork of that process, where its code replaces that of the loaded function. Tests that start processes
of their own do not see it, so that only tests in this process count. The status is 1 if fewer than
95 of 100 mutants are noticed, apart from those in `tests/quality/equivalents.py`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from quality.equivalents import EQUIVALENTS  # noqa: E402
from quality.mutants import Mutant, chosen, mutants  # noqa: E402

# The modules, and the tests in this process that concern each.
_JOURNAL = (
    *(f"batch/journal/test_{name}.py" for name in ("journal", "answers", "store")),
    "system/test_line_index.py",
)
_FILES = ("system/test_atomic.py", "system/test_replace.py", "output/test_delivery.py")
TESTS: dict[str, tuple[str, ...]] = {
    "inputs.rows": ("inputs/test_rows.py",),
    "batch.tables.row_items": ("batch/tables/test_row_items.py",),
    "batch.journal.store": ("batch/journal/test_store.py",),
    "system.line_index": _JOURNAL,
    "batch.journal.journal": _JOURNAL,
    "system.replace": _FILES,
    "system.atomic": _FILES,
}
NOTICED_PERCENT = 95
_LIMIT_S = 60.0  # of one mutant: one that never ends is noticed


class Result(NamedTuple):
    """A mutant of a module, and the tests that execute its code. noticed: one of them failed."""

    module: str
    mutant: Mutant
    tests: int
    noticed: bool

    @property
    def key(self) -> str:
        return f"{self.module}.{self.mutant.function}: {self.mutant.what}"

    @property
    def line(self) -> str:
        place = f"{path_of(self.module).relative_to(ROOT)}:{self.mutant.first}"
        return f"{place}: {self.mutant.function}: {self.mutant.what} ({self.tests} tests)"


def path_of(module: str) -> Path:
    return ROOT.joinpath("cli", "chatpipe", *module.split(".")).with_suffix(".py")


class MutationRun:
    """A plugin of pytest that runs the mutants in the place of the tests."""

    def __init__(self, modules: Sequence[str], options: argparse.Namespace) -> None:
        self._modules = modules
        self._options = options
        self.results: list[Result] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        executed: dict[int, set[tuple[str, int]]] = (
            _in_fork(lambda: self._executed(session.items), 3600) or {}
        )
        jobs: list[tuple[str, Mutant, list[pytest.Item]]] = []
        for module in self._modules:
            found = mutants(path_of(module).read_text(encoding="utf-8"))
            for mutant in chosen(found, self._options.count, self._options.seed):
                lines = {(str(path_of(module)), line) for line in range(mutant.first, mutant.last + 1)}
                items = [session.items[at] for at, seen in executed.items() if seen & lines]
                jobs.append((module, mutant, items))
        for at, noticed in _parallel(
            [functools.partial(_is_noticed, *job) for job in jobs], self._options.jobs
        ):
            module, mutant, items = jobs[at]
            if noticed is None:
                print(f"{module}: {mutant.first}: cannot be put in its place: {mutant.what}")
                continue
            result = Result(module, mutant, len(items), noticed)
            self.results.append(result)
            if not noticed and result.key not in EQUIVALENTS:
                print(result.line, flush=True)
        return True

    def _executed(self, items: Sequence[pytest.Item]) -> dict[int, set[tuple[str, int]]]:
        """The lines of the modules that each test executes. A test that fails by itself is left out."""
        names = {str(path_of(module)) for module in self._modules}
        found: dict[int, set[tuple[str, int]]] = {}
        for at, item in enumerate(items):
            seen: set[tuple[str, int]] = set()
            trace = _tracer(names, seen)
            threading.settrace(trace)
            sys.settrace(trace)
            try:
                passed = _passes(item)
            finally:
                sys.settrace(None)
                threading.settrace(None)
            if passed and seen:
                found[at] = seen
        return found


def _tracer(names: set[str], seen: set[tuple[str, int]]) -> Callable[..., Any]:
    def line(frame: FrameType, event: str, argument: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line(frame, event, argument) if frame.f_code.co_filename in names else None

    return call


def _passes(item: pytest.Item) -> bool:
    return all(report.passed or report.skipped for report in runtestprotocol(item, nextitem=None, log=False))


def _is_noticed(module: str, mutant: Mutant, items: Sequence[pytest.Item]) -> bool | None:
    """Put the mutant's code in its place, and run tests until one fails. None if it has no such place."""
    try:
        _replace_code(module, mutant)
    except (AttributeError, StopIteration, ValueError):  # ValueError: its closure has other variables
        return None
    return not all(_passes(item) for item in items)


def _replace_code(module: str, mutant: Mutant) -> None:
    code: CodeType = compile(mutant.source, str(path_of(module)), "exec")
    value: Any = importlib.import_module(f"chatpipe.{module}")
    for name in mutant.function.split("."):
        value = inspect.getattr_static(value, name)
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
    value = getattr(value, "fget", None) or getattr(value, "__func__", value)
    function = inspect.unwrap(value)
    assert isinstance(function, FunctionType)
    function.__code__ = code


def _in_fork(work: Callable[[], Any], limit_s: float) -> Any:
    """The result of work in a fork of this process; None if it failed or took too long."""
    ((_, result),) = _parallel([work], 1, limit_s)
    return result


def _parallel(
    works: Sequence[Callable[[], Any]], jobs: int, limit_s: float = _LIMIT_S
) -> Iterator[tuple[int, Any]]:
    """The results of forks, jobs of them at a time, by their number. True if one died or took too long."""
    waiting = list(enumerate(works))[::-1]
    running: dict[int, tuple[int, int, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            at, work = waiting.pop()
            pid, fd = _start(work)
            running[fd] = (at, pid, time.monotonic() + limit_s)
        ready, _, _ = select.select(list(running), [], [], 0.2)
        for fd, (at, pid, until) in list(running.items()):
            if fd in ready or time.monotonic() > until:
                yield at, _finish(fd, pid, is_late=fd not in ready)
                del running[fd]


def _start(work: Callable[[], Any]) -> tuple[int, int]:
    """Start a fork in a group of its own. Returns its id and the descriptor that its result comes from."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        return pid, reading
    try:
        os.setpgid(0, 0)
        data = pickle.dumps(work())
        with open(writing, "wb") as file:
            file.write(data)
    finally:
        os._exit(0)


def _finish(fd: int, pid: int, *, is_late: bool) -> Any:
    data = b""
    if not is_late:
        with open(fd, "rb", closefd=False) as file:
            data = file.read()
    os.close(fd)
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    os.waitpid(pid, 0)
    return pickle.loads(data) if data else True


def _report(results: Sequence[Result]) -> int:
    """Print a line for each module. The exit status."""
    status = 0
    for module in dict.fromkeys(each.module for each in results):
        own = [each for each in results if each.module == module]
        equal = [each for each in own if not each.noticed and each.key in EQUIVALENTS]
        survivors = [each for each in own if not each.noticed and each.key not in EQUIVALENTS]
        noticed = len(own) - len(equal) - len(survivors)
        percent = 100 * noticed / max(1, noticed + len(survivors))
        print(f"{module}: {noticed} of {noticed + len(survivors)} noticed, {len(equal)} equivalent")
        if percent < NOTICED_PERCENT:
            status = 1
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    modules = options.modules or list(TESTS)
    files = dict.fromkeys(str(ROOT / "tests" / name) for module in modules for name in TESTS[module])
    run = MutationRun(modules, options)
    # Tests of memory are slow, and notice no mutant.
    settings = ["-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "20", "-k", "not memory"]
    pytest.main([*settings, *files], plugins=[run])
    return _report(run.results)


if __name__ == "__main__":
    sys.exit(main())
