"""line_window.py: lines by their offsets, and how often a file is read for them."""

from __future__ import annotations

from itertools import accumulate

import pytest

from chatpipe.system.line_window import LineWindow

SIZES = [0, 5, 4095, 4096, 4097, 70_000, 600_000, 3, 9]
LINES = [bytes([97 + number]) * size for number, size in enumerate(SIZES)]
OFFSETS = list(accumulate((size + 1 for size in SIZES), initial=0))[:-1]


class Files:
    """Files in memory, and the number of times that one was read."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = list(contents)
        self.reads = 0

    def read(self, file: int, size: int, offset: int) -> bytes:
        self.reads += 1
        return self.contents[file][offset : offset + size]


@pytest.mark.parametrize("order", [1, -1])
def test_lines_of_every_size_in_any_order(order: int) -> None:
    window = LineWindow(Files(b"\n".join(LINES) + b"\n").read)
    numbers = range(len(LINES))[::order]
    assert [window.line(0, OFFSETS[number]) for number in numbers] == LINES[::order]


def test_a_last_line_without_a_newline_and_the_end() -> None:
    window = LineWindow(Files(b"one\ntwo").read)
    assert [window.line(0, at) for at in (0, 4, 7)] == [b"one", b"two", b""]


def test_lines_in_their_order_are_read_together() -> None:
    files = Files(b"".join(b"%04d\n" % number for number in range(10_000)))
    window = LineWindow(files.read)
    assert [window.line(0, 5 * number) for number in range(10_000)] == [b"%04d" % n for n in range(10_000)]
    assert files.reads == 2


def test_a_file_that_grew_is_read_again_for_its_new_lines() -> None:
    files = Files(b"one\nt")
    window = LineWindow(files.read)
    assert window.line(0, 0) == b"one"
    files.contents[0] += b"wo\nthree\n"
    assert [window.line(0, at) for at in (4, 8)] == [b"two", b"three"]


def test_files_are_not_mixed_up() -> None:
    window = LineWindow(Files(b"one\ntwo\n", b"uno\ndos\n").read)
    assert [window.line(file, at) for at in (0, 4) for file in (0, 1)] == [b"one", b"uno", b"two", b"dos"]
