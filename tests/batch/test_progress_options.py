"""Progress options of a run: the number of input lines that a bar assumes, and when there is no bar."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatpipe.batch import progress_options as module
from chatpipe.batch.progress import ProgressOptions
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.run import ReportOptions
from chatpipe.system.console import Console
from support.parametrize import cases

MIB = 1 << 20
LOUD = ConsoleOptions()


def options(file: str, *, console: ConsoleOptions = LOUD, asked: str | None = "bar") -> ProgressOptions:
    return module.progress_options(
        ReportOptions(progress=asked), Console(console), {}, file=file, output="-", limit=None
    )


@cases(
    "data, lines",
    {
        "empty": (b"", 0),
        "two": (b"a\nb\n", 2),
        "without a last line feed": (b"a\nb", 2),
        "blank": (b"\n\n\n", 3),
        "more than a block": ((b"a" * 1023 + b"\n") * 1025, 1025),
    },
)
def test_lines_of_a_file_are_counted(data: bytes, lines: int, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(data)
    assert options(str(tmp_path / "in")).lines == lines


def test_the_lines_of_a_large_file_are_estimated(tmp_path: Path) -> None:
    """By the first 16 MiB."""
    with (tmp_path / "in").open("wb") as file:
        file.write((b"a" * 1023 + b"\n") * (16 * 1024))
        file.truncate(64 * MIB)
    assert options(str(tmp_path / "in")).lines == 64 * 1024


def test_a_large_file_without_a_line_end_has_no_estimate(tmp_path: Path) -> None:
    with (tmp_path / "in").open("wb") as file:
        file.truncate(64 * MIB)
    assert options(str(tmp_path / "in")).lines is None


@cases(
    "data, lines",
    {
        "gzip": (gzip.compress(b"a\nb\n"), None),
        "an array": (b'[{"a":1},\n{"a":2}]\n', None),
        "a pretty-printed array": (b'[\n  {\n    "a": 1\n  }\n]\n', None),
        "a log": (b"[2026-01-01] a\n[2026-01-02] b\n", 2),
    },
)
def test_lines_are_counted_only_where_each_is_an_item(data: bytes, lines: int | None, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(data)
    assert options(str(tmp_path / "in")).lines == lines


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert options(str(tmp_path / "fifo")).lines is None
    assert options("/dev/null").lines is None
    assert options(str(tmp_path / "none")).lines is None
    assert options("a\0b").lines is None


def test_the_rest_of_stdin_is_counted_and_not_consumed(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\nb\nc\n")
    code = (
        "import os\n"
        "from chatpipe.batch import progress_options\n"
        "from chatpipe.system.console import Console\n"
        "from chatpipe.options.output import ConsoleOptions\n"
        "from chatpipe.options.run import ReportOptions\n"
        "os.read(0, 2)\n"
        "report = ReportOptions(progress='bar')\n"
        "console = Console(ConsoleOptions())\n"
        "made = progress_options.progress_options(report, console, {}, file='-', output='-', limit=None)\n"
        "print(made.lines, os.read(0, 9))\n"
    )
    with (tmp_path / "in").open("rb") as stdin:
        done = subprocess.run([sys.executable, "-c", code], stdin=stdin, capture_output=True, check=True)
    assert done.stdout == b"2 b'b\\nc\\n'\n"


@pytest.mark.parametrize("asked", ["json", "none", None])
def test_without_a_bar_nothing_is_counted(asked: str | None, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\n")
    assert options(str(tmp_path / "in"), asked=asked).lines is None


def test_quiet_has_none(tmp_path: Path) -> None:
    assert options("-", console=ConsoleOptions(quiet=True)) == ProgressOptions("none")
