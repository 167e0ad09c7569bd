"""A line of stderr that changes in place, below all others: the progress of a run, the wait of a call."""

from __future__ import annotations

import os
import threading

from chatpipe.system import console
from chatpipe.system.text_width import columns_of

_STDERR = 2
_ECHO = 2  # columns of `^C`, which the terminal shows after the line when it is typed


class StatusLine:
    """The last line of stderr. columns is the width of the terminal if it does not report one."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._shown = ""
        self._lock = threading.Lock()  # tools run in threads and print their steps

    def open(self) -> None:
        console.divert(self.write_above)

    def draw(self, text: str) -> None:
        with self._lock:
            if text != self._shown:
                # Where the terminal has become narrower, more blanks would go on in the next line.
                rest = min(columns_of(self._shown), self.width + _ECHO) - columns_of(text)
                console.write_raw(f"\r{text}{' ' * rest}".encode())
                self._shown = text

    def write_above(self, data: bytes) -> None:
        """Write data in place of the line, which the next draw() brings back."""
        with self._lock:
            console.write_raw(self._wiped() + data)

    def wipe(self) -> None:
        self.write_above(b"")

    def close(self) -> None:
        self.wipe()
        console.restore(self.write_above)

    @property
    def width(self) -> int:
        """The usable columns. The last ones are left free for `^C`.

        After it, one more: some terminals begin a new line in the last column.
        """
        try:
            columns = os.get_terminal_size(_STDERR).columns
        except OSError:
            columns = 0
        return max((columns or self._columns) - _ECHO - 1, 1)  # 0 columns: the terminal's size was never set

    def _wiped(self) -> bytes:
        shown, self._shown = self._shown, ""
        columns = min(columns_of(shown), self.width) + _ECHO
        return f"\r{' ' * columns}\r".encode() if shown else b""
