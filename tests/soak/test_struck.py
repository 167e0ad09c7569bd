"""Signals at random lines of a call and of a run: tests/commands/test_moments.py has chosen moments."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from batch.resuming import TO_OUT, RunHarness, texts
from batch.runs import command
from commands.asking import ask
from soak.measured import seed
from support import strike
from support.process import Done, run
from support.servers.loopback import event_stream, serve, stream_of

POINTS = 1_000
# A little more than the lines that each executes under the last release: some moments never come.
CALL_LINES, RUN_LINES = 4_500, 16_000
SIGNALS = [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGTERM)]
FILES = (["in.jsonl", "out.jsonl"], ["in.jsonl", "out.jsonl", "out.jsonl.journal"])
NOTE = (
    rb"(chatpipe: interrupted after [0-3] lines?(, [1-3] more had no answer yet)?: "
    rb"run the same command again\n)?"
)


def moments(lines: int) -> Iterator[tuple[int, tuple[signal.Signals, ...]]]:
    chance = random.Random(seed())
    for _ in range(POINTS):
        yield chance.randrange(1, lines), chance.choice(SIGNALS)


def ends(done: Done, numbers: tuple[signal.Signals, ...], said: bytes) -> list[str]:
    """What is wrong with the end of a process that signals may have struck."""
    wrong = []
    if done.status not in (0, -numbers[0]):
        wrong.append(f"status {done.status}")
    if not re.fullmatch(said, done.stderr):
        wrong.append(f"said {done.stderr!r}")
    return wrong


def test_a_call(tmp_path: Path) -> None:
    out, talk = tmp_path / "out", tmp_path / "talk"
    broken, struck = [], 0
    with serve(lambda _: event_stream(stream_of("new"))) as server:
        for line, numbers in moments(CALL_LINES):
            for path in tmp_path.iterdir():
                path.unlink()
            out.write_text("old\n")
            moment = strike.at(("line", line, "before", numbers))
            done = ask(server.url, "-o", "out", "--transcript", "talk", cwd=tmp_path, env=moment)
            wrong = ends(done, numbers, b"")
            struck += done.status != 0
            if (out.read_text(), talk.exists()) not in (("old\n", False), ("new\n", True)):
                wrong.append(f"out {out.read_text()!r}, transcript {talk.exists()}")
            if left := {path.name for path in tmp_path.iterdir()} - {"out", "talk", "out.chatpipe-part"}:
                wrong.append(f"left {left}")
            broken += [f"line {line}, {numbers}: {each}" for each in wrong]
    print(f"\n{struck} calls struck, {len(broken)} violations", end="")
    assert broken == []
    assert struck > POINTS // 2


def test_a_run(tmp_path: Path) -> None:
    broken, struck = [], 0
    with RunHarness(tmp_path) as harness:
        harness.write(*"abc")
        arguments = command(harness.server, *TO_OUT)
        for line, numbers in moments(RUN_LINES):
            harness.out.write_text("old\n")
            harness.journal.unlink(missing_ok=True)
            harness.new_prompts()
            moment = strike.at(("line", line, "before", numbers))
            done = run(*arguments, cwd=tmp_path, env=moment)
            wrong = ends(done, numbers, NOTE)
            struck += done.status != 0
            if (left := harness.files()) not in FILES:
                wrong.append(f"left {left}")
            if harness.out.read_text() != "old\n" and len(texts(harness.out)) != 3:
                wrong.append(f"out {harness.out.read_text()!r}")
            if len(numbers) == 1 and run(*arguments, cwd=tmp_path)[::2] != (0, b""):
                wrong.append("the next run fails")
            if len(numbers) == 1 and (sent := harness.new_prompts()) != ["a", "b", "c"]:
                wrong.append(f"sent {sent}")
            broken += [f"line {line}, {numbers}: {each}" for each in wrong]
    print(f"\n{struck} runs struck, {len(broken)} violations", end="")
    assert broken == []
    assert struck > POINTS // 2
