"""For the tests of this folder: an event loop for coroutines, and a shop with an input of five prompts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from batch.resuming import Shop
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
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose in.jsonl has the prompts a to e, unless a test writes another."""
    with Shop(tmp_path) as shop:
        shop.write(*"abcde")
        yield shop


@pytest.fixture
def answered(shop: Shop) -> None:
    """A run of the five prompts that came to its end."""
    assert shop.buy() == (0, [*"abcde"])
