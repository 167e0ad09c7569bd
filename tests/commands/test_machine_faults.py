"""Faults of the machine or of the installation, which are no bugs: memory, threads, a package, Python."""

from __future__ import annotations

import errno
import json
import runpy
import sys

import pytest

from chatpipe import main
from chatpipe.errors import (
    BadConfiguration,
    CannotWrite,
    ChatpipeError,
    MissingInput,
    NoAccess,
    Status,
    Unreachable,
)
from chatpipe.server import stray_keys
from chatpipe.system.console import error_record

MEMORY = "free memory, or raise `ulimit -v`, and run the same command again"
THREADS = "raise the limit that 'ulimit -u' shows, or free memory, and run the same command again"
AGAIN = "is missing or broken: install chatpipe again"
REPORT = "please report what --debug shows"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MemoryError(), 74, f"out of memory: {MEMORY}"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "folder"), 74, f"out of memory: {MEMORY}"),
        (RuntimeError("can't start new thread"), 74, f"cannot start another thread: {THREADS}"),
        (RuntimeError("no loop"), 70, f"a bug: RuntimeError: no loop: {REPORT}"),
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


@pytest.mark.parametrize(
    "errors",
    [(MemoryError(), MemoryError()), (KeyError(), OSError(errno.ENOMEM, "x")), (MemoryError(), KeyError())],
)
def test_a_lack_of_memory_is_reported_without_more_of_it(
    errors: tuple[Exception, Exception], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The modules of a report need some, too."""

    def fail(_arguments: object) -> int:
        raise errors[0]

    def fail_again(_error: object, _arguments: object) -> int:
        raise errors[1]

    monkeypatch.setattr(main, "_command", fail)
    monkeypatch.setattr(main, "_report", fail_again)
    assert main.run(["check"]) == Status.CANNOT_WRITE
    assert capfd.readouterr().err == f"chatpipe: out of memory: {MEMORY}\n"
    assert main.run(["check", "--error-format", "json"]) == Status.CANNOT_WRITE
    without_memory = capfd.readouterr().err
    monkeypatch.undo()
    usual = CannotWrite("out of memory", fix=MEMORY)
    assert json.loads(without_memory) == {"error": error_record(usual)}


def test_an_older_python_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "version", "3.10.13 (main)")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("chatpipe.__main__")
    assert ended.value.code == Status.BAD_CONFIGURATION
    assert capfd.readouterr().err == "chatpipe: this is Python 3.10.13: run it with 3.11 or later\n"


def test_a_missing_data_file_is_one_line_that_shows_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_environ: object, _arguments: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "profiles.toml")

    monkeypatch.setattr(stray_keys, "hide_stray_keys", fail)
    monkeypatch.setattr(main, "_command", lambda _arguments: 1 // 0)
    assert main.run(["check"]) == 78
    assert capfd.readouterr().err == f"chatpipe: profiles.toml {AGAIN}\n"


@pytest.mark.parametrize("kind", [MissingInput, NoAccess, BadConfiguration, Unreachable, CannotWrite])
def test_too_many_open_files_are_no_fault_of_the_last_one(
    kind: type[ChatpipeError], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_arguments: object) -> int:
        raise kind("cannot open 'x'", fix="raise it") from OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(main, "_command", fail)
    assert main.run(["check"]) == Status.CANNOT_WRITE
    limit = "cannot open another file: too many open files: raise the limit that 'ulimit -n' shows"
    line = "cannot open 'x': raise it" if kind is CannotWrite else limit
    assert capfd.readouterr().err == f"chatpipe: {line}\n"
