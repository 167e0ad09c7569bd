"""The bar's text, its speed, what it takes for the whole, and how others' lines get past it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

import pytest

from chatpipe.batch import bar
from chatpipe.batch.expenses import Expenses
from chatpipe.batch.items import Item
from chatpipe.batch.pause_counts import PauseCounts, pause_counts
from chatpipe.batch.progress import Progress, ProgressOptions
from chatpipe.batch.result import Result
from chatpipe.batch.tally import Tally
from chatpipe.errors import Status
from chatpipe.limits.prices import ModelPrice
from chatpipe.limits.rate import RateLimiter
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import ConsoleOptions
from chatpipe.system import console
from chatpipe.system.console import Console
from chatpipe.system.status_line import StatusLine
from support.parametrize import cases


def tally(finished: int, failed: int = 0, tokens: int = 0) -> Tally:
    counts = Tally()
    counts.outcomes[Outcome.ok] = finished - failed
    if failed:
        counts.outcomes[Outcome.http] = counts.failures.by_status[Status.BAD_INPUT] = failed
    counts.spent.total = tokens
    return counts


@cases(
    ("counts", "total", "speed", "expected"),
    {
        "nothing yet": (tally(0), None, 0.0, "chatpipe: 0 done, 01:05"),
        "of a pipe": (tally(412), None, 35.2, "chatpipe: 412 done, 35/s, 01:05"),
        "all there is": (
            tally(412, 3, 1_240_000),
            None,
            0.05,
            "chatpipe: 412 done, 3 failed, 3.0/min, 1.24M tokens, 01:05",
        ),
        "of a file": (
            tally(412, 3, 999),
            1000,
            35.0,
            "chatpipe:  41%|###      | 412/1000 done, 3 failed, 35/s, 999 tokens, 00:16 left",
        ),
        "of a file, nothing yet": (tally(0), 1000, 0.0, "chatpipe:   0%|" + " " * 51 + "| 0/1000 done"),
        "of a file whose lines are estimated": (
            tally(12),
            24.4,
            2.0,
            "chatpipe:  49%|" + "#" * 15 + " " * 17 + "| 12/~24 done, 2.0/s, 00:06 left",
        ),
        "never more than all": (
            tally(12),
            10.4,
            2.0,
            "chatpipe: 100%|" + "#" * 33 + "| 12/12 done, 2.0/s, 00:00 left",
        ),
        "of an empty file": (tally(0), 0, 0.0, "chatpipe:   0%|" + " " * 54 + "| 0/0 done"),
    },
)
def test_the_line_of_the_bar(counts: Tally, total: float | None, speed: float, expected: str) -> None:
    width = 79 if total is not None else 80
    assert bar.format_bar(counts, total=total, elapsed_s=65.0, speed=speed, width=width) == expected


def test_the_bar_says_why_it_waits() -> None:
    counts, rate = tally(412), RateLimiter()
    rate.pause(112.5, 100.0, "429")
    counts.pauses = pause_counts(rate, 101.0)
    text = bar.format_bar(counts, total=None, elapsed_s=65.0, speed=35.0, width=80)
    assert text == "chatpipe: 412 done, paused 12 s: 429, 35/s, 01:05"
    assert counts.report(65.0)["pauses"] == {"count": 1, "seconds": 1.0}
    rate.pause(120.0, 110.0, "no requests left")  # the same pause, longer
    counts.pauses = pause_counts(rate, 130.0)
    assert bar.format_bar(counts, total=None, elapsed_s=65.0, speed=35.0, width=80).count("paused") == 0
    assert counts.report(65.0)["pauses"] == {"count": 1, "seconds": 20.0}


def test_the_bar_and_the_report_count_servers() -> None:
    counts = tally(412)
    counts.servers.note_states({"http://a/v1": True, "http://b/v1": False, "http://c/v1": True})
    counts.servers.add("http://b/v1", is_good=False)
    text = bar.format_bar(counts, total=None, elapsed_s=65.0, speed=35.0, width=80)
    assert text == "chatpipe: 412 done, 2 of 3 servers, 35/s, 01:05"
    assert counts.report(1.0)["servers"] == {
        "http://a/v1": {"good": 0, "failed": 0, "up": True},
        "http://b/v1": {"good": 0, "failed": 1, "up": False},
        "http://c/v1": {"good": 0, "failed": 0, "up": True},
    }


def busy_run() -> Tally:
    """One that has everything to show but a pause."""
    counts = tally(412, 3, 1_240_000)
    counts.spent.cost = 0.0123
    return counts


@cases(
    ("total", "width", "expected"),
    {
        "92": (
            1000,
            92,
            "chatpipe:  41%|###      | 412/1000 done, 3 failed, 35/s, 1.24M tokens, 0.012 USD, 00:16 left",
        ),
        "79": (1000, 79, "chatpipe:  41%|######         | 412/1000, 3 failed, 35/s, 0.012 USD, 00:16 left"),
        "59": (1000, 59, "|###      | 412/1000, 3 failed, 35/s, 0.012 USD, 00:16 left"),
        "39": (1000, 39, "412/1000, 3 failed, 35/s, 00:16 left"),
        "19": (1000, 19, "412/1000, 3 failed"),
        "10": (1000, 10, "412/1000"),
        "1": (1000, 1, "4"),
        "59 of a pipe": (None, 59, "chatpipe: 412 done, 3 failed, 35/s, 1.24M tokens, 0.012 USD"),
        "39 of a pipe": (None, 39, "412 done, 3 failed, 35/s, 0.012 USD"),
        "19 of a pipe": (None, 19, "412 done, 3 failed"),
    },
)
def test_a_narrow_terminal_has_the_most_important_parts(
    total: float | None, width: int, expected: str
) -> None:
    text = bar.format_bar(busy_run(), total=total, elapsed_s=65.0, speed=35.0, width=width)
    assert text == expected


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (59, "|###      | 412/1000, 3 failed, paused 12 s: 429, 0.012 USD"),
        (26, "412/1000, paused 12 s: 429"),
        (25, "412/1000, paused 12 s"),
        (20, "412/1000"),
        (7, "412/100"),
    ],
)
def test_the_reason_of_a_pause_is_shown_on_a_narrow_terminal(width: int, expected: str) -> None:
    counts = busy_run()
    counts.pauses = PauseCounts(in_progress="paused 12 s: 429")
    assert bar.format_bar(counts, total=1000, elapsed_s=65.0, speed=0.0, width=width) == expected


def test_wide_characters_of_a_currency_count_twice() -> None:
    counts = busy_run()
    counts.spent = Expenses({"m": ModelPrice(1.0, 1.0, 1.0, "円")})
    counts.spent.cost = 0.0123
    shown = "|##    | 412/1000, 3 failed, 0.012 円"  # one column more than characters
    assert bar.format_bar(counts, total=1000, elapsed_s=65.0, speed=0.0, width=37) == shown
    assert "円" not in bar.format_bar(counts, total=1000, elapsed_s=65.0, speed=0.0, width=36)


def test_speed_is_that_of_late() -> None:
    speed = bar.Speed(100.0)
    assert speed.now(100.0, 0) == 0.0
    assert speed.now(102.0, 10) == 5.0
    for second in range(103, 161):
        speed.now(float(second), 10 + 2 * (second - 102))
    assert speed.now(160.0, 126) == 2.0


def test_speed_is_that_of_the_run_where_nothing_came_of_late() -> None:
    speed = bar.Speed(0.0)
    for second in range(1, 101):
        found = speed.now(float(second), 50 if second >= 10 else 0)
    assert found == 0.5


def item(line: int, *, is_ours: bool = True) -> Item:
    return Item(line, f"line-{line}", {}, is_ours=is_ours)


async def _blocks(items: list[Item]) -> AsyncIterator[Iterable[Item]]:
    """The first item in memory, the others as they are taken."""
    yield items[:1]
    yield iter(items[1:])


@cases(
    ("items", "limit", "share"),
    {
        "every line is an item": ([item(1), item(2)], None, "  2%"),
        "every other line is blank": ([item(2), item(4)], None, "  4%"),
        "a shard": ([item(1, is_ours=False), item(2), item(3, is_ours=False), item(4)], None, "  4%"),
        "no more than the limit": ([item(1), item(2)], 10, " 20%"),
    },
)
def test_share_of_what_will_be_an_item(
    items: list[Item], limit: int | None, share: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of 100 lines some are read, and two items are finished."""
    options = ProgressOptions("bar", every_s=60, lines=100, limit=limit)
    progress = Progress(options, tally(2), time.monotonic() - 1)

    async def run() -> None:
        async for block in progress.count_items(_blocks(items)):
            assert [*block]
        ticking = asyncio.create_task(progress.tick())
        await asyncio.sleep(0.3)
        ticking.cancel()

    asyncio.run(run())
    assert capfd.readouterr().err.startswith(f"\rchatpipe: {share}|")


