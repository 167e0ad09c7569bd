"""Notices that are printed ten times at most."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chatpipe.system.console import FirstFew
from support.parametrize import cases

MORE = "there are more like these: elsewhere"


@cases(
    "count, expected",
    {
        "none": (0, []),
        "some": (2, [0, 1]),
        "ten": (10, list(range(10))),
        "one more": (11, [*range(10), MORE]),
        "many more": (1000, [*range(10), MORE]),
    },
)
def test_the_first_ten_are_reported_and_all_are_counted(count: int, expected: list[int | str]) -> None:
    console: list[int | str] = []
    few: FirstFew[int] = FirstFew(console.append, console.append, "elsewhere")
    for number in range(count):
        few.report(number)
    assert (console, few.count) == (expected, count)


def test_threads_together_report_no_more_than_one_thread() -> None:
    console: list[int | str] = []
    few: FirstFew[int] = FirstFew(console.append, console.append, "elsewhere")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(few.report, range(500)))
    assert (len(console), console[10], few.count) == (11, MORE, 500)
