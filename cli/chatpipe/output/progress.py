"""How far a run is, on stderr: a bar on a terminal, or a line of JSON a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from chatpipe.batch.lines import Item
from chatpipe.batch.tally import Tally
from chatpipe.inputs import values
from chatpipe.output import bar, notices

# A run that is over before that shows no bar: it would only flash.
_DELAY_S = 0.2
_BAR_S = 0.1


class Watch(NamedTuple):
    """How a run is watched: kind is `bar`, `json` or `none`. The rest is the bar's.

    every_s: it is drawn at most once in so long. columns: its width where the terminal has none.
    among_lines: results or failures go to the bar's terminal, too. lines: about how many physical
    lines the input has, None where nobody knows. limit: of items.
    """

    kind: str = "none"
    every_s: float = _BAR_S
    columns: int = 80
    among_lines: bool = False
    lines: float | None = None
    limit: int | None = None


class Progress:
    """A run that is watched. Its lines cost nothing: what the tally says is looked at from time to time."""

    def __init__(self, watch: Watch, tally: Tally, started: float) -> None:
        self._watch = watch
        self._tally = tally
        self._started = started
        self._bar = bar.Bar(watch.columns) if watch.kind == "bar" else None
        self._speed = bar.Speed(started)
        self._taken = 0
        self._line = 0

    def open(self) -> None:
        if self._bar is not None:
            self._bar.open()

    def following(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The items, followed where that says how many there will be."""
        return items if self._bar is None or self._watch.lines is None else self._followed(items)

    def make_room(self) -> None:
        """Before something is written that does not go through notices."""
        if self._bar is not None and self._watch.among_lines:
            self._bar.wipe()

    async def tick(self) -> None:
        """From time to time, until cancelled."""
        if self._bar is not None:
            await asyncio.sleep(_DELAY_S)
        while self._bar is not None:
            self._draw(self._bar)
            await asyncio.sleep(self._watch.every_s)
        while self._watch.kind == "json":
            await asyncio.sleep(1)
            self._write()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._watch.kind == "json":
            self._write()

    async def _followed(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        async for item in items:
            self._taken += item.is_ours
            self._line = item.line
            yield item

    def _total(self) -> float | None:
        """Items that there will be, if the rest of the input is like what was read of it.

        Not every line is an item of this run: there are blank lines, headers, shards, and rows of
        several lines. Where every line is one the number is exact.
        """
        lines, limit = self._watch.lines, self._watch.limit
        if lines is None:
            return None
        total = lines * self._taken / self._line if self._line else lines
        return total if limit is None else min(total, limit)

    def _draw(self, drawn: bar.Bar) -> None:
        now = time.monotonic()
        drawn.draw(
            bar.line(
                self._tally,
                total=self._total(),
                elapsed_s=now - self._started,
                speed=self._speed.now(now, self._tally.finished),
                width=drawn.width,
            )
        )

    def _write(self) -> None:
        notices.write(values.dumps(self._tally.report(time.monotonic() - self._started)) + b"\n")