def test_the_end_is_estimated_from_what_is_sent(capfd: pytest.CaptureFixture[str]) -> None:
    """900 answers of an earlier run are no speed: 10 a second are, and 80 lines are left."""
    counts = tally(900)
    for number in range(900, 920):
        item = Item(number + 1, f"line-{number + 1}", {})
        counts.add(Result(item, Outcome.ok, b"", {}, True, Status.OK, 0.5))
    progress = Progress(ProgressOptions("bar", every_s=60, lines=1000), counts, time.monotonic() - 2)

    async def run() -> None:
        ticking = asyncio.create_task(progress.tick())
        await asyncio.sleep(0.3)
        ticking.cancel()

    asyncio.run(run())
    assert re.search(r" 920/1000 done, \d\.\d/s, 00:(0[89]|[1-5]\d) left", capfd.readouterr().err)


@pytest.fixture
def shown() -> Iterator[StatusLine]:
    it = StatusLine(80)
    it.open()
    yield it
    it.close()


def test_a_notice_takes_the_place_of_the_bar(shown: StatusLine, capfd: pytest.CaptureFixture[str]) -> None:
    shown.draw("abc")
    Console(ConsoleOptions()).note("x")
    shown.draw("abc")
    assert capfd.readouterr().err == "\rabc\r     \rchatpipe: x\n\rabc"


