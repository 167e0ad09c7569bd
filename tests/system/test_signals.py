"""Signals inside and after a block: which take effect, when, and which handlers are left behind."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

from chatpipe.errors import Interrupted
from chatpipe.system import signals
from chatpipe.system.signals import (
    SIGNALS,
    call_on_signal,
    delay_signals,
    hold_signals,
    ignore_hangup_without_terminal,
    interruptible,
    raise_if_received,
    received,
    release_signals,
    run_loop,
)

EACH_SIGNAL = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@contextmanager
def delayed() -> Iterator[None]:
    with interruptible(), delay_signals():
        yield


@contextmanager
def interruptible_again() -> Iterator[None]:
    with interruptible(), delay_signals(), interruptible():
        yield


BLOCKS = {"interruptible": interruptible, "delayed": delayed, "interruptible again": interruptible_again}
EACH_BLOCK = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


@pytest.fixture
def before() -> Iterator[list[int]]:
    """The signals that reach the handlers from before the block."""
    numbers: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        numbers.append(number)

    handlers = [(number, signal.signal(number, handle)) for number in SIGNALS]
    yield numbers
    for number, handler in handlers:
        signal.signal(number, handler)


@EACH_BLOCK
@EACH_SIGNAL
def test_the_handlers_from_before_are_there_again(
    block: Callable[[], AbstractContextManager[None]], number: signal.Signals, before: list[int]
) -> None:
    with block():
        pass
    signal.raise_signal(number)
    assert before == [number]


@EACH_BLOCK
def test_the_handlers_from_before_are_there_again_after_an_error(
    block: Callable[[], AbstractContextManager[None]], before: list[int]
) -> None:
    with pytest.raises(ZeroDivisionError), block():
        raise ZeroDivisionError
    for number in SIGNALS:
        signal.raise_signal(number)
    assert before == list(SIGNALS)


@EACH_BLOCK
@EACH_SIGNAL
def test_an_ignored_signal_stays_ignored(
    block: Callable[[], AbstractContextManager[None]], number: signal.Signals, before: list[int]
) -> None:
    signal.signal(number, signal.SIG_IGN)
    with block():
        signal.raise_signal(number)
    assert before == []
    assert signal.getsignal(number) is signal.SIG_IGN


@EACH_BLOCK
@EACH_SIGNAL
def test_a_signal_interrupts_a_block(
    block: Callable[[], AbstractContextManager[None]], number: signal.Signals, before: list[int]
) -> None:
    with pytest.raises(Interrupted) as caught, block():
        signal.raise_signal(number)
    assert caught.value.number == number == received()
    assert before == []


def steps_of(step: Callable[[list[str]], None]) -> list[str]:
    """The steps that an interrupted block came to."""
    steps: list[str] = []
    with pytest.raises(Interrupted):
        step(steps)
    return steps


def test_a_delayed_signal_lets_the_block_end() -> None:
    def step(steps: list[str]) -> None:
        with interruptible():
            with delay_signals():
                signal.raise_signal(signal.SIGTERM)
                steps.append("whole")
            steps.append("behind")

    assert steps_of(step) == ["whole"]


def test_the_innermost_block_counts() -> None:
    def step(steps: list[str]) -> None:
        with interruptible(), delay_signals():
            with delay_signals():
                signal.raise_signal(signal.SIGTERM)
            steps.append("delayed still")
            with interruptible():
                steps.append("in vain")

    assert steps_of(step) == ["delayed still"]


def test_a_delayed_block_may_end_where_it_asks() -> None:
    def step(steps: list[str]) -> None:
        with interruptible(), delay_signals():
            raise_if_received()
            signal.raise_signal(signal.SIGTERM)
            steps.append("before")
            raise_if_received()
            steps.append("behind")

    assert steps_of(step) == ["before"]


def send(*numbers: int) -> None:
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.usefixtures("signals_apart")
def test_of_several_delayed_signals_the_first_one_counts() -> None:
    with pytest.raises(Interrupted) as caught, delayed():
        send(signal.SIGTERM, signal.SIGINT)
    assert caught.value.number == signal.SIGTERM


def test_a_signal_comes_before_the_error_of_a_delayed_block() -> None:
    def fail() -> None:
        send(signal.SIGTERM)
        raise ZeroDivisionError

    with pytest.raises(Interrupted) as caught, delayed():
        fail()
    assert isinstance(caught.value.__context__, ZeroDivisionError)


@pytest.mark.usefixtures("signals_apart")
def test_a_second_signal_does_not_cut_short_the_end_that_the_first_one_began(before: list[int]) -> None:
    def step(steps: list[str]) -> None:
        with interruptible():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                with suppress(ZeroDivisionError):
                    steps.append("inside")
                    signal.raise_signal(signal.SIGTERM)
                    raise ZeroDivisionError
                steps.append("whole")

    assert steps_of(step) == ["inside", "whole"]
    assert received() == signal.SIGINT
    assert before == []


@pytest.mark.usefixtures("signals_apart")
def test_the_third_signal_has_the_action_from_before(before: list[int]) -> None:
    with pytest.raises(Interrupted), delayed():
        send(signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    assert before == [signal.SIGTERM]


INT, TERM, HANGUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
# Signals with the seconds at which they arrive, and those that count.
REPEATS = {
    "by timeout(1)": ([(TERM, 0.0), (TERM, 0.0001)], [TERM]),
    "by GNU parallel": ([(TERM, 0.0), (TERM, 0.2), (TERM, 0.3)], [TERM]),
    "by a key that is held": ([(INT, 0.0), (INT, 0.25), (INT, 0.28), (INT, 0.55)], [INT, INT]),
    "by a person": ([(INT, 0.0), (INT, 0.6), (INT, 0.9)], [INT, INT]),
    "by systemd": ([(TERM, 0.0), (HANGUP, 0.001)], [TERM]),
    "by a terminal and its shell": ([(HANGUP, 0.0), (HANGUP, 0.01), (TERM, 0.1)], [HANGUP]),
    "by two programs": ([(TERM, 0.0), (HANGUP, 0.6), (TERM, 0.7), (INT, 1.2)], [TERM, HANGUP, INT]),
}


@pytest.mark.parametrize(("arriving", "counted"), REPEATS.values(), ids=REPEATS)
def test_a_signal_that_comes_again_at_once_counts_once(
    arriving: list[tuple[int, float]], counted: list[int]
) -> None:
    now = 0.0
    arrivals = signals._Arrivals(clock=lambda: now)
    arrivals.delays = 1
    for number, now in arriving:  # noqa: B007  (the clock returns it)
        arrivals.receive(number, None)
    assert arrivals.numbers == counted


class Falling:
    """An object whose destructor is interrupted: Python drops that exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("is_collected", [False, True])
