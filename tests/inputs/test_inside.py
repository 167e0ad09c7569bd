"""Files that data names: none outside of the folder is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatpipe.errors import BadInput
from chatpipe.inputs.sources import read_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file, a folder in it, and a secret beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"A")
    (folder / "sub" / "b").write_bytes(b"B")
    (tmp_path / "images2").mkdir()
    (tmp_path / "images2" / "c").write_bytes(b"C")
    return folder


@pytest.mark.parametrize(
    ("name", "content"), [("a", b"A"), ("sub/b", b"B"), ("sub/../a", b"A"), ("./a", b"A"), ("//a", None)]
)
def test_only_a_path_inside_the_folder_is_read(root: Path, name: str, content: bytes | None) -> None:
    if content is None:
        with pytest.raises(BadInput):
            read_inside(str(root), name, 10)
        return
    assert read_inside(str(root), name, 10) == content


def test_an_absolute_path_that_leads_inside(root: Path) -> None:
    assert read_inside(str(root), str(root / "sub" / "b"), 10) == b"B"


def test_a_link_that_leads_inside(root: Path) -> None:
    (root / "link").symlink_to("sub/b")
    assert read_inside(str(root), "link", 10) == b"B"


def test_the_folder_may_be_a_link_itself(root: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(root)
    assert read_inside(str(tmp_path / "way"), "a", 10) == b"A"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../secret", "is not inside"),
        ("sub/../../secret", "is not inside"),
        ("../images2/c", "is not inside"),
        ("/etc/passwd", "is not inside"),
        ("out", "is not inside"),
        ("way/secret", "is not inside"),
        ("gone", "cannot read 'gone': no such file or directory"),
        ("sub", "'sub' is not a file"),
        ("fifo", "'fifo' is not a file"),
        ("a\0", "cannot read"),
        (".", "is not a file"),
        ("large", "'large' is larger than 0 MB"),
    ],
)
def test_what_is_refused(root: Path, name: str, what: str) -> None:
    (root / "out").symlink_to("../secret")
    (root / "way").symlink_to("..")
    os.mkfifo(root / "fifo")
    (root / "large").write_bytes(b"x" * 11)
    with pytest.raises(BadInput) as refused:
        read_inside(str(root), name, 10)
    assert what in refused.value.what


def test_deleted_working_directory_is_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(BadInput, match="cannot read 'a': no such file or directory"):
        read_inside(".", "a", 10)
