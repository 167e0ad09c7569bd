"""Signals that ask the program to end: SIGINT, SIGTERM and SIGHUP, and the moments at which they take effect.

    interruptible()       a signal raises Interrupted at once; so does one that was delayed before
    delay_signals()       a step that must not be cut in two: a signal raises Interrupted at its end
    raise_if_received()   a point inside such a step where it may end
    hold_signals()        the end of an answer, in the midst of interruptible(): delayed from here on
    release_signals()     the next wait, or the end of the block: they take effect again
    run_loop()            an event loop: a signal cancels its main task, and is raised at its end
    call_on_signal()      a part of that task: the loop calls back between two of its steps instead;
                          a step that takes longer than its patience is given up

Blocks nest, and the innermost counts. The outermost interruptible() installs one handler for its whole
length; outside of it signals have their default action. Signals that were ignored at the start stay ignored.

While Interrupted passes through the code that cleans up, a second signal is only remembered. From the
second on the default action is back: a third one ends the process wherever it is, as SIGKILL would.

A signal that follows another one at once is no second one: timeout(1) sends its signal to its child and to
the group of that, Slurm to a script and to what it runs, a closed terminal by the kernel and by the shell.
systemd may send SIGHUP right after SIGTERM, and GNU parallel sends SIGTERM three times in 0.3 s.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from chatpipe.errors import Interrupted

if TYPE_CHECKING:
    import asyncio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# All signals within this time count as the first of them. A second Ctrl-C of a person comes later.
_REPEAT_S = 0.5

_T = TypeVar("_T")
_Handler = Callable[[int, FrameType | None], Any] | int | None


class _Arrivals:
    """The signals that arrived in the outermost block. numbers has them in their order, without repeats.

    handled is the number of those that have taken effect. handlers are those from before the block, None
    outside of one. delays is greater than 0 inside delay_signals(), are_held is true after hold_signals().
    callback runs in an event loop; patience_s is how long to wait for it, 0 for no limit. is_stuck
    returns True for a frame that waits for a reader, see end_at_second_signal().
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.numbers: list[int] = []
        self.counted_at = 0.0  # the time of the last one in numbers
        self.handled = 0
        self.handlers: dict[int, _Handler] | None = None
        self.delays = 0
        self.are_held = False
        self.callback: Callable[[int], object] | None = None
        self.patience_s = 0.0
        self.is_stuck: Callable[[FrameType], bool] | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        now = self.clock()
        if self.numbers and now - self.counted_at < _REPEAT_S:
            return
        self.counted_at = now
        self.numbers.append(number)
        if len(self.numbers) > 1:
            self.restore_handlers()
        if not self.is_delaying or (len(self.numbers) > 1 and self._is_stuck(frame)):
            self.raise_pending()
        elif self.callback is not None and self.patience_s:
            signal.signal(signal.SIGALRM, self._give_up_step)
            signal.setitimer(signal.ITIMER_REAL, self.patience_s)

    def _give_up_step(self, number: int, frame: FrameType | None) -> None:
        """Raise Interrupted in a step of the loop that keeps it from calling back, which then goes on."""
        if self.callback is not None and self.handled < len(self.numbers):
            raise Interrupted(self.numbers[0])

    @property
    def is_delaying(self) -> bool:
        return self.are_held or self.delays > 0

    def _is_stuck(self, frame: FrameType | None) -> bool:
        return self.is_stuck is not None and frame is not None and self.is_stuck(frame)

    def forget(self) -> None:
        self.numbers.clear()
        self.handled = 0

    def raise_pending(self) -> None:
        """Raise Interrupted for signals that had no effect yet, unless one is ending the program."""
        if self.handled < len(self.numbers) and not _is_ending():
            self.handled = len(self.numbers)
            raise Interrupted(self.numbers[0])

    def call_pending(self) -> None:
        """Call callback for each signal without effect."""
        while self.callback is not None and self.handled < len(self.numbers):
            self.handled += 1
            self.callback(self.numbers[self.handled - 1])

    def forget_effect(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Take note that Interrupted was lost, because a destructor raised it. See sys.unraisablehook."""
        if isinstance(unraisable.exc_value, Interrupted):
            self.handled = 0
        else:
            sys.__unraisablehook__(unraisable)

    def restore_handlers(self) -> None:
        for number, handler in (self.handlers or {}).items():
            signal.signal(number, handler)


# Handlers belong to the process.
_arrivals = _Arrivals()


def end_at_second_signal(is_stuck: Callable[[FrameType], bool]) -> None:
    """Let the second signal raise Interrupted in a step that waits for a reader.

    Such a wait may never end, so it ends although signals are delayed. is_stuck gets the frame that the
    signal came to. Looking there costs a write nothing.
    """
    _arrivals.is_stuck = is_stuck


def received() -> int | None:
    """The first signal that arrived since the outermost block began, None if there was none."""
    return _arrivals.numbers[0] if _arrivals.numbers else None


def forget_received() -> None:
    """Forget the signals of the last block, which has obeyed them and ends with a status instead."""
    _arrivals.forget()


def ignore_hangup_without_terminal(terminal: str = "/dev/tty") -> None:
    """Ignore SIGHUP from here on, except in a process with a terminal: there it says that this is gone."""
    try:
        os.close(os.open(terminal, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted at a signal inside the block. Elsewhere than in the main thread, do nothing."""
    if not _in_main_thread():
        yield
    elif _arrivals.handlers is None:
        with _handled():
            yield
    else:
        with _delays(0):
            _arrivals.raise_pending()
            yield


@contextmanager
def delay_signals() -> Iterator[None]:
    """Delay signals until the end of the block, which then raises Interrupted.

    Only the main thread runs handlers, so other threads delay nothing. A signal mask would not do,
    because commands would inherit it.
    """
    if not _in_main_thread():
        yield
        return
    try:
        with _delays(_arrivals.delays + 1):
            yield
    finally:
        if not _arrivals.is_delaying:
            _arrivals.raise_pending()


def hold_signals() -> None:
    """Delay signals from here on, as delay_signals() does, until release_signals() or the end of the block.

    A step that begins in one function and ends in another is not cut in two by it. Where signals are
    delayed already, or not handled, do nothing.
    """
    if not _arrivals.delays and _arrivals.handlers is not None and _in_main_thread():
        _arrivals.are_held = True


def release_signals() -> None:
    """Raise Interrupted for a signal since hold_signals(), and delay none any longer."""
    if _arrivals.are_held and _in_main_thread():
        _arrivals.are_held = False
        _arrivals.raise_pending()


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def raise_if_received() -> None:
    """Raise Interrupted if a signal was delayed. Costs nothing otherwise."""
    if _arrivals.handled < len(_arrivals.numbers) and _in_main_thread():
        _arrivals.raise_pending()


def run_loop(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in an event loop of its own, as asyncio.run does.

    No signal raises inside the loop, where the exception would be lost. It cancels main, and raises
    Interrupted when the loop is closed.
    """
    import asyncio  # a single request does without
    from asyncio.log import logger

    async def run() -> _T:
        task = asyncio.current_task()
        assert task is not None
        with _woken(asyncio.get_running_loop()), call_on_signal(lambda number: task.cancel()):
            await asyncio.sleep(0)  # a signal that has arrived already ends it here
            return await main

    # Errors of the loop's own go to its logger, which would print them to stderr with a traceback.
    logger.disabled = True
    with delay_signals():
        try:
            _refuse_too_few_descriptors()
            return asyncio.run(run())
        except asyncio.CancelledError:
            if _arrivals.numbers:
                raise Interrupted(_arrivals.numbers[0]) from None
            raise
        finally:
            main.close()  # it may not have begun


def _refuse_too_few_descriptors() -> None:
    """Raise OSError if there are too few descriptors for a loop, which would print a traceback for it."""
    opened: list[int] = []
    try:
        opened += os.pipe()  # the loop has three: of its selector, and a pair of sockets
        opened += os.pipe()
    finally:
        for each in opened:
            os.close(each)


@contextmanager
def call_on_signal(callback: Callable[[int], object], patience_s: float = 0.0) -> Iterator[None]:
    """Let the loop of run_loop() call callback with the number of each signal inside the block.

    A step of the loop that takes more than patience_s longer gets Interrupted; 0 lets it take its time.
    """
    before = _arrivals.callback, _arrivals.patience_s
    _arrivals.callback, _arrivals.patience_s = callback, patience_s
    try:
        _arrivals.call_pending()
        yield
    finally:
        _arrivals.callback, _arrivals.patience_s = before


@contextmanager
def _handled() -> Iterator[None]:
    """Handle signals for the length of the block. At its end a signal that was lost on its way is raised."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    _arrivals.forget()
    _arrivals.delays, _arrivals.are_held = 0, False
    _arrivals.handlers = {number: each for number, each in handlers.items() if each is not signal.SIG_IGN}
    hook, sys.unraisablehook = sys.unraisablehook, _arrivals.forget_effect
    try:
        for number in _arrivals.handlers:
            signal.signal(number, _arrivals.receive)
        yield
    finally:
        _arrivals.delays = 1  # until the handlers from before are back
        _arrivals.restore_handlers()
        sys.unraisablehook = hook
        _arrivals.handlers = None
        _arrivals.delays, _arrivals.are_held = 0, False
        _arrivals.handled = len(_arrivals.numbers)
    if _arrivals.numbers:
        raise Interrupted(_arrivals.numbers[0])


@contextmanager
def _delays(number: int) -> Iterator[None]:
    before, were_held = _arrivals.delays, _arrivals.are_held
    _arrivals.delays, _arrivals.are_held = number, False
    try:
        yield
    finally:
        _arrivals.delays, _arrivals.are_held = before, were_held


@contextmanager
def _woken(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop even if it arrives just before the loop begins to wait."""
    if _arrivals.handlers is None:
        yield
        return
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    loop.add_reader(reader, _wake, reader)
    try:
        yield
    finally:
        loop.remove_reader(reader)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def _wake(reader: int) -> None:
    with suppress(BlockingIOError):
        os.read(reader, 4096)
    _arrivals.call_pending()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_ending() -> bool:
    """Return True if Interrupted is passing through the code that called us, which is cleaning up."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Interrupted):
            return True
        error = error.__context__
    return False
