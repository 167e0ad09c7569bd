"""The end of the process at the other side of a socket, noticed while this one is busy."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def call_at_hangup(link: int, leave: Callable[[], None]) -> Iterator[None]:
    """A block in which leave is called, in a thread, when the other end of the socket link is gone.

    What is in the socket stays there.
    """
    woken, wake = os.pipe()

    def watch() -> None:
        poll = select.poll()
        for descriptor in (link, woken):
            poll.register(descriptor, 0)  # a hangup is reported in any case
        if link in dict(poll.poll()):
            leave()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(wake)
        thread.join()
        os.close(woken)
