"""The table of places against a dict, its memory, and files that are read by place."""

from __future__ import annotations

import itertools
import os
import random
import tracemalloc
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chatpipe.errors import MissingInput
from chatpipe.system.line_index import (
    LineFiles,
    SortedIndex,
    is_good,
    is_used,
    mark_used,
    pack_location,
    unpack_location,
)
from chatpipe.system.regular_file import open_regular, read_at
from support.parametrize import cases
from support.resident import measured

LARGEST = 2**64 - 1


class AgainstDict(RuleBasedStateMachine):
    """A Table does what a dict of lists does, also where many keys are alike or stand at the edges."""

    keys = st.one_of(
        st.integers(0, LARGEST), st.integers(0, 3), st.sampled_from([LARGEST, 1 << 63, (1 << 63) - 1])
    )
    places = st.one_of(st.integers(0, LARGEST), st.integers(0, 2))

    def __init__(self) -> None:
        super().__init__()
        self.table = SortedIndex()
        self.model: dict[int, list[int]] = defaultdict(list)

    @rule(key=keys, value=places)
    def add(self, key: int, value: int) -> None:
        self.table.add(key, value)
        self.model[key].append(value)

    @rule(key=keys, value=places)
    def find_or_add(self, key: int, value: int) -> None:
        assert self.table.find_or_add(key, value) == self.model[key]
        self.model[key] = self.model[key] or [value]

    @rule(key=keys, value=places)
    def put(self, key: int, value: int) -> None:
        if len(self.model[key]) < 2:
            self.table.put(key, value)
            self.model[key] = [value]

    @rule(key=keys, new=places, data=st.data())
    def replace(self, key: int, new: int, data: st.DataObject) -> None:
        if self.model[key]:
            old = data.draw(st.sampled_from(self.model[key]))
            self.table.replace(key, old, new)
            self.model[key][self.model[key].index(old)] = new

    @rule(seed=st.integers(0, 5))
    def add_many(self, seed: int) -> None:
        """Enough for the buckets to be halved."""
        numbers = random.Random(seed)
        for _ in range(1500):
            self.add(numbers.getrandbits(64), 7)

    @rule(key=keys)
    def find(self, key: int) -> None:
        assert self.table.find(key) == self.model.get(key, [])

    @rule()
    def values(self) -> None:
        assert sorted(self.table.values()) == sorted(itertools.chain(*self.model.values()))

    @invariant()
    def counts(self) -> None:
        assert len(self.table) == sum(map(len, self.model.values()))

    def teardown(self) -> None:
        for key, values in self.model.items():
            assert self.table.find(key) == values


TestAgainstDict = AgainstDict.TestCase
TestAgainstDict.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_value_is_replaced_at_its_own_key() -> None:
    table = SortedIndex()
    for key in (1, 2, 3):
        table.add(key, 7)
    table.replace(2, 7, 8)
    assert [table.find(key) for key in (1, 2, 3)] == [[7], [8], [7]]


def test_many_keys_are_all_found_and_no_others() -> None:
    numbers = random.Random(3)
    keys = [numbers.getrandbits(64) for _ in range(50_000)]
    table = SortedIndex()
    for value, key in enumerate(keys):
        table.add(key, value)
    assert all(table.find(key) == [value] for value, key in enumerate(keys))
    assert not any(table.find(numbers.getrandbits(64)) for _ in range(50_000))


def test_keys_in_order_are_no_worst_case() -> None:
    table = SortedIndex()
    for key in range(30_000):
        table.add(key << 40, key)
    assert [table.find(key << 40) for key in (0, 1, 29_999, 30_000)] == [[0], [1], [29_999], []]


def test_a_line_takes_18_bytes_also_while_the_table_grows() -> None:
    lines = 50_000
    numbers = random.Random(1)
    table = SortedIndex()
    tracemalloc.start()
    for place in range(lines):
        table.add(numbers.getrandbits(64), place)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / lines < 18.5
    assert peak / lines < 18.5


MILLION = """
import random
from chatpipe.request.fingerprint import OccurrenceCounter
from chatpipe.system.line_index import SortedIndex

numbers = random.Random(1)
table, occurrences = SortedIndex(), OccurrenceCounter()
before = resident()
for place in range(1_000_000):
    table.add(numbers.getrandbits(64), place)
between = resident()
for _ in range(1_000_000):
    occurrences.count(numbers.randbytes(16))
print((between - before) / 1e6, (resident() - between) / 1e6)
"""


def test_a_million_lines_take_at_most_40_bytes_each_of_real_memory() -> None:
    table, occurrences = measured(MILLION)
    print(f"index {table:.1f}, occurrences {occurrences:.1f} bytes a line")
    assert table < 24
    assert table + occurrences < 40


@given(st.integers(0, 2**15 - 1), st.integers(0, 2**47 - 1), st.booleans())
def test_a_place_fits_8_bytes(file: int, offset: int, good: bool) -> None:
    place = pack_location(file, offset, is_good=good)
    assert 0 <= place <= LARGEST
    assert unpack_location(place) == unpack_location(mark_used(place)) == (file, offset)
    assert is_good(place) == is_good(mark_used(place)) == good
    assert [is_used(place), is_used(mark_used(place))] == [False, True]
    assert mark_used(place) == mark_used(mark_used(place)) <= LARGEST


