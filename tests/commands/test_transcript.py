"""`ask --transcript` as a shell user meets it: turns that follow each other, at once, and cut off."""

from __future__ import annotations

import signal
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from support import delays
from support.parametrize import cases
from support.process import NO_BYTECODE, run, sh, start
from support.servers.loopback import Server, Stall, chunk, echoing, event, event_stream, serve, stream_of

OLD = b'{"role":"user","content":"q"}\n{"role":"assistant","content":"a"}\n'


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


def ask(talk: Path, *words: str, **more: Any) -> Any:
    return run("ask", "-p", "echo", "--transcript", talk.name, *words, cwd=talk.parent, **more)


def messages(talk: Path) -> list[Any]:
    return [orjson.loads(line) for line in talk.read_bytes().splitlines()]


def contents(talk: Path) -> list[str]:
    return [message["content"] for message in messages(talk)]


def test_turns_follow_each_other(talk: Path) -> None:
    assert ask(talk, "-s", "Be brief.", "one") == (0, b"one\n", b"")
    assert ask(talk, "-s", "Be long.", stdin=b"two\n") == (0, b"two\n", b"")
    assert messages(talk) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "two"},
    ]
    assert stat.S_IMODE(talk.stat().st_mode) == 0o600


def test_the_whole_conversation_is_sent(talk: Path) -> None:
    talk.write_bytes(OLD)
    with serve(echoing) as server:
        words = ("--base-url", server.url, "-m", "m", "--transcript", talk.name, "-s", "now", "more")
        assert run("ask", *words, cwd=talk.parent).status == 0
        (request,) = server.requests
    assert request.json()["messages"] == [
        {"role": "system", "content": "now"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "more"},
    ]
    assert talk.read_bytes() == (
        OLD + b'{"role":"user","content":"more"}\n{"role":"assistant","content":"more"}\n'
    )


def test_pipe_between_two_calls_with_one_transcript_ends(talk: Path) -> None:
    """The second one locks it only when it has read what the first one says."""
    command = (
        f"chatpipe ask -p echo --transcript {talk.name} one | chatpipe ask -p echo --transcript {talk.name}"
    )
    assert sh(command, cwd=talk.parent) == (0, b"one\n", b"")
    assert contents(talk) == ["one"] * 4


def test_last_answer_is_asked_for_again_when_its_line_is_deleted(talk: Path) -> None:
    talk.write_bytes(OLD.splitlines(keepends=True)[0])
    assert ask(talk) == (0, b"q\n", b"")
    assert contents(talk) == ["q", "q"]


def test_without_a_prompt_what_is_answered_is_status_2(talk: Path) -> None:
    talk.write_bytes(OLD)
    done = ask(talk)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr == b"chatpipe: no prompt: give one as an operand or on stdin\n"
    assert talk.read_bytes() == OLD


def test_images_are_stored_as_sent(talk: Path) -> None:
    url = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    assert ask(talk, "--image", url, "What is it?").status == 0
    assert messages(talk)[0] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": url}},
        ],
    }
    assert len(messages(talk)) == 2


TOOL = (
    b'{"name":"w","parameters":{"type":"object","properties":{"city":{"enum":["Oslo"]}},"required":["city"]}}'
)


def test_calls_that_wait_are_answered_in_the_next_call(talk: Path) -> None:
    talk.with_name("w.json").write_bytes(TOOL)
    done = ask(talk, "--tool", "w.json", "Oslo?")
    assert (done.status, done.stdout) == (6, b"")
    question, calling = messages(talk)
    assert question == {"role": "user", "content": "Oslo?"}
    (call,) = calling["tool_calls"]
    assert call["function"] == {"name": "w", "arguments": '{"city":"Oslo"}'}

    done = ask(talk, "--tool", "w.json", "--tool-result", f"{call['id']}=rain")
    assert done.status == 0
    assert b"rain" in done.stdout
    assert messages(talk)[2] == {"role": "tool", "content": "rain", "tool_call_id": call["id"]}
    assert [message["role"] for message in messages(talk)] == ["user", "assistant", "tool", "assistant"]


# What does not end well leaves no trace


@cases(
    ("words", "status"),
    {
        "cut off": (["--max-tokens", "1", "one two"], 3),
        "two answers": (["-n", "2", "x"], 2),
        "a request that the check refuses": (["--temperature", "9", "x"], 65),
        "a file that is missing": (["--image", "none.png", "x"], 66),
        "the output": (["-o", "talk.jsonl", "x"], 2),
        "the depfile": (["-M", "talk.jsonl", "-o", "out", "x"], 2),
        "an output that cannot be written": (["-o", "no/out", "x"], 74),
        "a server that cannot be": (["--base-url", "http://127.0.0.1:9/v1", "x"], 2),
    },
)
@pytest.mark.parametrize("old", [b"", OLD], ids=["new", "old"])
def test_any_other_status_leaves_it_as_it_was(talk: Path, words: list[str], status: int, old: bytes) -> None:
    if old:
        talk.write_bytes(old)
    done = ask(talk, *words)
    assert (done.status, done.stderr.count(b"\n")) == (status, 1)
    assert sorted(path.name for path in talk.parent.iterdir()) == (["talk.jsonl"] if old else [])
    assert not old or talk.read_bytes() == old


