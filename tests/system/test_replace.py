"""`-o FILE` is replaced if and only if all went well, and leaves nothing else behind."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from chatpipe.errors import CannotWrite
from chatpipe.system import atomic
from chatpipe.system import replace as files
from chatpipe.system.replace import Replacement, open_output, write_side_file

NOBODY = 65534
LONG = "n" * 255
LONG_ACCENTS = "é" * 127 + "x"  # 255 bytes, cut at any even number within a character


@pytest.fixture
def out(folder: Path) -> Path:
    """An output that is there already."""
    path = folder / "out"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that also a user without rights can reach, unlike tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="chatpipe-test-"))
    path.chmod(0o777)
    yield path
    path.chmod(0o777)
    shutil.rmtree(path)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom permissions bind, also where root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def replace(path: str, data: bytes, *, if_changed: bool = False) -> None:
    with open_output(path, if_changed=if_changed) as out:
        out.write(data)
        out.commit()


def listing(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir() if entry.is_file()}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# replaced


def test_a_new_file_is_made(folder: Path) -> None:
    replace("out", b"new")
    assert listing(folder) == {"out": b"new"}


def test_an_old_file_stays_until_commit(out: Path) -> None:
    with open_output("out") as writer:
        writer.write(b"ne")
        writer.write(b"w")
        assert out.read_bytes() == b"old"
        writer.commit()
        assert out.read_bytes() == b"new"
    assert listing(out.parent) == {"out": b"new"}


def test_nothing_written_makes_an_empty_file(out: Path) -> None:
    replace("out", b"")
    assert listing(out.parent) == {"out": b""}


def test_the_temporary_file_has_the_documented_name(folder: Path) -> None:
    with open_output("out.txt") as out:
        out.write(b"x")
        (name,) = os.listdir(folder)
    assert re.fullmatch(r"\.out\.txt\.chatpipe-[0-9a-f]{12}", name)


def test_a_kill_before_the_first_byte_leaves_nothing(out: Path) -> None:
    """There is no temporary file yet: one was made and removed as a trial."""
    with open_output("out"):
        assert listing(out.parent) == {"out": b"old"}


def test_a_finished_output_cannot_be_committed_again(folder: Path) -> None:
    with open_output("out") as out:
        out.write(b"new")
        out.commit()
        with pytest.raises(ValueError, match="file descriptor"):
            out.commit()
    assert listing(folder) == {"out": b"new"}


@pytest.mark.parametrize("name", [LONG, LONG_ACCENTS], ids=["ascii", "accents"])
def test_a_name_of_255_bytes_is_written(folder: Path, name: str) -> None:
    replace(name, b"new")
    assert listing(folder) == {name: b"new"}


def test_a_name_that_is_not_utf_8_is_written(folder: Path) -> None:
    replace(os.fsdecode(b"\xff"), b"new")
    assert os.listdir(os.fsencode(folder)) == [b"\xff"]


def test_a_link_is_followed_and_stays(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data/real").write_bytes(b"old")
    os.symlink("data/real", "middle")
    os.symlink("middle", "link")
    with open_output("link") as out:
        out.write(b"new")
        assert len(os.listdir("data")) == 2
        out.commit()
    assert (os.readlink("link"), os.readlink("middle")) == ("middle", "data/real")
    assert listing(folder / "data") == {"real": b"new"}


def test_the_target_of_a_dangling_link_is_made(folder: Path) -> None:
    os.symlink("made", "link")
    replace("link", b"new")
    assert os.readlink("link") == "made"
    assert (folder / "made").read_bytes() == b"new"


def test_another_hard_link_keeps_the_old_content(out: Path) -> None:
    os.link("out", "other")
    replace("out", b"new")
    assert listing(out.parent) == {"out": b"new", "other": b"old"}


@pytest.mark.parametrize(
    ("old", "kept"),
    [(0o644, 0o644), (0o600, 0o600), (0o666, 0o666), (0o751, 0o751), (0o6755, 0o755)],
    ids=oct,
)
def test_the_mode_is_kept_but_not_setuid(out: Path, old: int, kept: int) -> None:
    out.chmod(old)
    replace("out", b"new")
    assert mode_of(out) == kept


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)], ids=oct)
def test_a_new_file_obeys_the_umask(folder: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        replace("out", b"new")
    finally:
        os.umask(before)
    assert mode_of(folder / "out") == mode


def test_a_private_file_is_never_readable_to_others(out: Path) -> None:
    out.chmod(0o600)
    with open_output("out") as writer:
        writer.write(b"n")
        (temporary,) = out.parent.glob(".out.*")
        assert mode_of(temporary) == 0o600


def test_where_modes_cannot_be_set_a_replaced_file_is_private(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    replace("out", b"new")
    assert mode_of(out) == 0o600


def test_the_content_is_on_disk_before_the_name_and_the_name_before_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.replace

    def record_fsync(fd: int) -> None:
        steps.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        fsync(fd)

    def record_rename(old: str, new: str) -> None:
        steps.append(f"rename to {new}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_rename)
    replace("out", b"new")
    assert steps == ["fsync file", f"rename to {folder}/out", "fsync directory"]


def test_owner_and_group_are_kept(out: Path) -> None:
    owner = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown("out", *owner)
    replace("out", b"new")
    now = out.stat()
    assert (now.st_uid, now.st_gid) == owner
    assert now.st_size == 3


def test_two_writers_at_once_each_replace_it_whole(folder: Path) -> None:
    with open_output("out") as one, open_output("out") as two:
        one.write(b"one")
        two.write(b"two")
        two.commit()
        assert (folder / "out").read_bytes() == b"two"
        one.commit()
    assert listing(folder) == {"out": b"one"}


def test_a_reader_never_sees_half_a_file(folder: Path) -> None:
    contents = [letter * 300_000 for letter in (b"a", b"b", b"c")]
    replace("out", contents[0])

    def replace_often(data: bytes) -> None:
        for _ in range(5):
            replace("out", data)

    threads = [threading.Thread(target=replace_often, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        seen.append((folder / "out").read_bytes())
    assert all(data in contents for data in seen)
    assert os.listdir(folder) == ["out"]


def test_a_temporary_name_that_is_taken_is_left_to_its_owner(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".out.chatpipe-000000000000").write_bytes(b"theirs")
    random = iter([bytes(6), b"\1" * 6, bytes(6), b"\1" * 6])
    monkeypatch.setattr(os, "urandom", lambda size: next(random))
    with locked(folder / ".out.chatpipe-000000000000"), open_output("out") as out:
        out.write(b"ours")
        assert (folder / ".out.chatpipe-010101010101").exists()
    assert listing(folder) == {".out.chatpipe-000000000000": b"theirs"}


# left by a run that was killed

ABANDONED = ".out.chatpipe-0123456789ab"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As its maker holds it."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_the_next_output_removes_temporary_files_whose_makers_were_killed(out: Path) -> None:
    for name in (ABANDONED, ".out.chatpipe-ba9876543210"):
        (out.parent / name).write_bytes(b"half")
    with open_output("out"):
        assert listing(out.parent) == {"out": b"old"}


def test_it_removes_those_beside_the_target_of_a_link(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data/.real.chatpipe-0123456789ab").write_bytes(b"half")
    os.symlink("data/real", "link")
    with open_output("link"):
        assert os.listdir("data") == []


def test_it_removes_none_that_its_maker_has_locked(folder: Path) -> None:
    (folder / ABANDONED).write_bytes(b"half")
    with locked(folder / ABANDONED), open_output("out"):
        assert listing(folder) == {ABANDONED: b"half"}


@pytest.mark.parametrize(
    "name",
    [
        ".out.chatpipe-0123456789a",
        ".out.chatpipe-0123456789abc",
        ".out.chatpipe-0123456789AB",
        ".out.chatpipe-0123456789ab.part",
        ".out.chatpipe-notes-of-me",
        ".out.chatpipe-part",
        ".out.txt.chatpipe-0123456789ab",
        "out.chatpipe-0123456789ab",
        ".out.0123456789ab.tmp",
    ],
)
def test_it_removes_none_whose_name_only_looks_like_one(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"mine")
    with open_output("out"):
        assert listing(folder) == {name: b"mine"}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda name: os.symlink("mine", name)])
def test_it_removes_nothing_but_regular_files(folder: Path, make: Any) -> None:
    (folder / "mine").write_bytes(b"mine")
    make(ABANDONED)
    with open_output("out"):
        assert sorted(os.listdir()) == [ABANDONED, "mine"]


def test_the_temporary_file_is_locked_until_it_has_its_new_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def try_to_remove(old: str, new: str) -> None:
        atomic.remove_abandoned(f"{folder}/out")
        rename(old, new)

    monkeypatch.setattr(os, "replace", try_to_remove)
    replace("out", b"new")
    atomic.replace_whole(f"{folder}/whole", 0o666, [b"new"])
    assert listing(folder) == {"out": b"new", "whole": b"new"}


def test_one_that_is_removed_before_its_maker_has_locked_it_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file, left = os.open, [ABANDONED]

    def open_and_lose(path: str, flags: int, mode: int = 0o777) -> int:
        fd = open_file(path, flags, mode)
        if flags & os.O_EXCL and left:
            left.clear()
            atomic.remove_abandoned(f"{folder}/out")
        return fd

    monkeypatch.setattr(os, "open", open_and_lose)
    name, fd = atomic.create_temporary(f"{folder}/out", 0o666, os.O_WRONLY)
    os.close(fd)
    assert [f"{folder}/{each}" for each in os.listdir()] == [name]
    atomic.remove_temporary(name)


def test_without_locks_files_are_written_and_none_is_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (folder / ABANDONED).write_bytes(b"half")
    replace("out", b"new")
    assert listing(folder) == {ABANDONED: b"half", "out": b"new"}


# --if-changed


BIG = bytes(300_000)
CHANGES = {
    "same": (b"data", b"data", False),
    "both-empty": (b"", b"", False),
    "big-and-same": (BIG, BIG, False),
    "other-byte": (b"data", b"date", True),
    "shorter": (b"data", b"dat", True),
    "longer": (b"data", b"data\n", True),
    "last-byte-of-many": (BIG + b"a", BIG + b"b", True),
}


@pytest.mark.parametrize(("old", "new", "replaced"), CHANGES.values(), ids=CHANGES)
def test_if_changed_leaves_the_same_content_and_its_times(
    folder: Path, old: bytes, new: bytes, replaced: bool
) -> None:
    file = folder / "out"
    file.write_bytes(old)
    os.utime(file, ns=(1_000_000_001, 1_000_000_001))
    before = file.stat()
    replace("out", new, if_changed=True)
    after = file.stat()
    assert (after.st_ino != before.st_ino, after.st_mtime_ns != 1_000_000_001) == (replaced, replaced)
    assert listing(folder) == {"out": new}


def test_without_if_changed_the_same_content_is_new(folder: Path) -> None:
    (folder / "out").write_bytes(b"data")
    os.utime("out", ns=(1, 1))
    replace("out", b"data")
    assert (folder / "out").stat().st_mtime_ns > 1


def test_if_changed_makes_a_missing_file(folder: Path) -> None:
    replace("out", b"", if_changed=True)
    assert listing(folder) == {"out": b""}


# not replaced


def test_leaving_without_commit_leaves_nothing(out: Path) -> None:
    with open_output("out") as writer:
        writer.write(b"new")
    assert listing(out.parent) == {"out": b"old"}


def test_an_exception_leaves_nothing(folder: Path) -> None:
    with suppress(KeyboardInterrupt), open_output("out") as out:
        out.write(b"new")
        raise KeyboardInterrupt
    assert os.listdir(folder) == []


def test_discard_may_be_repeated_and_harms_no_commit(folder: Path) -> None:
    with open_output("out") as out:
        out.write(b"new")
        out.commit()
        out.discard()
        out.discard()
    assert listing(folder) == {"out": b"new"}


def is_interrupted(path: str, line: int) -> bool:
    """Replace path, with Ctrl-C at the line-th line run in the two modules. False: they had fewer."""
    left = line

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in (files.__file__, atomic.__file__):
            return None
        left -= event == "line"
        if left == 0:
            raise KeyboardInterrupt
        return trace

    def run() -> None:
        sys.settrace(trace)
        with suppress(KeyboardInterrupt):
            replace(path, b"new")

    thread = threading.Thread(target=run)  # a tracer that raises upsets what its thread knows of exceptions
    thread.start()
    thread.join()
    return left <= 0


def test_interrupted_at_any_line_the_file_is_old_or_new_and_alone(folder: Path) -> None:
    """discard_all cleans up after an interrupt that no `with` block can catch."""
    (folder / "out").write_bytes(b"old")
    line = 1
    while is_interrupted("out", line):
        atomic.discard_all()
        assert listing(folder) in ({"out": b"old"}, {"out": b"new"}), f"at line {line}"
        (folder / "out").write_bytes(b"old")
        line += 1
    assert listing(folder) == {"out": b"new"}
    assert line > 40


def test_discard_all_does_not_touch_what_is_finished(folder: Path) -> None:
    kept = Replacement("kept")
    kept.write(b"part")
    kept.keep_part()
    replace("done", b"new")
    lost = Replacement("lost")
    atomic.discard_all()
    assert listing(folder) == {"kept.chatpipe-part": b"part", "done": b"new"}
    lost.discard()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    code = """if True:
        import signal, sys
        from chatpipe.system.replace import open_output
        def stop(number, frame): raise SystemExit(9)
        for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, stop)
        with open_output("out") as out:
            out.write(b"new")
            print("ready", flush=True)
            signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert len(os.listdir(folder)) == 1
        process.send_signal(number)
        assert process.wait() == 9
    assert os.listdir(folder) == []


