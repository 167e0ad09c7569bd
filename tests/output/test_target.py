"""target.py: what a fault says about content that a file has no room for."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from chatpipe.errors import CannotWrite
from chatpipe.options.output import OutputOptions
from chatpipe.output.target import open_target


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_blocks(is_only_copy: bool) -> None:
    """Write 3000 bytes."""
    with open_target(OutputOptions("out"), (), escape=False, is_only_copy=is_only_copy) as out:
        for _ in range(3):
            out.write(b"x" * 1000)


def fault_of(*, room: int, is_only_copy: bool = False) -> str:
    """The fault of an output of 3000 bytes in a file that has room for fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(CannotWrite) as caught:
            write_blocks(is_only_copy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return str(caught.value)


def test_a_part_that_the_disk_has_cut_is_called_the_beginning_and_replaces_no_longer_one(
    folder: Path,
) -> None:
    wanted = (
        "out: cannot write: file too large: the beginning of what arrived is in 'out.chatpipe-part', "
        "raise the limit that 'ulimit -f' shows"
    )
    assert fault_of(room=2500) == wanted
    assert (folder / "out.chatpipe-part").stat().st_size == 2500
    assert fault_of(room=1500) == wanted
    assert (folder / "out.chatpipe-part").stat().st_size == 2500
    assert fault_of(room=2700) == wanted
    assert (folder / "out.chatpipe-part").stat().st_size == 2700


def test_the_rest_of_an_only_copy_is_called_lost(folder: Path) -> None:
    assert fault_of(room=2500, is_only_copy=True) == (
        "out: cannot write: file too large: the beginning of what arrived is in 'out.chatpipe-part', "
        "the rest is lost, raise the limit that 'ulimit -f' shows"
    )