def test_a_signal_inside_a_destructor_takes_effect_behind_it(
    is_collected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(steps: list[str]) -> None:
        with interruptible():
            falling = Falling()
            if is_collected:
                falling.itself = falling  # type: ignore[attr-defined]
            del falling
            gc.collect()
            steps.append("destroyed")
            with delay_signals():
                steps.append("delayed")
            steps.append("behind")

    assert steps_of(step) == ["destroyed", "delayed"]
    assert capsys.readouterr() == ("", "")


def test_a_signal_that_got_lost_is_raised_at_the_end() -> None:
    with pytest.raises(Interrupted) as caught, interruptible(), suppress(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.number == signal.SIGTERM


def test_outside_of_every_interruptible_block_nothing_is_delayed(before: list[int]) -> None:
    with delay_signals():
        signal.raise_signal(signal.SIGTERM)
        assert before == [signal.SIGTERM]


@pytest.mark.parametrize("block", [interruptible, delay_signals])
def test_another_thread_changes_nothing(block: Callable[[], AbstractContextManager[None]]) -> None:
    inside, over = threading.Event(), threading.Event()

    def hold() -> None:
        with block():
            inside.set()
            over.wait()

    thread = threading.Thread(target=hold)

    def step(steps: list[str]) -> None:
        with interruptible():
            thread.start()
            inside.wait()
            steps.append("held")
            signal.raise_signal(signal.SIGTERM)
            steps.append("behind")

    assert steps_of(step) == ["held"]
    over.set()
    thread.join()


# In an event loop


@pytest.mark.usefixtures("signals_apart")
def test_a_loop_hears_of_every_signal_and_raises_none() -> None:
    heard: list[int] = []

    async def main() -> str:
        with call_on_signal(heard.append):
            for number in SIGNALS[:2]:
                signal.raise_signal(number)
            while len(heard) < 2:
                await asyncio.sleep(0)
        return "done"

    with suppress(Interrupted), interruptible():
        assert run_loop(main()) == "done"
    assert heard == list(SIGNALS[:2])


@EACH_SIGNAL
def test_a_signal_cancels_a_main_task_that_does_not_listen(number: signal.Signals) -> None:
    steps: list[str] = []

    async def main() -> None:
        try:
            signal.raise_signal(number)
            steps.append("goes on")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            steps.append("tidied")

    with pytest.raises(Interrupted) as caught, interruptible():
        run_loop(main())
    assert caught.value.number == number
    assert steps == ["goes on", "tidied"]


def test_a_signal_before_the_loop_runs_is_told_at_its_start() -> None:
    async def main() -> None:
        await asyncio.sleep(60)

    def step(steps: list[str]) -> None:
        with delayed():
            send(signal.SIGTERM)
            run_loop(main())

    assert steps_of(step) == []


def test_a_signal_in_a_callback_is_no_trouble_of_the_loop() -> None:
    troubles: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: troubles.append(context))
        loop.call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(Interrupted), interruptible():
        run_loop(main())
    assert troubles == []


def test_a_loop_outside_of_every_block_leaves_signals_alone(before: list[int]) -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        return "done"

    assert run_loop(main()) == "done"
    assert before == [signal.SIGTERM]


def test_the_error_of_a_loop_is_raised() -> None:
    async def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), interruptible():
        run_loop(main())