# refused before anything is sent


def what_is_refused(path: str) -> str:
    with pytest.raises(CannotWrite) as caught:
        open_output(path)
    assert caught.value.place == path
    return caught.value.what


UNWRITABLE = {
    "a directory": ("{folder}", "cannot write: is a directory"),
    "a link to a directory": ("here", "cannot write: is a directory"),
    "a name that ends in a slash": ("new/", "cannot write: no such file or directory"),
    "an empty name": ("", "cannot write: the name is empty"),
    "a NUL in the name": ("a\0b", "cannot write: NUL byte in its name"),
    "in a missing directory": (
        "missing/out",
        "cannot make a file in '{folder}/missing': no such file or directory",
    ),
    "a dangling link into a missing directory": (
        "nowhere",
        "cannot make a file in '{folder}/missing': no such file or directory",
    ),
    "a path below a file": ("file/out", "cannot write: not a directory"),
    "links in a circle": ("one", "cannot write: too many levels of symbolic links"),
    "a name that is too long": ("n" * 256, "cannot write: file name too long"),
}


@pytest.mark.parametrize(("name", "line"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_name_that_cannot_be_written_is_refused(folder: Path, name: str, line: str) -> None:
    (folder / "file").write_bytes(b"")
    for link, target in (("here", "."), ("nowhere", "missing/out"), ("one", "two"), ("two", "one")):
        os.symlink(target, link)
    assert what_is_refused(name.format(folder=folder)) == line.format(folder=folder)


def test_a_directory_that_we_may_not_write(public: Path) -> None:
    (public / "out").write_bytes(b"old")
    (public / "out").chmod(0o666)
    public.chmod(0o555)
    with without_rights():
        assert what_is_refused(str(public / "out")) == f"cannot make a file in '{public}': permission denied"


def test_a_file_that_we_may_not_write(public: Path) -> None:
    (public / "out").write_bytes(b"old")
    (public / "out").chmod(0o444)
    with without_rights():
        assert what_is_refused(str(public / "out")) == "cannot write: permission denied"
    assert listing(public) == {"out": b"old"}


def test_a_file_of_someone_else_that_we_may_write_becomes_ours(public: Path) -> None:
    (public / "out").write_bytes(b"old")
    (public / "out").chmod(0o666)
    with without_rights():
        replace(str(public / "out"), b"new")
        me = os.geteuid()
    assert (public / "out").read_bytes() == b"new"
    assert ((public / "out").stat().st_uid, mode_of(public / "out")) == (me, 0o666)


# faults later on


def test_a_file_size_limit_is_reported_and_leaves_nothing(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_output("out") as out:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(CannotWrite) as caught:
                out.write(bytes(1001))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == "out: cannot write: file too large: raise the limit that 'ulimit -f' shows"
    assert os.listdir(folder) == []


def test_a_rename_that_fails_keeps_the_part_and_says_so(folder: Path) -> None:
    with open_output("out") as out:
        out.write(b"new")
        os.mkdir("out")
        with pytest.raises(CannotWrite) as caught:
            out.commit()
    assert (
        str(caught.value)
        == "out: cannot replace the file: is a directory: what arrived is in 'out.chatpipe-part'"
    )
    assert listing(folder) == {"out.chatpipe-part": b"new"}


# FILE.chatpipe-part


def keep(path: str, data: bytes) -> str | None:
    with open_output(path) as out:
        out.write(data)
        return out.keep_part()


def test_a_part_is_kept_beside_the_old_file(out: Path) -> None:
    out.chmod(0o640)
    assert keep("out", b"half") == "out.chatpipe-part"
    assert listing(out.parent) == {"out": b"old", "out.chatpipe-part": b"half"}
    assert mode_of(out.parent / "out.chatpipe-part") == 0o640


def test_a_part_replaces_an_older_one(folder: Path) -> None:
    (folder / "out.chatpipe-part").write_bytes(b"older and longer")
    assert keep("out", b"half") == "out.chatpipe-part"
    assert listing(folder) == {"out.chatpipe-part": b"half"}


def test_a_longer_part_that_begins_with_the_new_one_stays(folder: Path) -> None:
    """An earlier run of the same input came further, for example because the disk had more room."""
    (folder / "out.chatpipe-part").write_bytes(b"half of it")
    assert keep("out", b"half") == "out.chatpipe-part"
    assert listing(folder) == {"out.chatpipe-part": b"half of it"}


def test_a_fifo_in_place_of_a_part_is_replaced_and_not_read(folder: Path) -> None:
    os.mkfifo("out.chatpipe-part")
    assert keep("out", b"half") == "out.chatpipe-part"
    assert listing(folder) == {"out.chatpipe-part": b"half"}


def test_nothing_came_and_an_older_part_stays(folder: Path) -> None:
    (folder / "out.chatpipe-part").write_bytes(b"older")
    assert keep("out", b"") is None
    assert listing(folder) == {"out.chatpipe-part": b"older"}


def test_content_of_unknown_size_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with open_output("out") as out:
        out.write(b"half")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", fail)
            assert out.keep_part() == "out.chatpipe-part"
    assert listing(folder) == {"out.chatpipe-part": b"half"}


def test_the_part_is_beside_the_name_that_the_user_gave(folder: Path) -> None:
    (folder / "data").mkdir()
    os.symlink("data/real", "link")
    assert keep("link", b"half") == "link.chatpipe-part"
    assert listing(folder) == {"link.chatpipe-part": b"half"}
    assert os.listdir("data") == []


def test_a_part_is_beside_the_file_itself_where_the_given_name_is_taken(folder: Path) -> None:
    (folder / "data").mkdir()
    os.symlink("data/real", "link")
    os.mkdir("link.chatpipe-part")
    assert keep("link", b"half") == f"{folder}/data/real.chatpipe-part"
    assert listing(folder / "data") == {"real.chatpipe-part": b"half"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (LONG, "n" * 120 + ".chatpipe-part"),
        (LONG_ACCENTS, "é" * 60 + ".chatpipe-part"),
        ("n" * 241, "n" * 241 + ".chatpipe-part"),
    ],
    ids=["ascii", "accents", "just-fits"],
)
def test_the_name_of_a_part_is_cut_only_when_it_must_be(folder: Path, name: str, part: str) -> None:
    assert keep(name, b"half") in (part, f"{folder}/{part}")
    assert listing(folder) == {part: b"half"}


def test_if_nothing_else_can_be_done_the_temporary_file_stays_and_is_named(folder: Path) -> None:
    os.mkdir("out.chatpipe-part")
    with open_output("out") as out:
        out.write(b"half")
        with pytest.raises(CannotWrite) as caught:
            out.keep_part()
    atomic.discard_all()
    with open_output("out"):  # the next run does not take it for one of a run that was killed
        pass
    ((name, data),) = listing(folder).items()
    assert data == b"half"
    assert caught.value.fix == f"it is in '{folder}/{name}'"


def test_after_commit_there_is_no_part(folder: Path) -> None:
    with open_output("out") as out:
        out.write(b"new")
        out.commit()
        assert out.keep_part() is None
    assert listing(folder) == {"out": b"new"}


def test_the_part_of_an_earlier_failure_goes_with_a_good_file(out: Path) -> None:
    """A user's own .part stays."""
    (out.parent / "out.part").write_bytes(b"mine")
    keep("out", b"half")
    replace("out", b"new")
    assert listing(out.parent) == {"out": b"new", "out.part": b"mine"}


def test_the_part_goes_although_the_file_has_not_changed(out: Path) -> None:
    keep("out", b"half")
    replace("out", b"old", if_changed=True)
    assert listing(out.parent) == {"out": b"old"}


def test_the_parts_of_other_files_stay(folder: Path) -> None:
    """The name of a part is cut only where it has to be."""
    for name in ("n" * 120 + ".chatpipe-part", "other.chatpipe-part"):
        (folder / name).write_bytes(b"half")
    replace("n" * 200, b"new")
    assert len(listing(folder)) == 3


# side files


def test_a_side_file_is_replaced(folder: Path) -> None:
    (folder / "out.d").write_bytes(b"old")
    write_side_file("out.d", b"new")
    assert listing(folder) == {"out.d": b"new"}


def test_a_side_file_that_did_not_change_is_left_alone(folder: Path) -> None:
    (folder / "out.d").write_bytes(b"same")
    os.utime("out.d", ns=(1, 1))
    write_side_file("out.d", b"same", if_changed=True)
    assert (folder / "out.d").stat().st_mtime_ns == 1


def test_a_side_file_may_be_a_device() -> None:
    with pytest.raises(CannotWrite, match="no space left on device"):
        write_side_file("/dev/full", b"x")
    write_side_file(os.devnull, b"x")


def test_a_side_file_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(old: str, new: str) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")  # what renaming over a mount point says

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CannotWrite, match="cannot replace the file: device or resource busy"):
        write_side_file("out.d", b"x")
    assert os.listdir(folder) == []


def test_a_side_file_is_tried_before_anything_is_sent(folder: Path) -> None:
    files.check_side_file("out.d")
    files.check_side_file("-")
    files.check_side_file(os.devnull)
    with pytest.raises(CannotWrite, match="no such file or directory"):
        files.check_side_file("no-such-folder/out.d")
    assert os.listdir(folder) == []


# what it is, and what it holds


@pytest.mark.parametrize("exists", [False, True])
def test_a_device_that_is_none_any_more_is_refused(folder: Path, exists: bool) -> None:
    if exists:
        (folder / "out").write_bytes(b"mine")
    with pytest.raises(CannotWrite) as caught:
        open_output("out", special=True)
    assert str(caught.value) == "out: is no longer a device or pipe: run the same command again"
    assert listing(folder) == ({"out": b"mine"} if exists else {})


def test_no_descriptor_is_left(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a `with` block, too."""
    before = len(os.listdir("/dev/fd"))
    for content in (b"", b"new"):
        for end in (Replacement.commit, Replacement.replace, Replacement.keep_part, Replacement.discard):
            output = Replacement("out", if_changed=True)
            output.write(content)
            end(output)
            assert len(os.listdir("/dev/fd")) == before
    (out.parent / "out.chatpipe-part").unlink()
    (out.parent / "out.chatpipe-part").mkdir()
    output = Replacement("out")
    output.write(b"kept")
    with pytest.raises(CannotWrite):
        output.keep_part()
    assert len(os.listdir("/dev/fd")) == before


def test_an_interrupt_while_attributes_are_copied_leaves_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(fd: int, mode: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fchmod", interrupt)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(KeyboardInterrupt):
        Replacement("out")
    assert listing(out.parent) == {"out": b"old"}
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("size", [1, 1 << 18, (1 << 18) + 1, 1 << 20])
@pytest.mark.parametrize("at", [0, -1])
def test_a_changed_byte_is_a_change(folder: Path, size: int, at: int) -> None:
    content = bytearray(size)
    replace("out", bytes(content))
    os.utime("out", ns=(1, 1))
    replace("out", bytes(content), if_changed=True)
    assert (folder / "out").stat().st_mtime_ns == 1
    content[at] = 1
    replace("out", bytes(content), if_changed=True)
    assert (folder / "out").read_bytes() == content
    replace("out", bytes(content)[:-1], if_changed=True)
    assert (folder / "out").read_bytes() == content[:-1]
