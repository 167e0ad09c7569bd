"""Appended recordings: whole lines, by several at once, on disks that fail, behind torn lines."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from chatpipe.errors import BadInput, CannotWrite, TryLater
from chatpipe.recordings import recording_writer
from chatpipe.recordings.exchange_record import write_record
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.system.lock import LockPatience
from recordings.test_recording_index import record
from support.parametrize import cases

LINE = write_record(record("a", "1")) + b"\n"


def writer(path: Path, deadline_s: float | None = None) -> RecordingWriter:
    return RecordingWriter(str(path), LockPatience(lambda text: None, deadline_s))


def append(path: Path, text: str = "b") -> None:
    file = writer(path)
    file.append(record(text, "2"))
    file.check()
    file.close()


NEW = write_record(record("b", "2")) + b"\n"


@cases(
    "before, after",
    {
        "no file": (None, NEW),
        "empty": (b"", NEW),
        "a record": (LINE, LINE + NEW),
        "without its newline": (LINE[:-1], LINE + NEW),
        "half a record": (LINE[:40], NEW),
        "half a record behind one": (LINE + LINE[:40], LINE + NEW),
        "the beginning of one": (LINE + b"{", LINE + NEW),
    },
)
def test_a_record_is_appended_behind_whole_lines(tmp_path: Path, before: bytes | None, after: bytes) -> None:
    path = tmp_path / "r"
    if before is not None:
        path.write_bytes(before)
    append(path)
    assert path.read_bytes() == after


@cases(
    "content",
    {"text": b"hello\n", "a prompt": b'{"prompt":"Hello"}\n', "text without an end": b"hello", "a row": b"{"},
)
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        writer(path)
    assert caught.value.place == f"{path}:1"
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["folder", "FIFO", "no/folder", "device"])
def test_files_that_cannot_be_recorded_to(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/full")
    with pytest.raises(CannotWrite) as caught:
        writer(path)
    assert caught.value.place == str(path)


def _append_many(path: Path, name: str) -> None:
    file = writer(path)
    for number in range(100):
        file.append(record(f"{name}{number}", "x" * 5000))
    file.check()


def test_several_processes_do_not_mix(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append_many, args=(tmp_path / "r", name)) for name in "abcd"]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0, 0, 0, 0]
    index = RecordingIndex(str(tmp_path / "r"), note=pytest.fail)
    assert len({found.body["messages"] for _, found, _ in index.requests()}) == 400


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(28, "No space left on device")

    file = writer(tmp_path / "r")
    file.append(record("a", "1"))
    with monkeypatch.context() as patch:
        patch.setattr(recording_writer, "write_all", full)
        file.append(record("b", "2"))
    file.append(record("c", "3"))  # the exchanges between would be missing
    assert (tmp_path / "r").read_bytes() == LINE
    with pytest.raises(CannotWrite, match="no space left"):
        file.check()


def test_a_disk_that_is_full_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = os.statvfs(tmp_path)
    full = os.statvfs_result((*room[:3], 0, 0, *room[5:]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda file: full)
        with pytest.raises(CannotWrite, match="no space left"):
            writer(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_symbolic_link_may_be_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs(tmp_path)
    full = os.statvfs_result((*room[:3], 0, 0, *room[5:]))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/r").symlink_to(tmp_path / "r")
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda file: full if file == str(tmp_path / "full") else room)
        writer(tmp_path / "full/r").append(record("a", "1"))
    assert (tmp_path / "r").read_bytes() == LINE


def test_a_file_that_is_removed_is_made_again(tmp_path: Path) -> None:
    file = writer(tmp_path / "r")
    file.append(record("a", "1"))
    (tmp_path / "r").unlink()
    file.append(record("b", "2"))
    file.check()
    assert (tmp_path / "r").read_bytes() == NEW


def test_a_lock_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    file = writer(tmp_path / "r", deadline_s=0.01)
    with (tmp_path / "r").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        file.append(record("a", "1"))
    with pytest.raises(TryLater, match="locked"):
        file.check()
