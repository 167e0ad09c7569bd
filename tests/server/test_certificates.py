"""Whether a folder of hashed certificates can replace a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatpipe.server.certificates import has_hashed, is_hashed_copy
from support.parametrize import cases

ONE = b"-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
TWO = b"-----BEGIN CERTIFICATE-----\nTUlJQkNE\n-----END CERTIFICATE-----\n"
BOTH = {"0a1b2c3d.0": ONE, "ffffffff.1": TWO}


@cases(
    ("bundle", "files", "same"),
    {
        "the same": (ONE + TWO, BOTH, True),
        "in another order": (TWO + ONE, BOTH, True),
        "with words between": (b"# One\n" + ONE + b"\n# Two\n" + TWO, BOTH, True),
        "without the last line end": (ONE + TWO[:-1], BOTH, True),
        "other files beside them": (ONE + TWO, {**BOTH, "README": b"x", "one.pem": ONE}, True),
        "revocation list beside them": (ONE + TWO, {**BOTH, "0a1b2c3d.r0": ONE}, True),
        "half of it": (ONE + TWO, {"0a1b2c3d.0": ONE}, False),
        "one more": (ONE, BOTH, False),
        "another one": (ONE + ONE, BOTH, False),
        "no hashes": (ONE + TWO, {"one.pem": ONE, "two.pem": TWO}, False),
        "no hash by its digits": (ONE, {"0a1b2c3g.0": ONE}, False),
        "no hash by its length": (ONE, {"0a1b2c3d4.0": ONE}, False),
        "a file that holds both": (ONE + TWO, {"0a1b2c3d.0": ONE + TWO}, False),
        "empty": (b"", {}, False),
        "no certificates": (b"words\n", BOTH, False),
        "cut off": (ONE + TWO[:40], BOTH, False),
    },
)
def test_a_folder_replaces_a_bundle_of_the_same_certificates(
    bundle: bytes, files: dict[str, bytes], same: bool, tmp_path: Path
) -> None:
    assert is_hashed_copy(*store(tmp_path, bundle, files)) is same


def store(tmp_path: Path, bundle: bytes, files: dict[str, bytes]) -> tuple[str, str]:
    """The folder with these files, and the bundle."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (tmp_path / "bundle.pem").write_bytes(bundle)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return str(folder), str(tmp_path / "bundle.pem")


def _age(folder: Path, bundle: Path) -> None:
    os.utime(folder, ns=(0, bundle.stat().st_mtime_ns - 1))


def _dangle(folder: Path, bundle: Path) -> None:
    (folder / "ffffffff.1").unlink()
    (folder / "ffffffff.1").symlink_to("gone.pem")


def _link_twice(folder: Path, bundle: Path) -> None:
    """As systems do for two forms of the hash."""
    (folder / "one.pem").write_bytes(ONE)
    for name in ("0a1b2c3d.0", "eeeeeeee.0"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("one.pem")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (_link_twice, True),
        (_age, False),
        (_dangle, False),
        (lambda folder, bundle: bundle.unlink(), False),
    ],
)
def test_what_else_a_copy_depends_on(
    change: Callable[[Path, Path], None], same: bool, tmp_path: Path
) -> None:
    folder, bundle = store(tmp_path, ONE + TWO, BOTH)
    change(Path(folder), Path(bundle))
    assert is_hashed_copy(folder, bundle) is same


def test_a_folder_that_is_not_there_has_no_certificates(tmp_path: Path) -> None:
    assert not is_hashed_copy(str(tmp_path / "none"), str(tmp_path))
    assert not has_hashed(str(tmp_path / "none"))
