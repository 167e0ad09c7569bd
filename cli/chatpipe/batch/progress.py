"""Progress of a run on stderr: a bar on a terminal, JSON once a second, or a note about a long pause."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from chatpipe.batch import bar
from chatpipe.batch.items import Item
from chatpipe.batch.pause_counts import pause_counts
from chatpipe.batch.tally import Tally
from chatpipe.inputs import values
from chatpipe.limits.rate import Pauses
from chatpipe.named_tuple import NamedTuple
from chatpipe.system import console
from chatpipe.system.status_line import StatusLine

# A run that ends earlier shows no bar: it would only flash.
_DELAY_S = 0.2
_BAR_S = 0.1
# Without a bar, a pause that is longer than this is reported, soon after it begins.
_LONG_PAUSE_S = 5.0
_LOOK_S = 0.5


class ProgressOptions(NamedTuple):
    """Progress options: kind is `bar`, `json` or `none`. The other fields are for the bar.

    every_s is the shortest time between two draws. columns is its width if the terminal reports none.
    shares_terminal: results or failures go to the same terminal. lines is the approximate number of
    physical lines in the input, None if unknown. limit is the maximum number of items. has_summary: the run
    ends with a closing line.
    """

    kind: str = "none"
    every_s: float = _BAR_S
    columns: int = 80
    shares_terminal: bool = False
    lines: float | None = None
    limit: int | None = None
    has_summary: bool = False


class Progress:
    """The progress display of a run. It costs the run's lines nothing: it polls the tally.

    Without a bar and without JSON, note gets a line about a long pause, and later ones only if they are more
    than twice as long: a log of hours does not fill with them.
    """

    def __init__(
        self,
        options: ProgressOptions,
        tally: Tally,
        started: float,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._note = note
        self._noted_s = 0.0
        self._options = options
        self._tally = tally
        self._started = started
        self._bar = StatusLine(options.columns) if options.kind == "bar" else None
        self._speed = bar.Speed(started)
        self._taken = 0
        self._line = 0
        self._rate: Pauses | None = None
        self._states: Callable[[], Mapping[str, bool]] | None = None

    def open(self, rate: Pauses, states: Callable[[], Mapping[str, bool]] | None = None) -> None:
        """Begin the display. rate has the pauses of the run, states which of several servers take part."""
        self._rate = rate
        self._states = states
        if self._bar is not None:
            self._bar.open()

    @property
    def has_summary(self) -> bool:
        return self._options.has_summary

    def count_items(self, blocks: AsyncIterator[Iterable[Item]]) -> AsyncIterator[Iterable[Item]]:
        """Yield the blocks, and count their items if that helps to estimate the total."""
        return blocks if self._bar is None or self._options.lines is None else self._counted(blocks)

    def wipe_bar(self) -> None:
        """Remove the bar before output that bypasses the console."""
        if self._bar is not None and self._options.shares_terminal:
            self._bar.wipe()

    async def tick(self) -> None:
        """Update the display periodically, until cancelled."""
        if self._bar is not None:
            await asyncio.sleep(_DELAY_S)
        while self._bar is not None:
            self._draw(self._bar)
            await asyncio.sleep(self._options.every_s)
        while self._options.kind == "json":
            await asyncio.sleep(1)
            self._write()
        while self._rate is not None:
            await asyncio.sleep(_LOOK_S)
            self._note_pause(self._rate.pause_left(time.monotonic()), self._rate.pause_reason)

    def close(self) -> None:
        self._note_state()
        if self._bar is not None:
            self._bar.close()
        if self._options.kind == "json":
            self._write()

    async def _counted(self, blocks: AsyncIterator[Iterable[Item]]) -> AsyncIterator[Iterable[Item]]:
        async for block in blocks:
            items = map(self._count, block)
            yield [*items] if isinstance(block, list) else items

    def _count(self, item: Item) -> Item:
        self._taken += item.is_ours
        self._line = item.line
        return item

    def _total(self) -> float | None:
        """The expected number of items, if the rest of the input is like the part that was read.

        Not every line is an item of this run: there are blank lines, headers, shards, and rows of
        several lines. If every line is an item, the number is exact.
        """
        lines, limit = self._options.lines, self._options.limit
        if lines is None:
            return None
        total = lines * self._taken / self._line if self._line else lines
        return total if limit is None else min(total, limit)

    def _note_state(self) -> None:
        if self._rate is not None:
            self._tally.pauses = pause_counts(self._rate, time.monotonic())
        if self._states is not None:
            self._tally.servers.note_states(self._states())

    def _note_pause(self, left_s: float, reason: str) -> None:
        if left_s > max(_LONG_PAUSE_S - _LOOK_S, 2 * self._noted_s):
            self._noted_s = left_s
            self._note(f"nothing is sent for another {math.ceil(left_s)} s: {reason}")

    def _draw(self, line: StatusLine) -> None:
        self._note_state()
        now = time.monotonic()
        line.draw(
            bar.format_bar(
                self._tally,
                total=self._total(),
                elapsed_s=now - self._started,
                speed=self._speed.now(now, self._tally.sent.total),
                width=line.width,
            )
        )

    def _write(self) -> None:
        self._note_state()
        console.write_json(values.dumps(self._tally.report(time.monotonic() - self._started)))
