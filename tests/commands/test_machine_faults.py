"""Faults of the machine or of the installation, which are no bugs: too little memory, a broken package."""

from __future__ import annotations

import pytest

from chatpipe import main
from chatpipe.server import stray_keys

MEMORY = "free memory, or raise `ulimit -v`, and run the same command again"
AGAIN = "is missing or broken: install chatpipe again"
REPORT = "please report what --debug shows"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MemoryError(), 74, f"out of memory: {MEMORY}"),
        (ModuleNotFoundError("No module named 'httpx'", name="httpx"), 78, f"the package httpx {AGAIN}"),
        (ImportError("wrong ELF class", name="orjson.orjson"), 78, f"the package orjson {AGAIN}"),
        (
            ImportError("fcntl.so: failed to map segment from shared object", name="fcntl"),
            *(74, f"out of memory: {MEMORY}"),
        ),
        (ImportError("no name", name="chatpipe.errors"), 70, f"a bug: ImportError: no name: {REPORT}"),
        (ImportError("no Self", name="typing"), 70, f"a bug: ImportError: no Self: {REPORT}"),
        (KeyError(), 70, f"a bug: KeyError: {REPORT}"),
    ],
)
def test_one_line_and_a_status(
    error: Exception,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(main, "_command", fail)
    assert main.run(["check"]) == status
    assert capfd.readouterr().err == f"chatpipe: {line}\n"


def test_a_missing_data_file_is_one_line_that_shows_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_environ: object, _arguments: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "profiles.toml")

    monkeypatch.setattr(stray_keys, "hide_stray_keys", fail)
    monkeypatch.setattr(main, "_command", lambda _arguments: 1 // 0)
    assert main.run(["check"]) == 78
    assert capfd.readouterr().err == f"chatpipe: profiles.toml {AGAIN}\n"
