"""The wheel brings manual, completions and schemas, and installs them where they are looked for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from manual import pages
from support.process import environment
from support.programs import missing

SHARED = {
    "share/bash-completion/completions/chatpipe": pages.ROOT / "completions" / "chatpipe.bash",
    "share/zsh/site-functions/_chatpipe": pages.ROOT / "completions" / "_chatpipe",
    "share/fish/vendor_completions.d/chatpipe.fish": pages.ROOT / "completions" / "chatpipe.fish",
    "share/chatpipe/schemas/request.schema.json": pages.ROOT
    / "cli"
    / "chatpipe"
    / "schema"
    / "request.schema.json",
    **{f"share/chatpipe/schemas/{path.name}": path for path in (pages.ROOT / "share" / "schemas").iterdir()},
    **{f"share/man/man{path.suffix[1]}/{path.name}": path for path in pages.all_files()},
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        missing("no package 'hatchling' to build a wheel with")
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def _run(*command: str) -> None:
    done = subprocess.run(
        command, cwd=pages.ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_holds_manual_completions_schemas_and_nothing_else_to_share(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {
            name.partition(".data/data/")[2]: archive.read(name)
            for name in archive.namelist()
            if ".data/data/" in name
        }
    assert held == {name: path.read_bytes() for name, path in SHARED.items()}


def test_wheel_holds_the_package_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = pages.ROOT / "cli" / "chatpipe"
    sources = {path for kind in ("*.py", "*.json", "py.typed") for path in package.rglob(kind)}
    assert {f"chatpipe/{path.relative_to(package)}" for path in sources} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"chatpipe"}


def test_installed_wheel_has_them_under_its_prefix(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own: pip would replace the one under test."""
    prefix = tmp_path / "prefix"
    _run(sys.executable, "-m", "venv", "--without-pip", str(prefix))
    command = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel))
    _run(sys.executable, "-m", "pip", "--python", str(prefix), *command)
    for name, path in SHARED.items():
        assert (prefix / name).read_bytes() == path.read_bytes(), name
