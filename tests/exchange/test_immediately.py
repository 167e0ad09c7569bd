"""A coroutine run to its end without an event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator

import pytest

from chatpipe.exchange import run_without_loop
from support.parametrize import cases


class Suspends:
    def __await__(self) -> Generator[None, None, None]:
        yield


def test_result_of_a_coroutine_that_never_suspends() -> None:
    async def inner() -> int:
        return 20

    async def outer() -> int:
        return await inner() + await inner() + 2

    assert run_without_loop(outer()) == 42


def test_none_is_a_result() -> None:
    async def nothing() -> None: ...

    run_without_loop(nothing())


def test_an_exception_of_the_coroutine_propagates() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_without_loop(fails())


@cases("waiting", {"bare": Suspends, "asyncio.sleep": lambda: asyncio.sleep(0)})
def test_one_that_suspends_is_refused_and_cleaned_up(waiting: type[Suspends]) -> None:
    ended = []

    async def suspends() -> None:
        try:
            await waiting()
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="it suspended"):
        run_without_loop(suspends())
    assert ended == [True]


def test_no_event_loop_is_needed() -> None:
    """asyncio costs a quarter of a small request's start-up."""
    code = "import sys, chatpipe.exchange; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