def test_a_notice_is_one_write(shown: StatusLine, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(console, "write_raw", written.append)
    shown.draw("abc")
    Console(ConsoleOptions()).note("x")
    Console(ConsoleOptions()).note("y")
    assert written == [b"\rabc", b"\r     \rchatpipe: x\n", b"chatpipe: y\n"]


def test_the_bar_is_written_where_it_changes_only(
    shown: StatusLine, capfd: pytest.CaptureFixture[str]
) -> None:
    for text in ("abc", "abc", "d", "d", "ef"):
        shown.draw(text)
    shown.wipe()
    shown.wipe()
    assert capfd.readouterr().err == "\rabc\rd  \ref\r    \r"


def test_a_terminal_that_becomes_narrower_gets_no_blanks_beyond_its_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    it = StatusLine(80)
    it.open()
    it.draw("a" * 60)
    monkeypatch.setattr(StatusLine, "width", 17)
    it.draw("b" * 10)
    it.draw("c" * 17)
    it.close()
    drawn = ["", "a" * 60, "b" * 10 + " " * 9, "c" * 17, " " * 19, ""]
    assert capfd.readouterr().err.split("\r") == drawn


def test_wide_characters_are_wiped_whole(shown: StatusLine, capfd: pytest.CaptureFixture[str]) -> None:
    shown.draw("1 円")
    shown.draw("2")
    assert capfd.readouterr().err == "\r1 円\r2   "


def test_a_closed_bar_is_out_of_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    it = StatusLine(80)
    it.open()
    it.draw("abc")
    it.close()
    Console(ConsoleOptions()).note("x")
    assert capfd.readouterr().err == "\rabc\r     \rchatpipe: x\n"


class Paused(RateLimiter):
    """A limiter whose pause has these seconds left, each time that it is asked."""

    def __init__(self, *left_s: float) -> None:
        super().__init__()
        self._left = iter(left_s)
        self.pause_reason = "no requests left"

    def pause_left(self, now: float) -> float:
        return next(self._left, 0.0)


@cases(
    ("kind", "left_s", "told"),
    {
        "a long pause, once": ("none", (56.0, 51.0, 57.0), ["56"]),
        "a short pause": ("none", (4.5, 0.0), []),
        "one of five seconds that has begun": ("none", (4.6, 0.0), ["5"]),
        "one that is more than twice as long": ("none", (6.0, 0.0, 12.0, 12.1), ["6", "13"]),
        "a bar shows it": ("bar", (56.0,), []),
    },
)
def test_a_long_pause_is_told(
    kind: str, left_s: tuple[float, ...], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatpipe.batch.progress.asyncio.sleep", _at_once(asyncio.sleep))
    notes: list[str] = []
    progress = Progress(ProgressOptions(kind), tally(0), time.monotonic(), notes.append)

    async def run() -> None:
        progress.open(Paused(*left_s))
        ticking = asyncio.create_task(progress.tick())
        for _ in range(10):
            await asyncio.sleep(0)
        ticking.cancel()

    asyncio.run(run())
    progress.close()  # a bar that stays open would wipe its line in the midst of other tests
    assert notes == [f"nothing is sent for another {each} s: no requests left" for each in told]


def _at_once(sleep: Callable[[float], Awaitable[None]]) -> Callable[[float], Awaitable[None]]:
    return lambda seconds: sleep(0)
