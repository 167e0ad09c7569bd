"""How far a run is, in the last line of stderr, which others' lines push down.

    chatpipe:  41%|######         | 412 done, 3 failed, 35/s, 1.24M tokens, 00:17 left

tqdm says how it looks. When it is drawn, wiped and written over is decided here: its own object counts
every line, starts a thread, and knows nothing of what else goes to stderr.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from chatpipe.output import notices

if TYPE_CHECKING:
    from chatpipe.batch.tally import Tally

_STDERR = 2
# What came in so long decides the speed: longer than most answers take, shorter than a server's moods.
_WINDOW_S = 30.0


class Bar:
    """The line. columns is the width where the terminal does not say its own."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._shown = ""
        self._lock = threading.Lock()  # tools run in threads, and tell what they do

    def open(self) -> None:
        notices.through(self.push)

    def draw(self, text: str) -> None:
        with self._lock:
            if text != self._shown:
                notices.put(f"\r{text.ljust(len(self._shown))}".encode())
                self._shown = text

    def push(self, data: bytes) -> None:
        """Write data where the bar was. It is drawn again when its time comes."""
        with self._lock:
            notices.put(self._wiped() + data)

    def wipe(self) -> None:
        self.push(b"")

    def close(self) -> None:
        self.wipe()
        notices.past(self.push)

    @property
    def width(self) -> int:
        """Without the last column, in which some terminals begin a new line."""
        try:
            columns = os.get_terminal_size(_STDERR).columns
        except OSError:
            columns = 0
        return max((columns or self._columns) - 1, 1)  # no columns: a terminal that nobody has measured

    def _wiped(self) -> bytes:
        blank, self._shown = " " * len(self._shown), ""
        return f"\r{blank}\r".encode() if blank else b""


class Speed:
    """Lines a second, of late."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._past = deque([(started, 0)])

    def now(self, time_s: float, count: int) -> float:
        """The speed when count lines are finished. Of the whole run where none was of late."""
        if time_s - self._past[-1][0] >= 1:
            self._past.append((time_s, count))
        while len(self._past) > 1 and time_s - self._past[1][0] >= _WINDOW_S:
            self._past.popleft()
        then, before = self._past[0]
        if count == before:
            then, before = self._started, 0
        return (count - before) / (time_s - then) if time_s > then else 0.0


def line(tally: Tally, *, total: float | None, elapsed_s: float, speed: float, width: int) -> str:
    """The bar's text, in ASCII, of width at most. total: lines there will be, None where nobody knows."""
    from tqdm import tqdm  # 20 ms: not worth it for a run that is over before its bar is due

    parts = [f"{tally.finished} done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if speed:
        parts.append(per_time(speed))
    if tally.spent.total:
        count = tally.spent.total
        parts.append(f"{count if count < 1000 else tqdm.format_sizeof(count)} tokens")
    if total is not None:
        total = max(total, tally.finished, 1)
        parts += ["{remaining} left"] if speed else []
        form = "chatpipe: {percentage:3.0f}%|{bar}| " + ", ".join(parts)
    else:
        form = f"chatpipe: {', '.join(parts)}, {{elapsed}}"
    line = tqdm.format_meter(
        tally.finished, total or 0, elapsed_s, ncols=width, ascii=" #", rate=speed, bar_format=form
    )
    return line[:width]  # before 4.67 tqdm cuts only what has a bar in it


def per_time(speed: float) -> str:
    """Lines a second, or a minute or an hour where that is less than one."""
    unit, count = "s", speed
    if count < 1:
        unit, count = "min", speed * 60
    if count < 1:
        unit, count = "h", speed * 3600
    return f"{count:.0f}/{unit}" if count >= 10 else f"{count:.1f}/{unit}"
