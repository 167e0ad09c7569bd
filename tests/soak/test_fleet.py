"""Servers that are stopped in the middle of a run, for longer than a test of every day may wait."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from batch.result_lines import outcomes, records
from batch.test_fleet_reliability import arguments, by_server, processes, wait_for
from batch.weather import questions
from support.process import start

LINES = 4_000


@pytest.mark.parametrize("goes_on", [True, False], ids=["and go on", "for good"])
def test_a_stopped_server_keeps_no_line_and_takes_part_again(goes_on: bool, tmp_path: Path) -> None:
    """It says nothing and accepts connections still. What it had goes on elsewhere after some ten seconds."""
    out = tmp_path / "out.jsonl"
    with processes(3, latency_s=0.1) as three, out.open("wb") as stdout:
        urls = [url for _, url in three]
        victim = three[1][0]
        with start(*arguments(urls, "-j12"), stdin=subprocess.PIPE, stdout=stdout) as process:
            process.send(questions(LINES))
            process.hang_up()
            wait_for(100, out)
            victim.send_signal(signal.SIGSTOP)
            if goes_on:
                wait_for(LINES // 2, out)
                victim.send_signal(signal.SIGCONT)
            _, stderr = process.communicate(timeout=300)
        victim.send_signal(signal.SIGCONT)
    done = out.read_bytes()
    assert process.returncode == 0
    assert outcomes(done) == ["ok"] * LINES
    assert {record["chatpipe"]["attempts"] for record in records(done)} == {1}
    assert stderr.count(b"is left out: no answer for") == 1
    assert (stderr.count(b"is back") == 1) is goes_on
    assert (by_server(done)[urls[1]] > 200) is goes_on
