"""A journal on disk: made, continued, locked, cut at every byte, full disks, and what others do to it."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatpipe import __version__
from chatpipe.batch.journal import journal as module
from chatpipe.batch.journal.journal import Journal
from chatpipe.errors import BadInput, CannotWrite, Status, TryLater
from chatpipe.system import regular_file
from chatpipe.system.disk_reserve import DiskReserve
from support.parametrize import cases
from support.refusals import refused

HEADER = b'{"chatpipe_journal":1,"chatpipe":"%s"}\n' % __version__.encode()
LINES = [b'{"id":"a","custom_id":"\xc3\xa9"}', b'{"id":"b","custom_id":"2"}', b'{"id":"c","custom_id":"3"}']
WHOLE = HEADER + b"".join(line + b"\n" for line in LINES)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


def test_a_journal_is_a_header_and_the_lines(path: Path) -> None:
    with Journal(str(path)) as journal:
        assert path.read_bytes() == HEADER
        offsets = [journal.append(line) for line in LINES]
        assert path.read_bytes() == WHOLE
    assert path.read_bytes() == WHOLE
    assert [WHOLE[start:].partition(b"\n")[0] for start in offsets] == LINES


def test_a_journal_is_continued(path: Path) -> None:
    for line in LINES:
        with Journal(str(path)) as journal:
            journal.append(line)
    assert path.read_bytes() == WHOLE


def test_a_new_journal_has_the_mode_that_the_umask_leaves(path: Path) -> None:
    before = os.umask(0o026)
    try:
        Journal(str(path)).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_a_journal_cut_at_any_byte_continues_with_its_whole_lines(length: int, path: Path) -> None:
    """A line that lacks nothing but its newline is whole: it was paid for."""
    path.write_bytes(WHOLE[:length])
    with Journal(str(path)) as journal:
        journal.append(b'{"id":"next"}')
    kept = 0
    end = len(HEADER)
    for line in LINES:
        end += len(line) + 1
        kept += length >= end - 1
    assert path.read_bytes() == HEADER + b"".join(line + b"\n" for line in [*LINES[:kept], b'{"id":"next"}'])


def test_a_torn_line_longer_than_a_block_is_dropped(path: Path) -> None:
    path.write_bytes(HEADER + LINES[0] + b'\n{"id":"' + b"x" * 600_000)
    Journal(str(path)).close()
    assert path.read_bytes() == HEADER + LINES[0] + b"\n"


@pytest.mark.parametrize("most", [1, 7, 100])
def test_short_reads_cost_no_answer(most: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(WHOLE + b'{"id":"torn')
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, most), offset))
    Journal(str(path)).close()
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 6, 7, 30, 31])
def test_a_torn_line_is_found_wherever_blocks_begin(
    block_bytes: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regular_file, "_BLOCK_BYTES", block_bytes)
    path.write_bytes(WHOLE + b'{"tor')
    Journal(str(path)).close()
    assert path.read_bytes() == WHOLE


def test_a_journal_of_an_older_chatpipe_keeps_its_header(path: Path) -> None:
    path.write_bytes(b'{"chatpipe_journal":1,"chatpipe":"0.0.1","more":[]}\n')
    with Journal(str(path)) as journal:
        journal.append(b"{}")
    assert path.read_bytes() == b'{"chatpipe_journal":1,"chatpipe":"0.0.1","more":[]}\n{}\n'


@cases(
    "content, what",
    {
        "some are left": (
            bytes(4096) + b"x" + WHOLE,
            """begins with NUL bytes, as after a power failure: \
