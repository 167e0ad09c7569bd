"""Signals at exact moments of a call and of a run, alone and two in a row.

The process always dies by the first of them. The file of -o is the old one or the new one, whole. No answer
is lost or paid twice, no temporary file stays, and nothing is said that is not so.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from batch.resuming import TO_OUT, RunHarness, texts
from batch.runs import command
from commands.asking import ask
from support import strike
from support.parametrize import cases
from support.process import run
from support.servers.loopback import Answer, Request, completion, event_stream, reply, serve, stream_of

HANGUP, INT, TERM = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
TALK = '{"role":"user","content":"Hello"}\n{"role":"assistant","content":"new"}\n'

# Of a call: the moment, and what is left of its answer: no more than the old file, a part beside it, or the
# new file with the transcript.
CALLS = {
    "the transcript is locked": ("chatpipe.conversation.transcript:open_locked", 1, "after", "old"),
    "the output is tried": ("os:open", 1, "before", "old"),
    "before a coroutine runs": ("chatpipe.call:run_without_loop", 1, "before", "old"),
    "the connection is made": ("chatpipe.wire.sync:_BlockingLink.connect", 1, "after", "old"),
    "before the first chunk": ("chatpipe.wire.stream_answer:StreamReader.feed", 1, "before", "old"),
    "behind the last chunk": ("chatpipe.wire.stream_answer:StreamReader.feed", 1, "after", "part"),
    "the answer is whole": ("chatpipe.wire.stream_answer:StreamReader.is_whole", 1, "after", "part"),
    "the answer is held": ("chatpipe.wire.stream_answer:hold_signals", 1, "after", "new"),
    "before the first byte": ("chatpipe.output.target:OpenOutput.write", 1, "before", "new"),
    "behind the first byte": ("chatpipe.output.target:OpenOutput.write", 1, "after", "new"),
    "the connection is closed": ("chatpipe.wire.sync:BlockingTransport.aclose", 1, "before", "new"),
    "the transcript is written": ("chatpipe.conversation.transcript:Transcript.append", 1, "after", "new"),
    "before the output is renamed": ("os:replace", 1, "before", "new"),
    "the output is renamed": ("os:replace", 1, "after", "new"),
    "the process ends": ("os:_exit", 1, "before", "new"),
}
CONNECTION = "chatpipe.wire.connection:PooledConnection"
# Of a run that finds answers which it does not need: the moment, and whether OUT is new or what is said.
RUNS = {
    "the journal is opened": ("chatpipe.batch.journal.journal:_open_locked", 1, "after", "silent"),
    "the journal is read": ("os:pread", 3, "after", "silent"),
    "the loop starts": ("asyncio:run", 1, "before", "silent"),
    "the transport is opened": ("chatpipe.batch.channel:open_transport", 1, "after", "silent"),
    "an answer is recorded": ("chatpipe.batch.journal.journal:Journal.append", 1, "after", "noted"),
    "a connection is lost": (
        "chatpipe.wire.connection:PooledConnection.connection_lost",
        1,
        "after",
        "noted",
    ),
    "the driver has ended": ("chatpipe.batch.progress:Progress.close", 1, "after", "noted"),
    "the loop is closed": ("asyncio.runners:_cancel_all_tasks", 1, "after", "noted"),
    "OUT is written": ("chatpipe.output.target:OpenOutput.write", 1, "before", "noted"),
    "OUT is synced": ("chatpipe.output.target:OpenOutput.replace", 1, "before", "new"),
    "OUT is renamed": ("os:replace", 1, "after", "new"),
    "the journal is renamed": ("os:replace", 2, "after", "new"),
    "the journal is closed": ("chatpipe.batch.journal.journal:Journal._release", 1, "before", "new"),
    "the process ends": ("os:_exit", 1, "before", "new"),
}
SAID = {
    "silent": rb"",
    "noted": rb"chatpipe: interrupted after [1-3] lines?(, [12] more had no answer yet)?: "
    rb"run the same command again\n",
    "new": rb"chatpipe: kept 2 answers that no line of the input asks for in .*\n",
}
SIGNALS = {"INT": (INT,), "TERM": (TERM,), "HUP": (HANGUP,), "INT and TERM": (INT, TERM)}


class Struck(NamedTuple):
    """A moment with the signals that come then, and what is expected of it."""

    moment: tuple[str, int, str]
    numbers: Sequence[int]
    expected: str


def table(rows: Mapping[str, tuple[str, int, str, str]]) -> dict[str, Struck]:
    """Each moment with one of the signals in turn, and with two in a row."""
    struck = {}
    for index, (name, (place, nth, when, expected)) in enumerate(rows.items()):
        for by in (list(SIGNALS)[index % 3], "INT and TERM"):
            struck[f"{name}: {by}"] = Struck((place, nth, when), SIGNALS[by], expected)
    return struck


@cases("struck", table(CALLS))
def test_a_call_struck_at_an_exact_moment(struck: Struck, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old\n")
    with serve(lambda _: event_stream(stream_of("new"))) as server:
        moment = strike.at((*struck.moment, struck.numbers))
        done = ask(server.url, "-o", "out.txt", "--transcript", "t.jsonl", cwd=tmp_path, env=moment)

    assert (done.status, done.stdout, done.stderr) == (-struck.numbers[0], b"", b"")
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    part = [files.pop(name) for name in list(files) if name.startswith("out.txt.")]
    left = struck.expected
    assert files == ({"out.txt": "new\n", "t.jsonl": TALK} if left == "new" else {"out.txt": "old\n"})
    assert [text.removesuffix("\n") for text in part] == (["new"] if left == "part" else [])


@cases("when", {"before": "before", "behind": "after"})
def test_a_call_without_a_transcript_struck_at_the_rename(when: str, tmp_path: Path) -> None:
    with serve(lambda _: event_stream(stream_of("new"))) as server:
        moment = strike.at(("os:replace", 1, when, [TERM]))
        done = ask(server.url, "-o", "out.txt", cwd=tmp_path, env=moment)
    assert (done.status, done.stdout, done.stderr) == (-TERM, b"", b"")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.txt", "new\n")]


def reply_of(request: Request, text: str) -> Answer:
    """The reply to a request, streamed if it asks for that."""
    return event_stream(stream_of(text)) if request.json().get("stream") else reply(200, completion(text))


# The end of an answer that is written only when it is whole.
WHOLE = {
    "-f json": ((), "chatpipe.wire.whole_answer:hold_signals"),
    "-f json, the connection is closed": ((), "chatpipe.wire.sync:BlockingTransport.aclose"),
    "--stream": (("--stream",), "chatpipe.wire.stream_answer:hold_signals"),
    "--schema": (("--schema-fields", "a"), "chatpipe.schema.expected:AnswerSchema.violation"),
    "--exec": (("--tool", "tool.json", "--exec", "f=cat"), "chatpipe.call:_release_unkept"),
}


@cases(("options", "place"), WHOLE)
def test_a_whole_answer_is_written_before_a_signal_ends_the_call(
    options: Sequence[str], place: str, tmp_path: Path
) -> None:
    (tmp_path / "tool.json").write_text('{"name":"f","parameters":{"type":"object"}}')
    with serve(lambda request: reply_of(request, '{"a":"b"}')) as server:
        moment = strike.at((place, 1, "after", [TERM]))
        done = ask(server.url, "-f", "json", "-o", "out.json", *options, cwd=tmp_path, env=moment)
    assert (done.status, done.stdout, done.stderr) == (-TERM, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "tool.json"]
    assert '\\"b\\"' in (tmp_path / "out.json").read_text()


def test_a_signal_ends_a_call_whose_answer_no_file_keeps() -> None:
    with serve(lambda request: reply_of(request, "new")) as server:
        moment = strike.at(("chatpipe.wire.whole_answer:hold_signals", 1, "after", [INT]))
        done = ask(server.url, "-f", "json", env=moment)
    assert (done.status, done.stdout, done.stderr) == (-INT, b"", b"")


def test_a_second_signal_does_not_end_the_keeping_of_what_came(tmp_path: Path) -> None:
    moments = strike.at(
        ("chatpipe.wire.stream_answer:StreamReader.feed", 1, "after", [INT]),
        ("os:fsync", 1, "before", [TERM]),
    )
    with serve(lambda _: event_stream(stream_of("new"))) as server:
        done = ask(server.url, "-o", "out.txt", cwd=tmp_path, env=moments)
    assert (done.status, done.stdout, done.stderr) == (-INT, b"", b"")
    assert [path.read_text().strip() for path in tmp_path.iterdir()] == ["new"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunHarness]:
    """A harness whose run has ended with the answers to a, b and c."""
    with RunHarness(tmp_path_factory.mktemp("harness")) as harness:
        harness.write(*"abc")
        harness.finish()
        yield harness


@cases("struck", table(RUNS))
def test_a_run_struck_at_an_exact_moment(struck: Struck, finished: RunHarness) -> None:
    """The run has new input: it needs one of the old answers, two new ones, and keeps the other old ones."""
    harness, old = finished, finished.out.read_bytes()
    harness.write(*"ade")
    try:
        arguments = command(harness.server, *TO_OUT)
        done = run(*arguments, cwd=harness.folder, env=strike.at((*struck.moment, struck.numbers)))

        assert (done.status, done.stdout) == (-struck.numbers[0], b"")
        assert (harness.out.read_bytes() != old) is (struck.expected == "new")
        assert re.fullmatch(SAID[struck.expected], done.stderr)
        assert {*harness.files()} <= {"in.jsonl", "out.jsonl", "out.jsonl.journal"}
        if len(struck.numbers) == 1:  # a second signal gives up what is in flight
            assert run(*arguments, cwd=harness.folder).status == 0
            assert harness.new_prompts() == ["d", "e"]
            assert {text.split()[0] for text in texts(harness.out) + texts(harness.journal) if text} == {
                *"abcde"
            }
    finally:
        harness.out.write_bytes(old)
        harness.journal.unlink(missing_ok=True)
        harness.new_prompts()
