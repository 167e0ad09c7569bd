"""Signals inside and after a block: which take effect, when, and which handlers are left behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from types import FrameType

import pytest

from chatpipe.errors import Interrupted
from chatpipe.system.signals import SIGNALS, call_on_signal, delay_signals, interruptible

EACH_SIGNAL = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@contextmanager
def called_by_a_loop() -> Iterator[None]:
    with closing(asyncio.new_event_loop()) as loop, call_on_signal(loop, lambda number: None):
        yield


BLOCKS = {"interruptible": interruptible, "delayed": delay_signals, "event loop": called_by_a_loop}
EACH_BLOCK = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


@pytest.fixture
def received() -> Iterator[list[int]]:
    """The signals that reach the handlers from before the block."""
    numbers: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        numbers.append(number)

    before = [(number, signal.signal(number, handle)) for number in SIGNALS]
    yield numbers
    for number, handler in before:
        signal.signal(number, handler)


@EACH_BLOCK
@EACH_SIGNAL
def test_the_handlers_from_before_are_there_again(
    block: Callable[[], AbstractContextManager[None]], number: signal.Signals, received: list[int]
) -> None:
    with block():
        pass
    signal.raise_signal(number)
    assert received == [number]


@EACH_BLOCK
def test_the_handlers_from_before_are_there_again_after_an_error(
    block: Callable[[], AbstractContextManager[None]], received: list[int]
) -> None:
    with pytest.raises(ZeroDivisionError), block():
        raise ZeroDivisionError
    for number in SIGNALS:
        signal.raise_signal(number)
    assert received == list(SIGNALS)


@EACH_BLOCK
@EACH_SIGNAL
def test_an_ignored_signal_stays_ignored(
    block: Callable[[], AbstractContextManager[None]], number: signal.Signals, received: list[int]
) -> None:
    signal.signal(number, signal.SIG_IGN)
    with block():
        signal.raise_signal(number)
    assert received == []
    assert signal.getsignal(number) is signal.SIG_IGN


@EACH_SIGNAL
def test_a_signal_interrupts_a_call(number: signal.Signals, received: list[int]) -> None:
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(number)
    assert caught.value.number == number
    assert received == []


@EACH_SIGNAL
def test_a_delayed_signal_arrives_once_at_the_end(number: signal.Signals, received: list[int]) -> None:
    with delay_signals():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert received == []
    assert received == [number]


def test_of_several_delayed_signals_the_first_one_counts(received: list[int]) -> None:
    with delay_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGTERM]


def test_a_signal_is_delayed_past_an_error(received: list[int]) -> None:
    def fail() -> None:
        with delay_signals():
            signal.raise_signal(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert received == [signal.SIGTERM]


def test_a_delayed_signal_interrupts_the_call_around_the_block() -> None:
    steps = []

    def start() -> None:
        with interruptible(), delay_signals():
            signal.raise_signal(signal.SIGTERM)
            steps.append("whole")

    with pytest.raises(Interrupted):
        start()
    assert steps == ["whole"]


def test_a_signal_with_the_default_action_is_not_delayed(received: list[int]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with delay_signals():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_thread_delays_nothing(received: list[int]) -> None:
    inside, over = threading.Event(), threading.Event()

    def delay() -> None:
        with delay_signals():
            inside.set()
            over.wait()

    thread = threading.Thread(target=delay)
    thread.start()
    inside.wait()
    signal.raise_signal(signal.SIGTERM)
    over.set()
    thread.join()
    assert received == [signal.SIGTERM]


def test_an_event_loop_hears_of_every_signal(received: list[int]) -> None:
    heard: list[int] = []

    async def run() -> None:
        with call_on_signal(asyncio.get_running_loop(), heard.append):
            for number in SIGNALS:
                signal.raise_signal(number)
            while len(heard) < len(SIGNALS):
                await asyncio.sleep(0)

    asyncio.run(run())
    assert sorted(heard) == sorted(SIGNALS)
    assert received == []
