"""The identity of files, by every way to name one."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from chatpipe.system.same_file import FileId, descriptor_of, identify, is_current, resolve_path
from support.parametrize import cases


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "other"):
        Path(name).touch()
    Path("sub").mkdir()
    Path("aside").symlink_to("sub")
    Path("link").symlink_to("in")
    Path("dangling").symlink_to("sub/new")
    os.link("in", "hard")
    os.mkfifo("fifo")
    return tmp_path


@cases(
    ("one", "other", "expected"),
    {
        "another spelling": ("in", ".//sub/../in", True),
        "a symbolic link": ("in", "link", True),
        "a hard link": ("in", "hard", True),
        "another file": ("in", "other", False),
        "a FIFO": ("fifo", "./fifo", True),
        "missing": ("new", "./sub/../new", True),
        "missing, by a link to its folder": ("sub/new", "aside/new", True),
        "missing, by a link to it": ("sub/new", "dangling", True),
        "missing, another name": ("new", "newer", False),
        "missing, in another folder": ("new", "sub/new", False),
        "missing, in a missing folder": ("no/new", "./no/new", True),
        "missing, another case": ("new", "NEW", False),
    },
)
def test_names_of_one_file_have_one_key(one: str, other: str, expected: bool) -> None:
    assert (identify(one).key == identify(other).key) is expected


def test_case_is_no_difference_where_the_folder_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: lstat(os.fsdecode(path).lower()))
    monkeypatch.chdir("sub")
    Path("entry").touch()
    monkeypatch.setattr(os.path, "realpath", lambda path: os.path.join("..", "sub", path))
    assert identify("Stra\u00dfe").key == identify("STRASSE").key
    assert identify("a\u0308").key == identify("\u00c4").key


def test_a_descriptor_has_the_key_of_its_file() -> None:
    with open("in", "rb") as file:
        found = identify(f"/dev/fd/{file.fileno()}")
        assert found == FileId(identify("link").key, file.fileno())


@cases(
    "path",
    {
        "a device": os.devnull,
        "a folder": "sub",
        "a socket": "socket",
        "a loop of links": "loop",
        "a NUL": "a\0b",
        "a file as a folder": "in/x",
        "a name that is too long": "n" * 300,
        "a closed descriptor": "/dev/fd/999",
    },
)
def test_what_is_no_single_file_has_no_key(path: str) -> None:
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert identify(path).key is None


@cases(
    ("path", "descriptor"),
    {
        "/dev/stdin": ("/dev/stdin", 0),
        "/dev/stdout": ("/dev/stdout", 1),
        "/dev/stderr": ("/dev/stderr", 2),
        "/dev/fd/N": ("/dev/fd/7", 7),
        "/proc/self/fd/N": ("/proc/self/fd/1", 1),
        "/proc/PID/fd/N": (f"/proc/{os.getpid()}/fd/1", 1),
        "a link": ("to-stdout", 1),
        "a file": ("in", None),
        "a file whose name is a number": ("7", None),
        "a NUL": ("/dev/fd\0/1", None),
    },
)
def test_names_of_descriptors(path: str, descriptor: int | None) -> None:
    Path("to-stdout").symlink_to("/dev/stdout")
    assert descriptor_of(path) == descriptor


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_link_that_cannot_be_read_is_no_file_of_its_own(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-o would replace the link, and leave the file that it names."""
    assert resolve_path("link") == str(tmp_path.resolve() / "in")
    assert resolve_path("dangling") == str(tmp_path.resolve() / "sub" / "new")

    def fail(path: object, **_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "readlink", fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        resolve_path("link")


def test_a_status_that_cannot_be_read_says_nothing_about_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open("in") as file:
        assert is_current("in", file.fileno())
        assert not is_current("gone", file.fileno())
        assert not is_current("in/below", file.fileno())

        def fail(path: object) -> None:
            raise OSError(errno.ESTALE, "stale")

        monkeypatch.setattr(os, "stat", fail)
        with pytest.raises(OSError, match="stale"):
            is_current("in", file.fileno())