mv {} {}.old, then add --reuse {}.old to use the answers that are left""",
        ),
        "none are left": (bytes(5000), "has only NUL bytes, as after a power failure: remove it"),
    },
)
def test_a_journal_whose_first_page_is_lost_says_how_to_go_on(content: bytes, what: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        Journal(str(path))
    assert str(caught.value) == f"{path}: {what.replace('{}', str(path))}"
    assert path.read_bytes() == content


FOREIGN: dict[str, Any] = {
    "text": b"some text\n",
    "one byte": b"x",
    "a blank line": b"\n",
    "a long line": b"x" * 10_000,
    "a long line that begins well": b'{"chatpipe_journal":' + b" " * 10_000,
    "result lines": b'{"custom_id":"1","response":null,"error":{}}\n',
    "an object": b"{}",
    "an array": b'["chatpipe_journal"]\n',
    "version true": b'{"chatpipe_journal":true}\n',
    "version in a string": b'{"chatpipe_journal":"1"}\n',
    "version 0": b'{"chatpipe_journal":0}\n',
    "version with a point": b'{"chatpipe_journal":1.0}\n',
    "an object over two lines": b'{"chatpipe_journal":1\n}\n',
}


@cases("content", FOREIGN)
def test_a_foreign_file_is_not_touched(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        Journal(str(path))
    assert str(caught.value) == f"{path}: is not a journal of chatpipe: name another file with --journal"
    assert path.read_bytes() == content
    assert not is_locked(path)


def test_a_journal_of_a_newer_chatpipe_is_not_touched(path: Path) -> None:
    path.write_bytes(b'{"chatpipe_journal":2,"chatpipe":"9.0"}\n{"torn')
    with pytest.raises(BadInput) as caught:
        Journal(str(path))
    assert str(caught.value) == (
        f"{path}: was written by a newer chatpipe (journal version 2): "
        "use that version, or name another file with --journal"
    )
    assert path.read_bytes() == b'{"chatpipe_journal":2,"chatpipe":"9.0"}\n{"torn'


def test_a_link_is_refused_and_its_target_not_created(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(BadInput) as caught:
        Journal(str(path))
    assert str(caught.value) == f"{path}: is a symbolic link, not a journal: name a file with --journal"
    assert not (tmp_path / "precious").exists()


def test_a_link_that_is_made_at_the_last_moment_is_not_followed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_yet(path: str) -> os.stat_result:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    path.symlink_to(tmp_path / "precious")
    monkeypatch.setattr(os, "lstat", not_yet)
    with pytest.raises(CannotWrite, match="cannot open the journal: too many levels of symbolic links"):
        Journal(str(path))
    assert not (tmp_path / "precious").exists()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a directory, not a journal"):
        Journal(str(tmp_path))


def test_a_fifo_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(BadInput, match="is a device or pipe, not a journal"):
        Journal(str(path))


CANNOT_OPEN: dict[str, Any] = {
    "no directory": ("missing/journal", "cannot open the journal: no such file or directory"),
    "below a file": ("file/journal", "cannot open the journal: not a directory"),
    "a NUL in the name": ("a\0b", "cannot open the journal: NUL byte in its name"),
    "an empty name": ("", "cannot open the journal: no such file or directory"),
    "a long name": ("x" * 300, "cannot open the journal: file name too long"),
}


@cases("name, message", CANNOT_OPEN)
def test_a_journal_that_cannot_be_opened_is_74(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match=message) as caught:
        Journal(name)
    assert caught.value.place == name
    assert caught.value.status == Status.CANNOT_WRITE


def test_a_second_run_reports_that_another_holds_the_journal(path: Path) -> None:
    with Journal(str(path)) as journal:
        journal.append(LINES[0])
        with pytest.raises(TryLater) as caught:
            Journal(str(path))
        journal.append(LINES[1])
    assert caught.value.status == Status.TRY_LATER
    assert str(caught.value) == (
        f"{path}: another run holds this journal: wait until it has ended, or name another file"
    )
    with Journal(str(path)) as journal:
        journal.append(LINES[2])
    assert path.read_bytes() == WHOLE


def test_a_second_run_that_is_refused_drops_nothing_of_the_first(path: Path) -> None:
    """The torn line that it sees may be one that is being written."""
    with Journal(str(path)):
        with path.open("ab") as file:
            file.write(b'{"half')
        with pytest.raises(TryLater):
            Journal(str(path))
        assert path.read_bytes() == HEADER + b'{"half'


def test_a_file_system_that_cannot_lock_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(CannotWrite) as caught:
        Journal(str(path))
    assert str(caught.value) == (
        f"{path}: cannot lock the journal: no locks available: name a file on a local disk with --journal"
    )


def test_a_journal_that_the_run_before_removes_at_the_last_moment_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening and our locking: what would be written to that file would be lost."""
    first = Journal(str(path))
    real = fcntl.flock

    def end_of_first(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.remove()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", end_of_first)
    with Journal(str(path)) as second:
        second.append(LINES[0])
        assert path.read_bytes() == HEADER + LINES[0] + b"\n"


def test_the_lock_ends_with_close_even_when_the_descriptor_has_a_double(path: Path) -> None:
    journal = Journal(str(path))
    double = os.dup(journal.fileno())
    journal.close()
    assert not is_locked(path)
    os.close(double)


def test_close_and_remove_may_be_called_again(path: Path) -> None:
    journal = Journal(str(path))
    journal.close()
    journal.close()
    assert not is_locked(path)
    journal.remove()
    assert path.exists()


def test_remove_removes(path: Path) -> None:
    with Journal(str(path)) as journal:
        journal.append(LINES[0])
        journal.remove()
    assert not path.exists()


def test_remove_leaves_a_file_that_took_the_name(path: Path) -> None:
    with Journal(str(path)) as journal:
        path.unlink()
        path.write_bytes(b"another's")
        journal.remove()
    assert path.read_bytes() == b"another's"


def test_no_descriptor_is_left(path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    Journal(str(path)).close()
    Journal(str(path)).remove()
    path.write_bytes(b"foreign")
    with pytest.raises(BadInput):
        Journal(str(path))
    assert len(os.listdir("/dev/fd")) == before


def test_a_line_with_a_newline_in_it_is_a_bug(path: Path) -> None:
    with Journal(str(path)) as journal, pytest.raises(ValueError, match="one line"):
        journal.append(b"a\nb")
    assert path.read_bytes() == HEADER


def test_a_line_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    real = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(bytes(data))
        return real(fd, data)

    with Journal(str(path)) as journal:
        monkeypatch.setattr(os, "write", counted)
        journal.append(LINES[0])
        monkeypatch.setattr(os, "write", real)
    assert writes == [LINES[0] + b"\n"]


def test_lines_of_a_block_are_one_write_before_anything_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(str(path))
    monkeypatch.setattr(module, "_BLOCK_BYTES", len(LINES[0] + LINES[1]) + 2)
    assert [*journal.append_later(LINES[:1])] == [len(HEADER)]
    assert path.read_bytes() == HEADER
    offsets = [offset for line in (LINES[1], LINES[2]) for offset in journal.append_later([line])]
    assert path.read_bytes() == HEADER + b"%s\n%s\n" % (LINES[0], LINES[1])
    offsets.append(journal.append(LINES[0]))
    journal.append_later(LINES[1:2])
    journal.close()
    whole = path.read_bytes()
    assert whole == WHOLE + b"%s\n%s\n" % (LINES[0], LINES[1])
    assert [whole[start:].partition(b"\n")[0] for start in offsets] == [LINES[1], LINES[2], LINES[0]]


def test_several_lines_of_a_block_have_an_offset_each(path: Path) -> None:
    with Journal(str(path)) as journal:
        first = [*journal.append_later(LINES[:2])]
        offsets = [*first, *journal.append_later(LINES[2:])]
        with pytest.raises(ValueError, match="one line"):
            journal.append_later([b"{}", b"{\n}"])
    whole = path.read_bytes()
    assert whole == WHOLE
    assert [whole[start:].partition(b"\n")[0] for start in offsets] == LINES


def test_a_block_that_is_not_where_it_was_due_is_74(path: Path) -> None:
    with Journal(str(path)) as journal:
        journal.append_later(LINES[:1])
        path.write_bytes(HEADER + b"of somebody else\n")
        with refused(CannotWrite, what="another program wrote to the journal", place=str(path)):
            journal.flush()


def test_it_is_synced_at_most_once_a_second_and_at_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    clock = Clock()
    monkeypatch.setattr(module, "_sync", lambda fd: synced.append(clock.now))
    journal = Journal(str(path), clock)
    for clock.now in (100.0, 100.5, 100.99, 101.0, 101.5, 101.99, 102.0, 102.5):
        journal.append(LINES[0])
    assert synced == [101.0, 102.0]
    clock.now = 102.6
    journal.close()
    assert synced == [101.0, 102.0, 102.6]


def test_a_disk_that_cannot_sync_is_74(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = Journal(str(path))
    monkeypatch.setattr(module, "_sync", broken)
    with pytest.raises(CannotWrite, match="cannot write the journal: input/output error"):
        journal.close()
    assert not is_locked(path)


@pytest.mark.parametrize("room", range(len(LINES[1]) + 1))
def test_a_full_disk_damages_nothing_that_was_written(room: int, path: Path) -> None:
    """This holds for any part of the line that still fits. With space again, the journal continues."""
    journal = Journal(str(path))
    journal.append(LINES[0])
    with (
        largest_file(path.stat().st_size + room),
        pytest.raises(CannotWrite, match="cannot write the journal"),
    ):
        journal.append(LINES[1])
    assert path.read_bytes() == HEADER + LINES[0] + b"\n"
    journal.append(LINES[2])
    journal.close()
    assert path.read_bytes() == HEADER + LINES[0] + b"\n" + LINES[2] + b"\n"


def test_a_full_disk_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(str(path)) as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(CannotWrite) as caught:
            journal.append(LINES[0])
        monkeypatch.undo()
    assert str(caught.value) == (
        f"{path}: cannot write the journal: no space left on device: "
        "the answers before are safe: free some space and run the same command again"
    )


def test_room_for_lines_is_there_when_the_disk_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is used, there is none for further ones."""
    write, taken, full = os.write, [True], OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(fd: int, data: bytes) -> int:
        if taken[0]:
            raise full
        return write(fd, data)

    class Reserve(DiskReserve):
        def grow(self, size: int) -> None:
            if self.size == 0 and not taken[0]:
                raise full
            super().grow(size)

        def release(self) -> None:
            taken[0] = False
            super().release()

    monkeypatch.setattr(module, "DiskReserve", Reserve)
    with Journal(str(path)) as journal:
        journal.make_room(2)
        monkeypatch.setattr(os, "write", fill)
        journal.append(LINES[0])
        with refused(
            CannotWrite,
            what="no room for another answer: no space left on device",
            place=str(path),
            fix="the answers before are safe: free some space and run the same command again",
        ):
            journal.make_room(1)
        journal.append(LINES[1])
    assert path.read_bytes() == HEADER + LINES[0] + b"\n" + LINES[1] + b"\n"
    assert list(path.parent.iterdir()) == [path]


@cases(
    ("lines", "longest", "size"),
    {
        "one": (1, 10, 4 << 10),
        "several": (3, 10, 12 << 10),
        "long ones": (2, 9_000, 18_000),
        "longer ones": (2, 1 << 20, 128 << 10),
        "many": (5_000, 10, 16 << 20),
    },
)
def test_the_room_is_that_of_the_longest_line_for_each(
    lines: int, longest: int, size: int, path: Path
) -> None:
    with Journal(str(path)) as journal:
        journal.append(b"x" * longest)
        journal.make_room(lines)
        assert journal._reserve.size == size


def test_a_limit_of_files_leaves_room_for_the_lines_in_flight(path: Path) -> None:
    with largest_file(10_000), Journal(str(path)) as journal:
        journal.make_room(2)
        journal.append(b"x" * 2_000)
        with pytest.raises(
            CannotWrite, match=r"no room for another answer: file too large: .* raise the limit"
        ):
            journal.make_room(2)
        journal.append(b"x" * 4_000)


def test_a_part_that_could_not_be_taken_back_is_before_the_next_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(fd: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Journal(str(path)) as journal:
        journal.append(LINES[0])
        monkeypatch.setattr(os, "ftruncate", stuck)
        with largest_file(path.stat().st_size + 5), pytest.raises(CannotWrite):
            journal.append(LINES[1])
        assert path.read_bytes() == HEADER + LINES[0] + b"\n" + LINES[1][:5]
        with pytest.raises(CannotWrite):
            journal.append(LINES[1])
        monkeypatch.undo()
        journal.append(LINES[1])
        journal.append(LINES[2])
        monkeypatch.setattr(os, "ftruncate", stuck)
        with largest_file(path.stat().st_size + 5), pytest.raises(CannotWrite):
            journal.append(LINES[1])
        monkeypatch.undo()
    assert path.read_bytes() == WHOLE


@cases(
    ("broken", "end", "what"),
    {
        "close": ("is_current_entry", Journal.close, "cannot read the journal"),
        "remove": ("is_current_entry", Journal.remove, "cannot remove the journal"),
        "remove, read-only": ("unlink", Journal.remove, "cannot remove the journal"),
    },
)
def test_a_disk_that_fails_at_the_end_is_74_and_the_lock_is_gone(
    broken: str, end: Callable[[Journal], None], what: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = Journal(str(path))
    monkeypatch.setattr(os if broken == "unlink" else module, broken, fail)
    with refused(CannotWrite, what=f"{what}: input/output error", place=str(path)):
        end(journal)
    assert not is_locked(path)
    assert path.read_bytes() == HEADER


def test_a_full_disk_at_the_header_is_74_and_can_be_continued(path: Path) -> None:
    with (
        largest_file(7),
        pytest.raises(CannotWrite, match=r"too large: .* raise the limit .* and run the same"),
    ):
        Journal(str(path))
    with Journal(str(path)) as journal:
        journal.append(LINES[0])
    assert path.read_bytes() == HEADER + LINES[0] + b"\n"


def test_a_full_disk_leaves_no_empty_file(path: Path) -> None:
    def open_on_full_disk() -> None:
        with largest_file(0), pytest.raises(CannotWrite):
            Journal(str(path))

    open_on_full_disk()
    assert not path.exists()
    path.touch()  # this one is somebody else's
    open_on_full_disk()
    assert path.read_bytes() == b""


def test_a_journal_that_was_removed_during_the_run_is_written_anew(path: Path) -> None:
    console: list[str] = []
    journal = Journal(str(path), notice=console.append)
    journal.append(LINES[0])
    path.unlink()
    journal.append(LINES[1])
    journal.close()
    assert console == [f"{path}: the journal was removed during the run: its answers were saved as '{path}'"]
    assert path.read_bytes() == HEADER + LINES[0] + b"\n" + LINES[1] + b"\n"


def test_a_journal_whose_name_was_taken_is_saved_as_a_part(path: Path) -> None:
    console: list[str] = []
    journal = Journal(str(path), notice=console.append)
    journal.append(LINES[0])
    path.unlink()
    path.write_bytes(b"another's")
    journal.close()
    assert console == [
        f"{path}: the journal was removed during the run: its answers were saved as '{path}.chatpipe-part'"
    ]
    assert path.read_bytes() == b"another's"
    assert Path(f"{path}.chatpipe-part").read_bytes() == HEADER + LINES[0] + b"\n"


def test_answers_that_cannot_be_saved_are_74(path: Path) -> None:
    journal = Journal(str(path))
    path.unlink()
    path.touch()
    Path(f"{path}.chatpipe-part").touch()
    with pytest.raises(CannotWrite, match="was removed during the run, and others have taken its name"):
        journal.close()


def test_a_directory_that_was_removed_with_it_is_74(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    journal = Journal(str(tmp_path / "runs" / "journal"))
    (tmp_path / "runs" / "journal").unlink()
    (tmp_path / "runs").rmdir()
    with pytest.raises(CannotWrite, match="removed during the run and cannot be written anew: no such file"):
        journal.close()


def test_a_journal_that_was_renamed_is_left_there(path: Path, tmp_path: Path) -> None:
    console: list[str] = []
    journal = Journal(str(path), notice=console.append)
    journal.append(LINES[0])
    path.rename(tmp_path / "renamed")
    journal.close()
    assert console == [f"{path}: the journal was renamed during the run: its answers are under the new name"]
    assert os.listdir(tmp_path) == ["renamed"]


def test_a_journal_that_somebody_emptied_is_one_again(path: Path) -> None:
    with Journal(str(path)) as journal:
        journal.append(LINES[0])
        os.truncate(path, 0)
        offset = journal.append(LINES[1])
    assert path.read_bytes() == HEADER + LINES[1] + b"\n"
    assert offset == len(HEADER)


def test_a_removed_journal_is_also_reported_if_the_run_fails(path: Path) -> None:
    console: list[str] = []
    journal = Journal(str(path), notice=console.append)
    journal.append(LINES[0])
    path.unlink()
    with pytest.raises(RuntimeError, match="the cause"), journal:
        raise RuntimeError("the cause")
    assert console == [f"{path}: the journal was removed during the run: its answers were saved as '{path}'"]
    assert path.read_bytes() == HEADER + LINES[0] + b"\n"


def test_an_error_on_its_way_is_not_hidden_by_closing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    console: list[str] = []
    monkeypatch.setattr(module, "_sync", broken)
    with pytest.raises(RuntimeError, match="the cause"), Journal(str(path), notice=console.append):
        raise RuntimeError("the cause")
    assert console == [f"{path}: cannot write the journal: input/output error"]


# keeping less


FINISHED = HEADER[:-2] + b',"finished":true}\n'
MARK = HEADER[:-2] + b',"finished":true,"unused":true}\n'


@cases(
    ("lines", "expected"),
    {
        "answers": (LINES[0] + b"\n", HEADER + LINES[0] + b"\n" + FINISHED),
        "nothing": (b"", HEADER),
        "finished before": (LINES[0] + b"\n" + FINISHED, HEADER + LINES[0] + b"\n" + FINISHED),
        "unused answers": (LINES[0] + b"\n" + MARK, HEADER + LINES[0] + b"\n" + MARK),
    },
)
def test_a_finished_run_is_marked_once(lines: bytes, expected: bytes, path: Path) -> None:
    path.write_bytes(HEADER + lines)
    Journal(str(path)).finish()
    assert path.read_bytes() == expected
    assert not is_locked(path)


def test_an_emptied_journal_has_no_mark(path: Path) -> None:
    journal = Journal(str(path))
    journal.append(LINES[0])
    os.truncate(path, 0)
    journal.finish()
    assert path.read_bytes() == HEADER


@pytest.mark.parametrize("before", [None, b"", HEADER])
def test_a_refused_run_leaves_no_new_journal(path: Path, before: bytes | None) -> None:
    """A file that was there before stays."""
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(OSError, match="refused"), Journal(str(path)):
        raise OSError("refused")
    assert path.exists() == (before is not None)


def test_a_refused_run_keeps_what_it_recorded(path: Path) -> None:
    journal = Journal(str(path))
    journal.append(LINES[0])
    journal.close(is_refused=True)
    assert path.read_bytes() == HEADER + LINES[0] + b"\n"


def test_keep_only_leaves_these_lines_and_a_mark(path: Path) -> None:
    journal = Journal(str(path))
    for line in LINES:
        journal.append(line)
    path.chmod(0o640)
    journal.compact(iter([LINES[1] + b"\n"]))
    assert path.read_bytes() == HEADER + LINES[1] + b"\n" + MARK
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(path.parent) == [path.name]
    assert not is_locked(path)
    with Journal(str(path)) as journal:
        journal.append(LINES[0])
    assert path.read_bytes() == HEADER + LINES[1] + b"\n" + MARK + LINES[0] + b"\n"


def test_keep_only_works_with_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    journal = Journal(str(path))
    journal.append(LINES[0])
    journal.compact([])
    assert path.read_bytes() == HEADER + MARK


def test_keep_only_leaves_all_lines_if_the_disk_is_full(path: Path) -> None:
    journal = Journal(str(path))
    for line in LINES:
        journal.append(line)
    before = path.read_bytes()
    with largest_file(len(HEADER) + 1):
        journal.compact(iter([LINES[1] + b"\n"]))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    assert not is_locked(path)


def test_keep_only_does_not_replace_a_file_that_took_the_name(path: Path) -> None:
    console: list[str] = []
    journal = Journal(str(path), notice=console.append)
    journal.append(LINES[0])
    path.unlink()
    path.write_bytes(b"another's")
    journal.compact([])
    assert path.read_bytes() == b"another's"
    assert Path(f"{path}.chatpipe-part").read_bytes() == HEADER + LINES[0] + b"\n"
    assert len(console) == 1


def test_interrupted_while_it_keeps_less_it_has_all(path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield LINES[0] + b"\n"
        raise KeyboardInterrupt

    journal = Journal(str(path))
    journal.append(LINES[0])
    journal.append(LINES[1])
    with pytest.raises(KeyboardInterrupt), journal:
        journal.compact(blocks())
    assert path.read_bytes() == HEADER + LINES[0] + b"\n" + LINES[1] + b"\n"
    assert os.listdir(path.parent) == [path.name]


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond size: the kernel takes what still fits, as on a full disk, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
