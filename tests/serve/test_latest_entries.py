"""latest_entries.py: what is kept, and how much of it."""

from __future__ import annotations

from chatpipe.serve.latest_entries import LatestEntries


def test_the_latest_are_kept_and_never_more_than_most() -> None:
    entries = LatestEntries[int](10)
    for number in range(1, 1000):
        entries.add(b"%d" % number, number)
        latest = [b"%d" % each for each in range(max(1, number - 4), number + 1)]
        assert len(entries) <= 10
        assert all(key in entries for key in latest)
    assert b"1" not in entries


def test_an_entry_is_taken_once() -> None:
    entries = LatestEntries[int](4)
    for number in range(1, 4):
        entries.add(b"%d" % number, number)
    assert [entries.take(b"1"), entries.take(b"1"), entries.take(b"3"), entries.take(b"9")] == [
        1,
        None,
        3,
        None,
    ]
    assert len(entries) == 1
