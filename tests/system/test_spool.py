"""spool.py: bytes in memory and in a file, and the room that they take."""

from __future__ import annotations

import resource

import pytest

from chatpipe.system.spool import NoRoom, Room, Spool


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_spool_reads_anywhere_while_it_is_written_and_gives_its_room_back(size: int) -> None:
    """In memory, and from its file."""
    room = Room(1 << 30)
    spool = Spool(room)
    spool.write(b"a" * size)
    spool.write(b"bc")
    assert spool.read(size - 2, 4) == b"aabc"
    spool.write(b"d")
    assert (spool.read(size, 9), spool.size) == (b"bcd", size + 3)
    pieces = spool.pieces(0, size + 3)
    first = next(pieces)
    spool.close()
    assert room.used == size + 3  # for the one who reads it
    assert first + b"".join(pieces) == b"a" * size + b"bcd"
    assert room.used == 0


def test_a_spool_that_is_forgotten_gives_its_room_back() -> None:
    room = Room(100)
    spool = Spool(room)
    spool.write(b"a" * 100)
    del spool
    assert room.used == 0


def test_a_spool_names_the_limit_that_ends_it() -> None:
    spool = Spool(Room(1 << 30))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(NoRoom, match="cannot write a temporary file: file too large") as caught:
            spool.write(b"a" * 3_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        spool.close()
    assert caught.value.fix == "raise the limit that 'ulimit -f' shows"
