"""For the tests of this folder: an event loop for coroutines, and a harness with an input of five prompts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from batch.resuming import RunHarness
from chatpipe.errors import Interrupted
from chatpipe.system.signals import interruptible, run_loop


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def test_...` to its end; leave every other test to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    finished = []

    async def run() -> None:
        await test
        finished.append(True)

    with suppress(Interrupted), interruptible():  # a test may raise a signal
        run_loop(run())
    assert finished
    return True


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    """A harness whose in.jsonl has the prompts a to e, unless a test writes another."""
    with RunHarness(tmp_path) as harness:
        harness.write(*"abcde")
        yield harness


@pytest.fixture
def answered(harness: RunHarness) -> None:
    """A run of the five prompts that came to its end."""
    assert harness.status_and_prompts() == (0, [*"abcde"])
