"""A limit on the CPU time of one computation, for data that a server or a user's schema makes expensive.

The limit is a timer whose signal raises an exception, so it also ends a search of `re` in the middle.
CPU time, unlike wall time, does not run while the process is stopped or waits for a busy machine.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

_T = TypeVar("_T")
# The signal comes again, in case a destructor was running, where an exception is lost.
_AGAIN_S = 0.05


class CpuTimeExceeded(Exception):
    """The computation took more CPU time than its limit."""


def limit_cpu_time(seconds: float, action: Callable[[], _T]) -> _T:
    """Call action, and raise CpuTimeExceeded if it takes more user CPU time than this.

    Only the main thread can be interrupted; in any other there is no limit. Calls must not be nested.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    is_over = False

    def expire(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise CpuTimeExceeded

    # The handler stays: a late signal would end the process by its default action.
    signal.signal(signal.SIGVTALRM, expire)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, _AGAIN_S)
        return action()
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