LINES: dict[str, Any] = {
    "empty": (b"", []),
    "two lines": (b"a\nbc\n", [(0, b"a"), (2, b"bc")]),
    "no final newline": (b"a\nbc", [(0, b"a"), (2, b"bc")]),
    "blank lines": (b"\n\na\n", [(0, b""), (1, b""), (2, b"a")]),
    "only LF ends a line": (b"a\r\nb\xe2\x80\xa8c\n", [(0, b"a\r"), (3, b"b\xe2\x80\xa8c")]),
    "lines across blocks": (
        b"x" * 300_000 + b"\n" + b"y" * 262_143 + b"\nz",
        [(0, b"x" * 300_000), (300_001, b"y" * 262_143), (562_145, b"z")],
    ),
    "a block, exactly": (b"x" * 262_143 + b"\nz", [(0, b"x" * 262_143), (262_144, b"z")]),
    "a read, exactly": (b"x" * 4096 + b"\nz", [(0, b"x" * 4096), (4097, b"z")]),
    "a read, exactly, and the end": (b"x" * 4096, [(0, b"x" * 4096)]),
}


@cases("content, expected", LINES)
def test_lines_are_read_in_order_and_by_place(
    content: bytes, expected: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    shelf, number = shelved(tmp_path / "file", content)
    assert list(shelf.lines(number)) == expected
    assert [(offset, shelf.line(number, offset)) for offset, _ in reversed(expected)] == expected[::-1]
    assert shelf.line(number, len(content) + 5) == b""
    shelf.close()


@cases(
    ("offsets", "expected"),
    {
        "one": ([2], b"bc\n"),
        "all": ([0, 2, 5, 6], b"a\nbc\n\nd\n"),
        "the last has no newline": ([5, 6], b"\nd\n"),
        "one between them": ([0, 5], None),
        "not in their order": ([2, 0], None),
        "one twice": ([0, 0, 5], None),
        "one twice, and no other": ([2, 2], None),
        "the last twice": ([5, 6, 6], None),
        "past the end": ([6, 20], None),
    },
)
def test_lines_that_follow_one_another_are_read_together(
    offsets: list[int], expected: bytes | None, tmp_path: Path
) -> None:
    shelf, file = shelved(tmp_path / "file", b"a\nbc\n\nd")
    marks = [True, False, True, False]
    places = [pack_location(file, each, is_good=mark) for each, mark in zip(offsets, marks, strict=False)]
    assert shelf.neighbours(places) == expected
    shelf.close()


def test_lines_of_two_files_do_not_follow_one_another(tmp_path: Path) -> None:
    shelf, first = shelved(tmp_path / "file", b"a\nb\n")
    (tmp_path / "other").write_bytes(b"a\nb\n")
    second, _ = shelf.add(opened(tmp_path / "other"), "other")
    assert shelf.neighbours([pack_location(each, each * 2, is_good=True) for each in (first, second)]) is None
    shelf.close()


def test_a_file_is_added_once_under_any_of_its_names(tmp_path: Path) -> None:
    shelf, number = shelved(tmp_path / "file", b"a\n")
    os.link(tmp_path / "file", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("file")
    (tmp_path / "copy").write_bytes(b"a\n")
    again = [shelf.add(opened(tmp_path / name), name) for name in ("hard", "soft", "copy")]
    assert again == [(number, False), (number, False), (number + 1, True)]
    shelf.close()


def test_descriptors_are_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    shelf, _ = shelved(tmp_path / "file", b"a\n")
    shelf.add(opened(tmp_path / "file"), "file")
    shelf.close()
    shelf.close()
    assert len(os.listdir("/dev/fd")) == before


def test_a_file_that_can_no_longer_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\n")
    shelf = LineFiles()
    number, _ = shelf.add(os.open(tmp_path / "file", os.O_WRONLY), "the file")
    with pytest.raises(MissingInput, match="cannot read 'the file': bad file descriptor"):
        shelf.line(number, 0)
    shelf.close()


def test_an_empty_line_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the rest of the file is."""
    sizes: list[int] = []

    def counted(fd: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return read_at(fd, size, offset)

    shelf, number = shelved(tmp_path / "file", b"\n" + b"x" * 100_000)
    monkeypatch.setattr("chatpipe.system.line_index.read_at", counted)
    assert shelf.line(number, 0) == b""
    assert len(sizes) == 1
    shelf.close()


@cases(
    ("offset", "number"),
    {"first": (0, 1), "second": (1, 2), "empty": (3, 3), "within a line": (2, 2), "past the end": (99, 4)},
)
def test_a_line_has_a_number(
    offset: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatpipe.system.line_index._BLOCK_BYTES", 3)
    shelf, file = shelved(tmp_path / "file", b"\nb\n\nlast")
    assert shelf.number(file, offset) == number
    shelf.close()


@cases(("offset", "is_torn"), {"whole": (0, False), "empty": (2, False), "the last one": (3, True)})
def test_a_line_without_its_newline_is_torn(offset: int, is_torn: bool, tmp_path: Path) -> None:
    shelf, file = shelved(tmp_path / "file", b"a\n\nbcd")
    assert shelf.is_torn(file, offset) == is_torn
    shelf.close()


def test_a_signal_ends_the_reading_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def received() -> None:
        raise KeyboardInterrupt

    shelf, file = shelved(tmp_path / "file", b"a\n")
    monkeypatch.setattr("chatpipe.system.line_index.raise_if_received", received)
    with pytest.raises(KeyboardInterrupt):
        next(shelf.lines(file))
    shelf.close()


def test_after_close_files_are_numbered_anew(tmp_path: Path) -> None:
    shelf, _ = shelved(tmp_path / "file", b"a\n")
    shelf.close()
    assert shelf.add(opened(tmp_path / "file"), "again") == (0, True)
    assert shelf.line(0, 0) == b"a"
    shelf.close()


def shelved(path: Path, content: bytes) -> tuple[LineFiles, int]:
    path.write_bytes(content)
    shelf = LineFiles()
    number, is_new = shelf.add(opened(path), path.name)
    assert is_new
    return shelf, number


def opened(path: Path) -> int:
    fd = open_regular(str(path))
    assert fd is not None
    return fd
