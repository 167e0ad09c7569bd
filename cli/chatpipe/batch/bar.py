"""The progress bar of a run: the last line of stderr, below all other lines.

    chatpipe:  41%|######         | 412 done, 3 failed, 35/s, 1.24M tokens, 00:17 left

tqdm formats the line. This module draws, wipes and overwrites it: tqdm's own object counts every line,
starts a thread, and does not know about other output on stderr.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from chatpipe.errors import quantity
from chatpipe.system import console

if TYPE_CHECKING:
    from chatpipe.batch.tally import Tally

_STDERR = 2
# The speed is measured over this window: longer than most answers take, shorter than a server's fluctuations.
_WINDOW_S = 30.0


class ProgressBar:
    """The progress bar. columns is its width if the terminal does not report one."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._shown = ""
        self._lock = threading.Lock()  # tools run in threads and print their steps

    def open(self) -> None:
        console.divert(self.write_above)

    def draw(self, text: str) -> None:
        with self._lock:
            if text != self._shown:
                console.write_raw(f"\r{text.ljust(len(self._shown))}".encode())
                self._shown = text

    def write_above(self, data: bytes) -> None:
        """Write data in place of the bar, which the next tick draws again."""
        with self._lock:
            console.write_raw(self._wiped() + data)

    def wipe(self) -> None:
        self.write_above(b"")

    def close(self) -> None:
        self.wipe()
        console.restore(self.write_above)

    @property
    def width(self) -> int:
        """The usable columns. The last one is left free, because some terminals begin a new line in it."""
        try:
            columns = os.get_terminal_size(_STDERR).columns
        except OSError:
            columns = 0
        return max((columns or self._columns) - 1, 1)  # 0 columns: the terminal's size was never set

    def _wiped(self) -> bytes:
        blank, self._shown = " " * len(self._shown), ""
        return f"\r{blank}\r".encode() if blank else b""


class Speed:
    """The recent speed of a run, in lines a second."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._samples = deque([(started, 0)])

    def now(self, time_s: float, count: int) -> float:
        """The speed once count lines are finished: that of the whole run if none finished recently."""
        if time_s - self._samples[-1][0] >= 1:
            self._samples.append((time_s, count))
        while len(self._samples) > 1 and time_s - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()
        since, count_then = self._samples[0]
        if count == count_then:
            since, count_then = self._started, 0
        return (count - count_then) / (time_s - since) if time_s > since else 0.0


def format_bar(tally: Tally, *, total: float | None, elapsed_s: float, speed: float, width: int) -> str:
    """The text of the bar: ASCII, at most width long. total is the expected count of lines, if known."""
    from tqdm import tqdm  # 20 ms: too long for a run that ends before its bar appears

    parts = [f"{tally.finished} done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    parts += filter(None, (tally.servers.text, tally.pause_text))
    if speed:
        parts.append(format_speed(speed))
    if tally.spent.total:
        count = tally.spent.total
        parts.append(quantity(count, "token") if count < 1000 else f"{tqdm.format_sizeof(count)} tokens")
    if total is not None:
        total = max(total, tally.finished, 1)
        parts += ["{remaining} left"] if speed else []
        template = "chatpipe: {percentage:3.0f}%|{bar}| " + ", ".join(parts)
    else:
        template = f"chatpipe: {', '.join(parts)}, {{elapsed}}"
    format_bar = tqdm.format_meter(
        tally.finished, total or 0, elapsed_s, ncols=width, ascii=" #", rate=speed, bar_format=template
    )
    return format_bar[:width]  # tqdm before 4.67 cuts only a line with a bar in it


def format_speed(speed: float) -> str:
    """A speed in lines a second; a minute or an hour if that is less than one."""
    unit, count = "s", speed
    if count < 1:
        unit, count = "min", speed * 60
    if count < 1:
        unit, count = "h", speed * 3600
    return f"{count:.0f}/{unit}" if count >= 10 else f"{count:.1f}/{unit}"
