"""Data files beside the modules of the package, which may be in a folder or in an archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from chatpipe.system.package_data import read_package_data


def in_folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    return path


def in_archive(path: Path, files: dict[str, str]) -> Path:
    """As zipapp packs it."""
    with zipfile.ZipFile(path / "app.pyz", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path / "app.pyz"


@pytest.mark.parametrize("pack", [in_folder, in_archive])
def test_a_file_is_read_where_the_module_is(
    pack: Callable[[Path, dict[str, str]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"packed_{pack.__name__}"
    place = pack(tmp_path, {f"{package}/__init__.py": "", f"{package}/data.txt": "data"})
    monkeypatch.syspath_prepend(str(place))
    import_module(package)
    assert read_package_data(package, "data.txt") == b"data"
    with pytest.raises(OSError) as caught:  # noqa: PT011  # each loader has its own
        read_package_data(package, "none.txt")
    assert caught.value.filename.endswith(f"{package}/none.txt")
