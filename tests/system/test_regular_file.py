"""Regular files, opened, read and written at an offset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from chatpipe.system import regular_file
from chatpipe.system.regular_file import last_line, open_regular, read_at, read_blocks, write_all_at
from support.parametrize import cases


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert open_regular(str(tmp_path / "fifo")) is None
    assert open_regular(str(tmp_path)) is None
    assert open_regular("/dev/null") is None


def test_a_write_at_an_offset_and_a_read_leave_the_position_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    fd = os.open(tmp_path / "file", os.O_RDWR)
    os.lseek(fd, 4, os.SEEK_SET)
    write_all_at(fd, b"abc", 2)
    assert b"".join(read_blocks(fd)) == b"01abc56789"
    assert os.lseek(fd, 0, os.SEEK_CUR) == 4
    os.close(fd)


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_short_reads_are_not_taken_for_the_end(most: int, tmp_path: Path, monkeypatch: Any) -> None:
    """As of a file server, or of a file system in a process."""
    data = os.urandom(50)
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, most), offset))
    for size, offset in ((50, 0), (20, 7), (60, 0), (60, 45), (5, 50), (5, 80), (0, 0)):
        assert read_at(fd, size, offset) == data[offset : offset + size]
    assert b"".join(read_blocks(fd)) == data
    os.close(fd)


@cases(
    ("data", "offset"),
    {
        "nothing": (b"", 0),
        "a line": (b"ab\n", 3),
        "a line without its end": (b"ab", 0),
        "a line behind another": (b"ab\ncde", 3),
        "ends alone": (b"\n\n", 2),
        "behind a long one": (b"x" * 20 + b"\n" + b"y" * 20, 21),
    },
)
@pytest.mark.parametrize("block_bytes", [1, 3, 64])
def test_the_last_line_has_an_offset(
    data: bytes, offset: int, block_bytes: int, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(regular_file, "_BLOCK_BYTES", block_bytes)
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    assert last_line(fd, len(data)) == offset
    os.close(fd)


def test_a_file_of_several_blocks_is_read_to_its_end(tmp_path: Path) -> None:
    data = os.urandom((5 << 20) // 2)
    (tmp_path / "file").write_bytes(data)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    assert [len(block) for block in read_blocks(fd)] == [1 << 20, 1 << 20, 1 << 19]
    assert b"".join(read_blocks(fd)) == data
    os.close(fd)
