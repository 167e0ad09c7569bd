"""Runs of a million lines: as much memory as those of ten thousand, but for the index of a resumed one."""

from __future__ import annotations

import functools
import signal
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from soak.measured import Measured, measured, tell
from support.process import start
from support.servers.loopback import Server, canned

FEW, MANY, SOLD = 10_000, 1_000_000, 300_000
MORE_MB = 10  # what a hundred times as many lines may take more
INDEX_BYTES = 40  # of a line
ANSWER_BYTES = 850  # of a result line of echo, about
ECHO = ("batch", "-p", "echo", "-m", "m", "-q")


def test_a_pipe_of_a_million_lines(tmp_path: Path) -> None:
    def run(lines: int) -> Measured:
        ran = measured(
            *ECHO, cwd=tmp_path, before=f"""yes '{{"prompt":"hi"}}' | head -{lines}""", behind="wc -l"
        )
        tell(f"{lines:,} lines to a pipe", ran, lines)
        assert (ran.status, int(ran.said), ran.stderr) == (0, lines, b"")
        return ran

    assert run(MANY).peak_mb - run(FEW).peak_mb <= MORE_MB


def test_a_million_lines_with_a_journal_killed_and_run_again(tmp_path: Path) -> None:
    """-o, kill -9 in the middle, the same command: every line once, and none of the recorded ones sent."""
    few, many = (_killed_and_resumed(tmp_path, lines) for lines in (FEW, MANY))
    assert many.peak_mb - few.peak_mb <= MORE_MB + (MANY - FEW) * INDEX_BYTES / 2**20


def _killed_and_resumed(folder: Path, lines: int) -> Measured:
    """The second run; the first one dies when it has written about half of the answers."""
    file, out, journal = (folder / f"{lines}.{kind}" for kind in ("jsonl", "out", "out.journal"))
    with file.open("w") as inputs:
        inputs.writelines(f'{{"prompt":"question {at}"}}\n' for at in range(lines))
    command = (*ECHO, file.name, "-o", out.name)
    with start(*command, cwd=folder) as process:
        while not (journal.exists() and journal.stat().st_size > lines * ANSWER_BYTES / 2):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.kill()
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    recorded = _count(journal) - 1  # its header; a torn end is no line
    assert lines * 0.2 < recorded < lines * 0.9
    assert not out.exists()

    again = measured(*command, "--report", "report.json", cwd=folder)
    tell(f"{lines:,} lines, {recorded:,} of them recorded, -o and journal", again, lines)
    assert (again.status, again.stderr) == (0, b"")
    report = orjson.loads((folder / "report.json").read_bytes())
    assert (report["lines"], report["good"], report["reused"]) == (lines, lines, recorded)
    assert not journal.exists()
    _assert_answered_once(out, lines)
    for path in (file, out):
        path.unlink()
    return again


def _count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(functools.partial(file.read, 1 << 20), b""))


def _assert_answered_once(out: Path, lines: int) -> None:
    """Every line of out answers its own line of the input, and they are all there, in order."""
    number = 0
    with out.open("rb") as file:
        for number, line in enumerate(file, 1):
            record: Any = orjson.loads(line)
            assert record["chatpipe"]["line"] == number
            message = record["response"]["body"]["choices"][0]["message"]
            assert message["content"] == f"question {number - 1}"
    assert number == lines


@pytest.mark.parametrize("writes", [pytest.param(False, id="to a pipe"), pytest.param(True, id="-o")])
def test_hundreds_of_thousands_of_requests_over_http(writes: bool, tmp_path: Path) -> None:
    with Server(canned(0.0, None, 1), keep=False) as server:

        def run(lines: int) -> Measured:
            out = ("-o", "out.jsonl") if writes else ()
            ran = measured(
                *("batch", "-m", "m", "-q", "-j", "256", "--base-url", server.url, *out),
                cwd=tmp_path,
                before=f"""seq {lines} | sed 's/.*/"question &"/'""",
                behind="wc -l",
            )
            tell(f"{lines:,} requests over http{', -o' if writes else ''}", ran, lines)
            written = _count(tmp_path / "out.jsonl") if writes else int(ran.said)
            assert (ran.status, written, ran.stderr) == (0, lines, b"")
            return ran

        few = run(FEW)
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        more_mb = run(SOLD).peak_mb - few.peak_mb
    assert server.connections <= 2 * 256
    index_mb = (SOLD - FEW) * INDEX_BYTES / 2**20 if writes else 0
    assert more_mb <= MORE_MB + index_mb
