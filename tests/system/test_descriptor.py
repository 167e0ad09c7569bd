"""Bytes that go straight to a descriptor: stdout, and `-o` for what is not a regular file."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import socket
import stat
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatpipe.errors import CannotWrite
from chatpipe.system.descriptor import BrokenPipe, DescriptorOutput, Stdout, is_special, open_special
from chatpipe.system.replace import open_output
from support.parametrize import cases
from support.pipes import pipe
from support.refusals import refused


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """(what the screen shows, the terminal's descriptor); no newline translation."""
    screen, fd = os.openpty()
    tty.setraw(fd)
    try:
        yield screen, fd
    finally:
        os.close(screen)
        os.close(fd)


def contents(fd: int, size: int = 1 << 16) -> bytes:
    """The bytes that are there at this moment."""
    os.set_blocking(fd, False)
    return os.read(fd, size)


def shown(screen: int, expected: bytes) -> bytes:
    """What a terminal shows, as far as it is as long as expected: it is handed over a little later."""
    seen = b""
    while len(seen) < len(expected) and select.select([screen], [], [], 5)[0]:
        seen += os.read(screen, 1 << 16)
    return seen


def run(code: str, *, stdout: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, check=True)


# where it goes


def test_a_piece_has_left_when_write_returns() -> None:
    with pipe() as (reader, writer):
        out = Stdout(fd=writer)
        out.write(b"one")
        assert contents(reader) == b"one"
        out.write(b"\xc3")
        assert contents(reader) == b"\xc3"


def test_a_pipe_gets_every_byte_untouched() -> None:
    with pipe() as (reader, writer):
        Stdout(fd=writer).write(bytes(range(256)))
        assert contents(reader) == bytes(range(256))


def test_an_empty_piece_is_no_fault() -> None:
    with pipe() as (reader, writer):
        Stdout(fd=writer).write(b"")
        os.close(writer)
        assert os.read(reader, 1) == b""


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_slow_reader_gets_all_of_it(blocking: bool) -> None:
    data = bytes(range(256)) * 4096  # 16 times what a pipe holds
    got = bytearray()
    with pipe() as (reader, writer):
        os.set_blocking(writer, blocking)

        def read() -> None:
            while piece := os.read(reader, 50_000):
                got.extend(piece)

        thread = threading.Thread(target=read)
        thread.start()
        Stdout(fd=writer).write(data)
        os.close(writer)
        thread.join()
    assert got == data


def test_waiting_for_a_full_pipe_takes_no_processor_time() -> None:
    with pipe() as (reader, writer):
        os.set_blocking(writer, False)
        os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)))
        timer = threading.Timer(0.2, os.read, (reader, 1 << 20))
        used = resource.getrusage(resource.RUSAGE_THREAD)
        timer.start()
        Stdout(fd=writer).write(b"more")
        timer.join()
        now = resource.getrusage(resource.RUSAGE_THREAD)
    assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 0.1


# faults


def test_a_full_disk_is_reported() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(CannotWrite) as caught:
            Stdout(fd=fd).write(b"x")
    finally:
        os.close(fd)
    assert str(caught.value) == "stdout: cannot write: no space left on device: free some space"


def test_a_reader_that_went_away_is_a_broken_pipe() -> None:
    with pipe() as (reader, writer):
        os.close(reader)
        with pytest.raises(BrokenPipe):
            Stdout(fd=writer).write(b"x")


def test_a_reader_that_goes_away_while_we_wait_is_a_broken_pipe() -> None:
    with pipe() as (reader, writer):
        os.set_blocking(writer, False)
        timer = threading.Timer(0.05, os.close, (reader,))
        timer.start()
        with pytest.raises(BrokenPipe):
            Stdout(fd=writer).write(bytes(1 << 20))
        timer.join()


def test_a_socket_whose_other_end_is_closed_is_a_broken_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(BrokenPipe):
            Stdout(fd=ours.fileno()).write(b"x")


def test_a_closed_descriptor_on_write_and_on_commit() -> None:
    with pipe() as (_, writer):
        out = Stdout(fd=writer)
        os.close(writer)
        with pytest.raises(CannotWrite, match="cannot write: bad file descriptor"):
            out.write(b"x")
        with pytest.raises(CannotWrite, match="cannot write: bad file descriptor"):
            out.commit()


# terminals


HOSTILE = b"\x1b]0;owned\x07 \xe2\x80\xae caf\xc3\xa9 \xff\n"


def test_a_terminal_gets_controls_escaped() -> None:
    with terminal() as (screen, fd):
        out = Stdout(fd=fd)
        for byte in HOSTILE:
            out.write(bytes([byte]))
        out.commit()
        expected = rb"\x1b]0;owned\x07 \u202e " + "café".encode() + rb" \xff" + b"\n"
        assert shown(screen, expected) == expected


def test_a_terminal_gets_every_byte_without_escaping() -> None:
    with terminal() as (screen, fd):
        Stdout(escape=False, fd=fd).write(HOSTILE)
        assert shown(screen, HOSTILE) == HOSTILE


