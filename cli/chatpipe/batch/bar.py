"""The progress bar of a run: the last line of stderr, below all other lines.

    chatpipe:  41%|######         | 412/1000 done, 3 failed, 35/s, 1.24M tokens, 0.012 USD, 00:17 left

tqdm formats the meter, system/status_line.py draws the line: tqdm's own object counts every line, starts a
thread, and does not know about other output on stderr.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from chatpipe.batch.amounts import cost_text, speed_text, tokens_text
from chatpipe.system.text_width import columns_of, cut

if TYPE_CHECKING:
    from chatpipe.batch.tally import Tally

# The speed is measured over this window: longer than most answers take, shorter than a server's fluctuations.
_WINDOW_S = 30.0
# A shorter meter shows too little.
_LEAST_METER = 6
# What a narrow terminal does without, the first of them first. The count remains.
_DISPENSABLE = (
    *("elapsed", "word", "tokens", "percent", "name", "servers", "cost", "meter", "speed", "left", "failed"),
    *("reason", "pause"),
)


class Speed:
    """The recent speed of a run, in lines a second.

    Only lines that are sent count: those of an earlier run would promise an early end.
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._samples = deque([(started, 0)])

    def now(self, time_s: float, count: int) -> float:
        """The speed once count lines were answered: that of the whole run if none were recently."""
        if time_s - self._samples[-1][0] >= 1:
            self._samples.append((time_s, count))
        while len(self._samples) > 1 and time_s - self._samples[1][0] >= _WINDOW_S:
            self._samples.popleft()
        since, count_then = self._samples[0]
        if count == count_then:
            since, count_then = self._started, 0
        return (count - count_then) / (time_s - since) if time_s > since else 0.0


def format_bar(tally: Tally, *, total: float | None, elapsed_s: float, speed: float, width: int) -> str:
    """The text of the bar: at most width columns. total is the expected count of lines, if known.

    On a narrow terminal the least important parts are left out. If even the rest is too long, it is cut.
    """
    from tqdm import tqdm  # 20 ms: too long for a run that ends before its bar appears

    spent = tally.spent
    pause, colon, reason = tally.pauses.in_progress.partition(":")
    parts = {
        "count": str(tally.finished),
        "failed": f"{tally.failed} failed" if tally.failed else "",
        "servers": tally.servers.text,
        "pause": pause,
        "reason": colon + reason,
        "speed": speed_text(speed) if speed else "",
        "tokens": tokens_text(spent.total) if spent.total else "",
        "cost": cost_text(spent.cost, spent.currency) if spent.cost else "",
    }
    if total is None:
        parts["elapsed"] = tqdm.format_interval(elapsed_s)
        share = None
    else:
        total = max(total, tally.finished)
        about = "" if float(total).is_integer() else "~"
        parts["count"] += f"/{about}{total:.0f}"
        share = tally.finished / max(total, 1)
        if speed:
            parts["left"] = f"{tqdm.format_interval((total - tally.finished) / speed)} left"
    return fitted(parts, share, _DISPENSABLE, width)


def fitted(parts: Mapping[str, str], share: float | None, dispensable: Sequence[str], width: int) -> str:
    """The line of these parts, one of which is `count`, and of a meter that shows the share.

    Of the dispensable parts as many are left out, the first of them first, as make it fit. Those of the line
    itself are `word`, `percent`, `name` and `meter`. A part that begins with a colon belongs to the one
    before it. If even the rest is too long, it is cut.
    """
    for dropped in range(len(dispensable) + 1):
        text = _layout(parts, share, frozenset(dispensable[:dropped]), width)
        if columns_of(text) <= width:
            break
    return cut(text, width)


def _layout(parts: Mapping[str, str], share: float | None, dropped: Container[str], width: int) -> str:
    """The line without the parts that are dropped. It may be longer than width."""
    shown = {name: text for name, text in parts.items() if text and name not in dropped}
    if "word" not in dropped or share is None:
        shown["count"] += " done"
    name = "" if "name" in dropped else "chatpipe: "
    texts = "".join(text if text.startswith(":") else f", {text}" for text in shown.values())[2:]
    if share is None or "meter" in dropped:
        return name + texts
    from tqdm import tqdm

    percent = "" if "percent" in dropped else f"{100 * share:3.0f}%"
    columns = max(width - columns_of(f"{name}{percent}|| {texts}"), _LEAST_METER)
    meter = tqdm.format_meter(share, 1, 0, ncols=columns, ascii=" #", bar_format="{bar}")
    return f"{name}{percent}|{meter}| {texts}"
