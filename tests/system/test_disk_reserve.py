"""Room on a disk that is kept, and disks that are full before anything is sent."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatpipe.errors import CannotWrite
from chatpipe.system.descriptor import DescriptorOutput
from chatpipe.system.disk_reserve import DiskReserve
from chatpipe.system.replace import Replacement
from support.parametrize import cases


def held() -> int:
    """The number of open descriptors."""
    return len(os.listdir("/dev/fd"))


def test_a_reserve_takes_room_and_no_name(tmp_path: Path) -> None:
    before = held()
    reserve = DiskReserve(str(tmp_path / "file"))
    reserve.grow(100_000)
    assert os.fstat(reserve._fd).st_size == 100_000
    reserve.grow(300_000)
    assert (os.fstat(reserve._fd).st_size, reserve.size) == (300_000, 300_000)
    assert list(tmp_path.iterdir()) == []
    reserve.release()
    assert (held(), reserve.size) == (before, 0)
    reserve.release()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_gets_back_what_there_was(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, pwrite = held(), os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset >= 64 << 10:
            raise OSError(code, os.strerror(code))
        return pwrite(fd, data, offset)

    reserve = DiskReserve(str(tmp_path / "file"))
    reserve.grow(4096)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=os.strerror(code)):
        reserve.grow(100_000)
    assert (os.fstat(reserve._fd).st_size, reserve.size) == (4096, 4096)
    reserve.release()
    assert held() == before


@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_folder_or_a_disk_that_reserves_nothing_is_no_error(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    reserve = DiskReserve(str(tmp_path / "file"))
    monkeypatch.setattr(os, call, refuse)
    reserve.grow(4096)
    monkeypatch.undo()
    reserve.release()


@cases(
    ("blocks", "free", "for_root", "user", "is_full"),
    {
        "room": (100, 1, 5, 1000, False),
        "none": (100, 0, 0, 1000, True),
        "none but for root": (100, 0, 5, 1000, True),
        "root": (100, 0, 5, 0, False),
        "none for root": (100, 0, 0, 0, True),
        "a file system that does not say": (0, 0, 0, 1000, False),
    },
)
@pytest.mark.parametrize("kind", ["file", "replaced", "pipe"])
def test_a_full_disk_is_refused_at_the_start(
    kind: str,
    blocks: int,
    free: int,
    for_root: int,
    user: int,
    is_full: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = SimpleNamespace(f_blocks=blocks, f_bavail=free, f_bfree=for_root)
    monkeypatch.setattr(os, "statvfs", lambda file: room)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    path = tmp_path / "out"
    ends = os.pipe()
    fd = ends[1] if kind == "pipe" else os.open(path, os.O_WRONLY | os.O_CREAT)
    output = Replacement(str(path)) if kind == "replaced" else DescriptorOutput(fd, str(path))
    try:
        if is_full and kind != "pipe":
            with pytest.raises(CannotWrite) as caught:
                output.check_room()
            assert str(caught.value) == f"{path}: cannot write: no space left on device: free some space"
        else:
            output.check_room()
    finally:
        for each in {fd, *ends}:
            os.close(each)