@pytest.mark.parametrize("end", ["commit", "keep_part"])
def test_a_terminal_gets_the_rest_at_the_end(end: str) -> None:
    with terminal() as (screen, fd):
        out = Stdout(fd=fd)
        out.write(b"ab\xc3")
        assert shown(screen, b"ab") == b"ab"
        getattr(out, end)()
        assert shown(screen, rb"\xc3") == rb"\xc3"


def test_a_terminal_that_was_named_is_escaped_too() -> None:
    with terminal() as (screen, fd), open_output(os.ttyname(fd)) as out:
        out.write(b"\x1b[2J")
        assert shown(screen, rb"\x1b[2J") == rb"\x1b[2J"


# -o for what is not a regular file


def test_dash_is_stdout(folder: Path) -> None:
    assert isinstance(open_output("-"), Stdout)
    assert os.listdir(folder) == []


def test_a_device_is_written_and_stays() -> None:
    with open_output(os.devnull) as out:
        out.write(b"x")
        out.commit()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_full_device_is_named() -> None:
    with open_output("/dev/full") as out, refused(CannotWrite, place="/dev/full"):
        out.write(b"x")


def test_a_fifo_is_written_and_stays(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    thread.start()
    with open_output(str(fifo)) as out:
        out.write(b"one ")
        out.write(b"two")
        out.commit()
    thread.join()
    assert got == [b"one two"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert os.listdir(tmp_path) == ["fifo"]


def test_a_socket_is_connected_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket's name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        listener.listen()
        with open_output("socket") as out:
            out.write(b"hello")
            out.commit()
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b"hello"
            assert connection.recv(100) == b""


@pytest.mark.usefixtures("folder")
def test_a_socket_that_nobody_listens_to() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    with pytest.raises(CannotWrite, match="cannot write: connection refused"):
        open_output("socket")


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_a_name_of_stdout_goes_on_where_stdout_stands(path: str, tmp_path: Path) -> None:
    """Neither is the file behind it replaced nor what another command of the list wrote."""
    if path == "link":
        path = str(tmp_path / "link")
        os.symlink("/dev/stdout", path)
    file = tmp_path / "file"
    with file.open("wb", buffering=0) as stdout:
        stdout.write(b"before ")
        inode = file.stat().st_ino
        run(
            "import sys; from chatpipe.system.replace import open_output\n"
            f"with open_output({path!r}) as out: out.write(b'x'); out.commit()",
            stdout=stdout.fileno(),
        )
        stdout.write(b" after")
    assert file.read_bytes() == b"before x after"
    assert file.stat().st_ino == inode


def test_a_descriptor_that_we_name_is_not_closed() -> None:
    with pipe() as (reader, writer):
        with open_output(f"/dev/fd/{writer}") as out:
            out.write(b"x")
        os.write(writer, b"y")
        assert contents(reader) == b"xy"


def test_a_descriptor_for_reading_is_refused_before_anything_is_written() -> None:
    with pipe() as (reader, _), pytest.raises(CannotWrite, match="it is open for reading only"):
        open_output(f"/dev/fd/{reader}")


def test_a_descriptor_that_is_not_open_is_reported() -> None:
    with pytest.raises(CannotWrite, match="cannot write: bad file descriptor"):
        open_output("/dev/fd/987654")


@pytest.mark.usefixtures("folder")
def test_a_file_whose_name_is_a_number_is_a_file() -> None:
    assert open_special("1") is None


def test_discard_closes_what_is_ours_once() -> None:
    with pipe() as (reader, writer):
        fd = os.dup(writer)
        os.close(writer)
        out = DescriptorOutput(fd, "out", close=True)
        out.discard()
        assert os.read(reader, 1) == b""
        os.dup2(reader, fd)  # somebody else gets the number
        out.discard()
        os.close(fd)


# What a path is


@pytest.mark.usefixtures("folder")
@cases(
    ("path", "expected"),
    {
        "a file": ("file", False),
        "a missing file": ("new", False),
        "a directory": (".", False),
        "a device": (os.devnull, True),
        "a FIFO": ("fifo", True),
        "a descriptor": ("/dev/fd/987654", True),
        "stdout": ("/dev/stdout", True),
    },
)
def test_special_files(path: str, expected: bool) -> None:
    Path("file").touch()
    os.mkfifo("fifo")
    assert is_special(path) is expected


def test_a_path_that_cannot_be_looked_up_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a missing file, nor for a device."""

    def fail(path: str) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "stat", fail)
    with refused(CannotWrite, "out: cannot write: stale file handle"):
        is_special("out")


@pytest.mark.usefixtures("folder")
@cases(
    ("special", "words"),
    {
        "a file now": (True, "is no longer a device or pipe"),
        "a FIFO now": (False, "it has become a device or a pipe"),
    },
)
def test_a_path_that_became_something_else_is_refused(special: bool, words: str) -> None:
    Path("out").touch() if special else os.mkfifo("out")
    with pytest.raises(CannotWrite, match=words):
        open_output("out", special=special)
