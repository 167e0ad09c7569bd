"""Files written whole or not at all: their steps, what an interrupt leaves, and that no descriptor stays."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatpipe.system import atomic
from support.parametrize import cases

ABANDONED = ".out.chatpipe-0123456789ab"
pytestmark = pytest.mark.usefixtures("folder", "all_closed")


@pytest.fixture
def all_closed() -> Iterator[None]:
    """No test here leaves a descriptor."""
    before = os.listdir("/dev/fd")
    yield
    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that a power failure makes a difference to."""
    found: list[str] = []
    fsync, rename = os.fsync, os.replace

    def record_fsync(fd: int) -> None:
        found.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        fsync(fd)

    def record_rename(old: str, new: str) -> None:
        found.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_rename)
    return found


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def broken() -> Iterator[bytes]:
    """Blocks that end in an interrupt."""
    yield b"half"
    raise KeyboardInterrupt


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in os.listdir()}


def test_a_new_file_is_written_and_synced(steps: list[str]) -> None:
    with umask(0):
        atomic.write_new("new", 0o640, [b"a", b"b"])
    assert contents() == {"new": b"ab"}
    assert stat.S_IMODE(os.stat("new").st_mode) == 0o640
    assert steps == ["fsync file"]


def test_a_new_file_replaces_none() -> None:
    Path("old").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        atomic.write_new("old", 0o666, [b"new"])
    assert contents() == {"old": b"old"}


def test_a_file_is_replaced_after_its_content_is_on_disk(steps: list[str]) -> None:
    Path("out").write_bytes(b"old")
    atomic.replace_whole("out", 0o600, [b"a", b"b"])
    assert contents() == {"out": b"ab"}
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_an_interrupt_leaves_the_old_file_alone() -> None:
    Path("out").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        atomic.replace_whole("out", 0o600, broken())
    with pytest.raises(KeyboardInterrupt):
        atomic.write_new("new", 0o600, broken())
    assert contents() == {"out": b"old", "new": b"half"}


def named(monkeypatch: pytest.MonkeyPatch, *randoms: int) -> None:
    """Make temporary names end in these bytes, repeated."""
    left = iter(randoms)
    monkeypatch.setattr(os, "urandom", lambda size: bytes([next(left)]) * size)


def test_a_name_that_is_taken_stays_that_of_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, 0, 1)
    Path(".out.chatpipe-000000000000").write_bytes(b"theirs")
    name, fd = atomic.create_temporary("out", 0o600, os.O_WRONLY)
    os.close(fd)
    atomic.discard_all()
    assert name == ".out.chatpipe-010101010101"
    assert contents() == {".out.chatpipe-000000000000": b"theirs"}


def test_a_name_that_was_lost_is_no_longer_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run removed it before it was locked."""
    named(monkeypatch, 0, 1)
    is_current = iter([False, True])
    monkeypatch.setattr(atomic, "is_current_entry", lambda path, fd: next(is_current))
    name, fd = atomic.create_temporary("out", 0o600, os.O_WRONLY)
    os.close(fd)
    assert contents() == {name: b""}
    Path(".out.chatpipe-000000000000").write_bytes(b"theirs")
    atomic.discard_all()
    assert contents() == {".out.chatpipe-000000000000": b"theirs"}


def test_an_interrupt_between_the_file_and_its_owner_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = os.open

    def interrupted(path: str, *arguments: Any) -> int:
        os.close(open_file(path, *arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.create_temporary("out", 0o600, os.O_WRONLY)
    assert contents() == {}


@cases("end", {"removed": atomic.remove_temporary, "kept": atomic.keep_temporary})
def test_a_file_that_is_done_with_is_no_longer_ours(end: Any) -> None:
    name, fd = atomic.create_temporary("out", 0o600, os.O_WRONLY)
    os.close(fd)
    end(name)
    Path(name).write_bytes(b"mine")
    atomic.discard_all()
    assert contents() == {name: b"mine"}


def test_a_file_of_somebody_else_is_not_removed() -> None:
    Path("mine").write_bytes(b"mine")
    atomic.remove_temporary("mine")
    assert contents() == {"mine": b"mine"}


@pytest.mark.parametrize("within", ["", "data/"])
def test_what_a_killed_run_left_is_removed(within: str) -> None:
    os.mkdir("data")
    Path(f"{within}{ABANDONED}").write_bytes(b"half")
    atomic.remove_abandoned(f"{within}out")
    assert not os.path.exists(f"{within}{ABANDONED}")
    atomic.remove_abandoned("no-such-folder/out")


def test_a_large_directory_is_not_searched_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_MOST_ENTRIES", 0)
    Path(ABANDONED).write_bytes(b"half")
    atomic.remove_abandoned("out")
    assert contents() == {ABANDONED: b"half"}


@cases(
    ("name", "cut"),
    {
        "short": ("out", "out"),
        "as long as can be": ("n" * 120, "n" * 120),
        "longer": ("n" * 121, "n" * 120),
        "accents": ("é" * 61, "é" * 60),
        "not within a character": ("x" + "é" * 60, "x" + "é" * 59),
    },
)
def test_a_name_is_cut_in_bytes(name: str, cut: str) -> None:
    assert atomic.truncate_name(name) == cut


@pytest.mark.parametrize("path", ["", "data"])
def test_a_directory_is_synced(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir("data")
    synced: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd)))
    atomic.sync_directory(path)
    assert [each.st_ino for each in synced] == [os.stat(path or ".").st_ino]


def test_a_directory_that_cannot_be_synced_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fail)
    atomic.sync_directory("")
    atomic.sync_directory("no-such-folder")
