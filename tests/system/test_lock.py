"""A file that processes share: which one is locked, how long one waits, and what is no file."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatpipe.errors import CannotWrite, Interrupted, Status, TryLater, UsageFault
from chatpipe.system.lock import FileLocked, LockedFile, LockPatience, open_locked
from chatpipe.system.same_file import is_current
from support.refusals import refused


class Clock:
    """Time that passes only where it is slept; then() happens at the first sleep from `at` on."""

    def __init__(self, at: float = 0.0, then: Callable[[], None] = lambda: None) -> None:
        self.now = 0.0
        self.console: list[tuple[float, str]] = []
        self._at = at
        self._then: Callable[[], None] | None = then

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._then is not None and self.now >= self._at:
            then, self._then = self._then, None
            then()

    def patience(self, deadline_s: float | None = None) -> LockPatience:
        def note(text: str) -> None:
            self.console.append((self.now, text))

        return LockPatience(note, deadline_s, lambda: self.now, self.sleep)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "t")


@pytest.fixture
def take(path: str) -> Iterator[Callable[..., int]]:
    """Takes the lock of a file as another process does, which is as any other descriptor does."""
    fds: list[int] = []

    def open_and_lock(name: str = path) -> int:
        fds.append(os.open(name, os.O_RDWR | os.O_CREAT, 0o600))
        fcntl.flock(fds[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fds[-1]

    yield open_and_lock
    for fd in fds:
        os.close(fd)


def got(path: str, clock: Clock | None = None, access: int = os.O_RDWR, mode: int | None = 0o600) -> bool:
    """Whether the file was made; it is locked and unlocked."""
    fd, is_new = open_locked(path, access, (clock or Clock()).patience(), mode=mode)
    assert is_current(path, fd)
    os.close(fd)
    return is_new


def test_missing_file_is_made_with_its_mode(path: str) -> None:
    assert got(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not got(path)


def test_missing_file_is_not_made_without_a_mode(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        got(path, access=os.O_RDONLY, mode=None)
    assert not os.path.exists(path)


def test_link_leads_to_the_file_that_is_made_or_opened(tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "far").symlink_to("t")
    assert got(str(tmp_path / "link"))
    assert os.path.isfile(path)
    assert not got(str(tmp_path / "link"))


def test_lock_keeps_others_out_until_it_is_closed(path: str) -> None:
    fd, _ = open_locked(path, os.O_RDWR, Clock().patience(), mode=0o600)
    other = os.open(path, os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_readers_do_not_wait_for_each_other(path: str) -> None:
    Path(path).touch()
    first, _ = open_locked(path, os.O_RDONLY, Clock().patience())
    clock = Clock()
    assert not got(path, clock, os.O_RDONLY)
    assert clock.now == 0
    os.close(first)


def test_waiting_is_reported_once_after_two_seconds(path: str, take: Callable[..., int]) -> None:
    fd = take()
    clock = Clock(7.0, lambda: fcntl.flock(fd, fcntl.LOCK_UN))
    got(path, clock)
    assert [text for _, text in clock.console] == [f"waiting for '{path}', which another process has locked"]
    assert 2.0 <= clock.console[0][0] < 2.1
    assert 7.0 <= clock.now < 7.1


def test_waiting_ends_at_the_deadline(path: str, take: Callable[..., int]) -> None:
    take()
    clock = Clock()
    with pytest.raises(TryLater) as fault:
        open_locked(path, os.O_RDWR, clock.patience(3.0))
    assert 3.0 <= clock.now < 3.1
    what = "another process has had it locked for 3 s: end that process, or raise --deadline"
    assert str(fault.value) == f"{path}: {what}"


def test_locked_file_is_not_waited_for_longer_than_a_moment(path: str, take: Callable[..., int]) -> None:
    clock = Clock()
    file = LockedFile(lambda: os.open(path, os.O_RDWR | os.O_CREAT, 0o600), clock.sleep)
    assert file.run(lambda: 5) == 5
    fd = take()
    waits = []
    for _ in range(9):
        with pytest.raises(FileLocked) as locked:
            file.run(lambda: 5)
        waits.append(locked.value.wait_s)
    assert waits[0] == 0.002
    assert waits == sorted(waits)
    assert waits[-1] == 0.05
    assert 0 < clock.now < 0.1
    fcntl.flock(fd, fcntl.LOCK_UN)
    assert file.run(lambda: 5) == 5
    file.close()


def test_a_short_wait_is_not_reported(path: str, take: Callable[..., int]) -> None:
    fd = take()
    clock = Clock(1.9, lambda: fcntl.flock(fd, fcntl.LOCK_UN))
    got(path, clock)
    assert clock.console == []


def test_free_file_is_not_waited_for(path: str) -> None:
    clock = Clock()
    got(path, clock)
    assert clock.now == 0


def test_file_that_was_removed_meanwhile_is_made_anew(path: str, take: Callable[..., int]) -> None:
    fd = take()

    def remove() -> None:
        os.unlink(path)
        fcntl.flock(fd, fcntl.LOCK_UN)

    assert got(path, Clock(0.1, remove))


def test_file_that_was_replaced_meanwhile_is_the_new_one(path: str, take: Callable[..., int]) -> None:
    fd = take()

    def replace() -> None:
        Path(path + ".new").write_text("new")
        os.replace(path + ".new", path)
        fcntl.flock(fd, fcntl.LOCK_UN)

    got_fd, is_new = open_locked(path, os.O_RDWR, Clock(0.1, replace).patience(), mode=0o600)
    assert (os.pread(got_fd, 9, 0), is_new) == (b"new", False)
    os.close(got_fd)


def test_signal_ends_the_waiting_and_leaves_no_descriptor(path: str, take: Callable[..., int]) -> None:
    take()
    before = len(os.listdir("/dev/fd"))

    def interrupt() -> None:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        got(path, Clock(0.1, interrupt))
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("access", [os.O_RDWR, os.O_RDONLY], ids=["to write", "to read"])
@pytest.mark.parametrize("what", ["folder", "fifo", "device", "link to a folder"])
def test_a_path_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, what: str, access: int) -> None:
    path = tmp_path / "x"
    match what:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path = Path(os.devnull)
        case _:
            path.symlink_to(tmp_path)
    with refused(UsageFault, f"{path}: is not a regular file: name a file"):
        got(str(path), access=access)


@pytest.mark.parametrize("name", ["", "no/t", "t/", "loop"])
def test_a_path_that_cannot_be_opened_raises_the_systems_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError):  # noqa: PT011 - which one is the system's affair
        got(name)
    assert os.listdir(tmp_path) == ["loop"]


def test_file_system_without_locks(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CannotWrite) as fault:
        got(path)
    assert str(fault.value) == f"{path}: cannot be locked: no locks available"
    assert fault.value.status is Status.CANNOT_WRITE