def struck_while_held() -> None:
    hold_signals()
    signal.raise_signal(signal.SIGINT)


def test_a_held_signal_waits_for_its_release(before: list[int]) -> None:
    with suppress(Interrupted), interruptible():
        struck_while_held()
        with pytest.raises(Interrupted):
            release_signals()
        release_signals()  # it has taken effect
    assert before == []


def test_a_held_signal_waits_for_the_end_of_the_block() -> None:
    steps = []

    def blocks() -> None:
        with interruptible():
            with delay_signals(), interruptible():
                struck_while_held()
                steps.append("behind the signal")
            steps.append("behind the block")

    with pytest.raises(Interrupted):
        blocks()
    assert steps == ["behind the signal"]


def test_a_wait_inside_of_what_is_held_ends_at_once() -> None:
    def wait() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            pytest.fail("not interrupted")

    with suppress(Interrupted), interruptible():
        hold_signals()
        with pytest.raises(Interrupted):
            wait()


def test_a_step_inside_of_what_is_held_does_not_end_it() -> None:
    with suppress(Interrupted), interruptible():
        hold_signals()
        with delay_signals():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            release_signals()


def test_nothing_is_held_where_no_signal_is_handled(before: list[int]) -> None:
    struck_while_held()
    assert before == [signal.SIGINT]


def test_nothing_is_released_where_signals_are_delayed() -> None:
    with suppress(Interrupted), interruptible(), delay_signals():
        struck_while_held()
        release_signals()
        assert received() == signal.SIGINT


def test_only_a_process_without_a_terminal_ignores_sighup(before: list[int], tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGHUP)
    (tmp_path / "tty").touch()
    ignore_hangup_without_terminal(str(tmp_path / "tty"))
    assert signal.getsignal(signal.SIGHUP) is handler
    ignore_hangup_without_terminal(str(tmp_path / "none"))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
