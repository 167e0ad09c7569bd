"""Journals of real processes: killed at any moment, and two at a time."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.journal.journal import Journal
from support.process import environment

# Appends lines as fast as it can, and says so after each: what it says is on disk has to be there.
# Lines are of very different lengths, so that kills hit long writes too.
WRITER = """
import os, sys
from chatpipe.batch.journal.journal import Journal

journal = Journal(sys.argv[1])
name = int(sys.argv[2])
os.write(1, b"ready\\n")
number = 0
while True:
    number += 1
    fill = b"x" * (number * 7919 % 30000 if number % 5 else 3)
    about = b'"chatpipe":{"outcome":"ok","fingerprint":"%016x%016x"}' % (name, number)
    answer = b'"response":{"body":{"choices":["%s"]}}' % fill
    journal.append(b'{"id":"","custom_id":"1",%s,"error":null,%s}' % (answer, about))
    os.write(1, b"%d\\n" % number)
"""

HOLDER = """
import sys
from chatpipe.batch.journal.journal import Journal

journal = Journal(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_killed_twenty_times_it_has_every_line_it_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "out.journal"
    moments = random.Random(20)
    reported: set[str] = set()
    for name in range(1, 21):
        last = write_and_be_killed(path, name, after_s=moments.uniform(0.0, 0.03))
        reported |= {f"{name:016x}{number:016x}" for number in range(1, last + 1)}
    assert len(reported) > 100
    recorded = AnswerIndex(journal=str(path))
    assert all(recorded.find(fingerprint) is not None for fingerprint in reported)
    # a line may have been written and not yet reported, one for each kill
    assert len(reported) <= len(recorded) <= len(reported) + 20
    # once, whole, and nothing else: the lock went with each process, and the torn ends are gone
    Journal(str(path)).close()
    lines = path.read_bytes().split(b"\n")
    assert lines[0].startswith(b'{"chatpipe_journal":1,')
    assert lines[-1] == b""
    assert len(lines) == len(recorded) + 2
    recorded.close()


def test_the_second_of_two_processes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.journal"
    with started(HOLDER, path, stdin=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with started(HOLDER, path, stderr=subprocess.PIPE) as second:
            said = second.communicate()[1]
        assert b"TryLater: " in said
        assert b"another run holds this journal" in said
        first.kill()
    with started(HOLDER, path, stdin=subprocess.DEVNULL) as third:
        assert third.stdout is not None
        assert third.stdout.readline() == b"held\n"
        assert third.wait() == 0


def write_and_be_killed(path: Path, name: int, after_s: float) -> int:
    """Start a writer, kill it some time after it began: the number of lines it has reported."""
    with started(WRITER, path, str(name)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        writer.kill()
        said = writer.stdout.read()
    return len(said.split(b"\n")) - 1


def started(
    program: str, path: Path, *arguments: str, stdin: int = subprocess.DEVNULL, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-c", program, str(path), *arguments)
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment())
