"""Files whose opening or reading may wait: a FIFO that nobody writes, a device, a descriptor.

The wait is noted, because a program that hangs in silence looks broken. Signals end it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatpipe.inputs.stdin import NOTICE_DELAY_S, STDIN_NAME, is_stdin
from chatpipe.system.signals import interruptible


@contextmanager
def note_wait(file: str | int, text: str, note: Callable[[str], None]) -> Iterator[None]:
    """A block that opens or reads a file or a descriptor: after two seconds, note gets text.

    A regular file never waits.
    """
    if _is_regular(file):
        yield
        return
    with noted(text, note):
        yield


@contextmanager
def noted(text: str, note: Callable[[str], None]) -> Iterator[None]:
    """A block that may wait: after two seconds, note gets text. A signal ends it."""
    import threading  # few calls wait

    # The wait may be inside a system call, which only a signal interrupts.
    timer = threading.Timer(NOTICE_DELAY_S, note, [text])
    timer.daemon = True
    timer.start()
    try:
        with interruptible():
            yield
    finally:
        timer.cancel()
        timer.join()


def read_start(file: str | int, max_bytes: int, text: str, note: Callable[[str], None]) -> bytes:
    """The text of a file or a descriptor in UTF-8, or more than max_bytes if it is longer.

    A file that is stdin is read from descriptor 0. Standard descriptors stay open: stderr is still needed,
    and no socket may get number 0, 1 or 2. Raises OSError, ValueError, for a number that is no descriptor
    OverflowError, and BadInput for what is no text.
    """
    name = file if isinstance(file, str) else f"descriptor {file}"
    if is_stdin(name):
        file, name = 0, STDIN_NAME
    closes = isinstance(file, str) or file > 2
    with note_wait(file, text, note), open(file, "rb", closefd=closes) as opened:
        data = opened.read(max_bytes + 1)
    if len(data) > max_bytes:
        return data
    from chatpipe.inputs.text_decoder import decode

    return decode(name, data, max_bytes)


def _is_regular(file: str | int) -> bool:
    """Return True if there is no such file, too: opening it fails at once."""
    try:
        return stat.S_ISREG(os.stat(file).st_mode)
    except (OSError, ValueError, OverflowError):
        return True
