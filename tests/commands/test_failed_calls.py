"""Calls of the system that fail at exact moments: the answer that was paid for comes before the bookkeeping.

What came is kept and named. What fails after the output is complete is a note.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.resuming import TO_OUT, RunHarness, texts
from batch.runs import command
from commands.asking import ask
from support import strike
from support.parametrize import cases
from support.process import run
from support.servers.loopback import event_stream, serve, stream_of

PART = "what arrived is in 'out.txt.chatpipe-part'"
FULL = "no space left on device"
TALK = ("--transcript", "t.jsonl")


@cases(
    ("options", "place", "nth", "number", "said", "kept"),
    {
        "the transcript is full": (
            TALK,
            "chatpipe.conversation.transcript:write_all",
            1,
            errno.ENOSPC,
            f"t.jsonl: cannot append: {FULL}: {PART}, free some space",
            "one two\n",
        ),
        "the transcript is not synced": (
            TALK,
            "os:fsync",
            1,
            errno.EIO,
            f"t.jsonl: cannot append: input/output error: {PART}",
            "one two\n",
        ),
        "the output is full": (
            (),
            "chatpipe.system.replace:write_all",
            2,
            errno.ENOSPC,
            f"out.txt: cannot write: {FULL}: the beginning of {PART}, the rest is lost, free some space",
            "one ",
        ),
        "the output is not renamed": (
            TALK,
            "os:replace",
            1,
            errno.EIO,
            f"out.txt: cannot replace the file: input/output error: {PART}",
            "one two\n",
        ),
        "a failure that nobody expects": (
            (),
            "chatpipe.output.delivery:Delivery.finish",
            1,
            errno.EIO,
            f"stdout: cannot write: input/output error: {PART}",
            "one two",
        ),
    },
)
def test_what_came_is_kept_and_named(
    options: tuple[str, ...], place: str, nth: int, number: int, said: str, kept: str, tmp_path: Path
) -> None:
    (tmp_path / "out.txt").write_text("old")
    with serve(lambda _: event_stream(stream_of(["one ", "two"]), pace=0.05)) as server:
        moment = strike.at((place, nth, "fail", [number]))
        done = ask(server.url, "-o", "out.txt", *options, cwd=tmp_path, env=moment)

    assert (done.status, done.stdout, done.stderr) == (74, b"", f"chatpipe: {said}\n".encode())
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert files == {"out.txt": "old", "out.txt.chatpipe-part": kept}


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    with RunHarness(tmp_path) as harness:
        harness.write(*"ab")
        yield harness


@cases(
    ("options", "place", "nth", "said"),
    {
        "the journal is not synced": (
            ("--keep-journal",),
            "chatpipe.batch.journal.journal:_sync",
            2,
            "cannot write the journal: permission denied: the output is complete",
        ),
        "the journal is not found": (
            (),
            "chatpipe.batch.journal.journal:is_current_entry",
            2,
            "cannot remove the journal: permission denied: the output is complete",
        ),
    },
)
def test_what_fails_behind_the_output_is_a_note(
    options: tuple[str, ...], place: str, nth: int, said: str, harness: RunHarness
) -> None:
    moment = strike.at((place, nth, "fail", [errno.EACCES]))
    done = run(*command(harness.server, *TO_OUT, *options), cwd=harness.folder, env=moment)
    assert done == (0, b"", f"chatpipe: out.jsonl.journal: {said}\n".encode())
    assert sorted(text or "" for text in texts(harness.out)) == ["a #1", "b #1"]


def test_a_journal_that_fails_before_the_output_is_written_is_a_fault(harness: RunHarness) -> None:
    harness.refused = {"b"}
    moment = strike.at(("chatpipe.batch.journal.journal:_sync", 1, "fail", [errno.EIO]))
    done = run(*command(harness.server, *TO_OUT, "--retries", "0"), cwd=harness.folder, env=moment)
    assert done.status == 74
    assert b"cannot write the journal" in done.stderr
    assert not harness.out.exists()