def test_answer_that_is_welcome_though_cut_off_is_stored(talk: Path) -> None:
    assert ask(talk, "--max-tokens", "1", "--allow", "truncated", "one two").status == 0
    assert contents(talk)[0] == "one two"
    assert len(messages(talk)) == 2


def test_input_that_is_the_transcript_is_status_2(talk: Path) -> None:
    talk.write_bytes(OLD)
    for command in ("--messages talk.jsonl x", "--user-file talk.jsonl", "< talk.jsonl", ">> talk.jsonl x"):
        done = sh(f"chatpipe ask -p echo --transcript talk.jsonl {command}", cwd=talk.parent)
        assert (done.status, done.stdout) == (2, b""), command
        assert talk.read_bytes() == OLD


@cases(
    "length, said, stdout",
    {
        "the answer is too long": (40_000, b"cannot append: file too large", b"x" * 40_000 + b"\n"),
        "the disk is full before it": (5, b"no room for an answer: file too large", b""),
    },
)
def test_full_disk_is_status_74_and_nothing_is_paid_that_never_had_room(
    talk: Path, length: int, said: bytes, stdout: bytes
) -> None:
    old = OLD * (20 if stdout else 400)  # 1.3 or 26 kB, of 40
    talk.write_bytes(old)
    with serve(lambda _: event_stream(stream_of("x" * length))) as server:
        done = sh(
            f"ulimit -f 80; exec chatpipe ask --base-url {server.url} -m m --transcript {talk.name} hi",
            cwd=talk.parent,
            env=NO_BYTECODE,
            is_new=True,
        )
        assert len(server.requests) == bool(stdout)
    assert (done.status, done.stdout) == (74, stdout)
    assert done.stderr.startswith(b"chatpipe: talk.jsonl: " + said)
    assert talk.read_bytes() == old


def test_side_file_that_fails_takes_the_turn_back(talk: Path) -> None:
    done = ask(talk, "-o", "out", "-M", "/dev/full", "x")
    assert done.status == 74
    assert sorted(path.name for path in talk.parent.iterdir()) == ["out.chatpipe-part"]


# Signals


def half_an_answer() -> Server:
    return serve(lambda _: [*event_stream([event(chunk("Half of"))], end=False), Stall()])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("old", [b"", OLD], ids=["new", "old"])
def test_call_that_is_cut_off_leaves_it_as_it_was(talk: Path, number: signal.Signals, old: bytes) -> None:
    if old:
        talk.write_bytes(old)
    with half_an_answer() as server:
        words = ("--base-url", server.url, "-m", "m", "--transcript", talk.name, "x")
        with start("ask", *words, cwd=talk.parent) as process:
            assert process.stdout is not None
            assert process.stdout.read(7) == b"Half of"
            process.send_signal(number)
            process.communicate()
    assert process.returncode == -number
    # Of a kill an empty file may be left: it is a new transcript, as good as none.
    assert talk.exists() == bool(old or number == signal.SIGKILL)
    assert not talk.exists() or talk.read_bytes() == old
    assert ask(talk, "-s", "s", "x").status == 0
    assert talk.read_bytes().startswith(old or b'{"role":"system"')


def test_call_that_waits_says_so_and_can_be_stopped(talk: Path) -> None:
    talk.write_bytes(OLD)
    with half_an_answer() as server:
        words = ("--transcript", talk.name, "x")
        with start("ask", "--base-url", server.url, "-m", "m", *words, cwd=talk.parent):
            server.until(lambda: server.requests)
            with start("ask", "-p", "echo", *words, cwd=talk.parent, env=delays.AT_ONCE) as second:
                assert second.stderr is not None
                assert second.stderr.readline() == (
                    b"chatpipe: waiting for 'talk.jsonl', which another process has locked\n"
                )
                second.send_signal(signal.SIGINT)
                assert second.communicate() == (b"", b"")
            assert second.returncode == -signal.SIGINT
    assert talk.read_bytes() == OLD


# At once


def test_calls_at_once_go_on_with_each_other(talk: Path) -> None:
    running = [
        start("ask", "-p", "echo", "--transcript", talk.name, f"{number}", cwd=talk.parent)
        for number in range(6)
    ]
    for process in running:
        with process:
            process.communicate()
            assert process.returncode == 0
    said = contents(talk)
    assert said[0::2] == said[1::2]
    assert sorted(said[0::2]) == ["0", "1", "2", "3", "4", "5"]
    assert [message["role"] for message in messages(talk)] == ["user", "assistant"] * 6
