"""Signals that ask the program to end, caught for the length of a block: SIGINT, SIGTERM and SIGHUP.

    interruptible()    one call: a signal raises Interrupted, which cleans up on its way
    delay_signals()    a step that must not be cut in two: a signal takes effect at its end
    call_on_signal()   a run: the event loop calls back between two of its steps

At the end of each block the handlers are again those from before it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from chatpipe.errors import Interrupted

if TYPE_CHECKING:
    import asyncio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn a signal inside the block into Interrupted, for a clean end. Ignored signals stay ignored."""
    with _caught(_not_ignored(), lambda number: signal.signal(number, _interrupt)):
        yield


@contextmanager
def delay_signals() -> Iterator[None]:
    """Delay signals until the end of the block, so that a handler's exception cannot lose a child.

    Only the main thread runs handlers, so other threads delay nothing. A signal mask would not do,
    because commands would inherit it.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    is_main = threading.current_thread() is threading.main_thread()
    delayed = [number for number in SIGNALS if is_main and callable(signal.getsignal(number))]
    try:
        with _caught(delayed, lambda number: signal.signal(number, receive)):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])


@contextmanager
def call_on_signal(loop: asyncio.AbstractEventLoop, callback: Callable[[int], None]) -> Iterator[None]:
    """Let the event loop call callback with the number of each signal. Ignored signals stay ignored."""
    with _caught(
        _not_ignored(),
        lambda number: loop.add_signal_handler(number, callback, number),
        loop.remove_signal_handler,
    ):
        yield


def _not_ignored() -> list[int]:
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup


@contextmanager
def _caught(
    numbers: Iterable[int],
    catch: Callable[[int], object],
    release: Callable[[int], object] = lambda number: None,
) -> Iterator[None]:
    """Call catch for each signal, and at the end release it and restore its handler."""
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in handlers:
            catch(number)
        yield
    finally:
        for number, handler in handlers.items():
            release(number)
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
