"""The display of a wait for jobs: a bar on a terminal, or one line of JSON a second.

chatpipe:  41%|####      | 412/1000 done, 3 failed, 1/3 jobs ended, 2 in_progress, look in 12 s
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from chatpipe.batch.bar import fitted
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.tally import Tally
from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.prices import USD
from chatpipe.named_tuple import NamedTuple
from chatpipe.system import console
from chatpipe.system.status_line import StatusLine

_EVERY_S = 1.0
# What a narrow terminal does without, the first of them first.
_DISPENSABLE = ("word", "percent", "name", "cost", "held", "meter", "jobs", "look", "failed", "statuses")


class WaitCounts(NamedTuple):
    """The counts of a wait.

    jobs are all, ended those that have ended, held the parts that wait for room at the provider. lines,
    completed and failed count their lines, statuses the jobs that have not ended. expected_cost is None
    without prices, and in this currency.
    """

    jobs: int
    ended: int
    held: int
    lines: int
    completed: int
    failed: int
    statuses: Mapping[str, int]
    expected_cost: float | None
    currency: str = USD


class WaitDisplay:
    """Shows a wait. clock is a monotonic one, sleep waits for some seconds."""

    def __init__(
        self, options: ProgressOptions, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._kind = options.kind
        self._clock = clock
        self._sleep = sleep
        self._started = clock()
        self._next_s = 0.0  # of the next line of JSON
        self._bar = StatusLine(options.columns) if options.kind == "bar" else None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show it while the context lasts."""
        if self._bar is not None:
            self._bar.open()
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()

    def pause(self, seconds: float, counts: WaitCounts) -> None:
        """Wait until the next look at the jobs."""
        end = self._clock() + seconds
        while (left_s := end - self._clock()) > 0:
            self._show(counts, left_s)
            self._sleep(min(_EVERY_S, left_s))

    def _show(self, counts: WaitCounts, left_s: float) -> None:
        elapsed_s = self._clock() - self._started
        if self._bar is not None:
            self._bar.draw(format_wait(counts, left_s, self._bar.width))
        elif self._kind == "json" and elapsed_s >= self._next_s:
            self._next_s = elapsed_s + _EVERY_S
            console.write_json(values.dumps(wait_record(counts, left_s, elapsed_s)))


def wait_record(counts: WaitCounts, left_s: float, elapsed_s: float) -> dict[str, Value]:
    """The object of `--progress json`: that of a run without results yet, and the jobs."""
    shown = {name: value for name, value in counts._asdict().items() if value is not None}
    currency = shown.pop("currency")
    jobs = {**shown, "statuses": dict(counts.statuses), "next_look_s": round(left_s, 3)}
    priced = {} if counts.expected_cost is None else {"currency": currency}
    return {**Tally().report(elapsed_s), **priced, "jobs": jobs}


def format_wait(counts: WaitCounts, left_s: float, width: int) -> str:
    """The text of the bar, at most width long."""
    done, total = counts.completed + counts.failed, max(counts.lines, 1)
    cost = counts.expected_cost
    parts = {
        "count": f"{done}/{total}",
        "failed": f"{counts.failed} failed" if counts.failed else "",
        "jobs": f"{counts.ended}/{quantity(counts.jobs, 'job')} ended",
        "statuses": ", ".join(f"{number} {status}" for status, number in sorted(counts.statuses.items())),
        "held": f"{quantity(counts.held, 'part')} held back" if counts.held else "",
        "cost": "" if cost is None else f"expected cost {cost:.4g} {counts.currency}",
        "look": f"look in {math.ceil(left_s)} s",
    }
    return fitted(parts, min(1.0, done / total), _DISPENSABLE, width)
