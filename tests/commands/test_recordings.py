"""Commands that record what servers say, and answer from it without a server."""

from __future__ import annotations

import errno
import json
import signal
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from commands.asking import ask, words
from support import strike
from support.parametrize import cases
from support.process import Done, run, start
from support.servers.loopback import (
    Answer,
    Close,
    Request,
    Stall,
    WaitFor,
    chunk,
    closed_port,
    completion,
    error,
    event,
    event_stream,
    reply,
    serve,
    steps_of,
    stream_of,
)

URL = "https://api.example.com/v1"
NOWHERE = f"http://127.0.0.1:{closed_port()}/v1"
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":"b"}'}}
TOOL = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
CALLING = completion(None, message={"role": "assistant", "tool_calls": [CALL]}, finish_reason="tool_calls")


def records(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def write_records(path: Path, *attempts: tuple[int, Any, dict[str, str]], text: str = "Hello") -> None:
    """The attempts of one request, each a status, a body and headers, as somebody writes them by hand."""
    lines = [
        {
            "n": n,
            "request": {"body": body(text)},
            "response": {"status": status, "body": said, "headers": headers},
        }
        for n, (status, said, headers) in enumerate(attempts, 1)
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))


class Model:
    """A server with good and bad days: the first attempt at some texts fails, in one way or another."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, request: Request) -> Answer:
        asked = request.json()
        text = asked["messages"][0]["content"]
        key = json.dumps(asked["messages"])
        self.seen[key] = self.seen.get(key, 0) + 1
        bad: dict[str, Answer] = {
            "1": error(503, "busy", headers={"Retry-After": "0"}),
            "2": [*steps_of(event_stream([event(chunk("Half of"))], end=False)), Close()],
            "3": error(500, "a bug"),
            "4": reply(200, b"<html>"),
            "5": [Close()],
            "6": error(400, "never"),
        }
        if text[-1] in bad and (self.seen[key] == 1 or text[-1] in "46"):
            return bad[text[-1]]
        if text[-1] == "7" and len(asked["messages"]) == 1:
            return reply(200, CALLING)
        said = f"{text} #{self.seen[key]}"
        return (
            event_stream(stream_of([said, " ä😀"])) if asked.get("stream") else reply(200, completion(said))
        )


def results(path: Path) -> list[Any]:
    """The result lines in the order of the input, without the times, and the estimates of lost attempts."""
    found = sorted(
        map(orjson.loads, path.read_bytes().splitlines()[1:]), key=lambda each: each["chatpipe"]["line"]
    )
    for each in found:
        del each["chatpipe"]["at"], each["chatpipe"]["latency_s"]
        each["chatpipe"].pop("lost_usage", None)
    return found


def test_a_run_with_tools_streams_and_failures_replays_to_the_byte(tmp_path: Path) -> None:
    lines = [body(f"text {number % 57}", stream=number % 3 == 0) for number in range(60)]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    (tmp_path / "tool.json").write_bytes(orjson.dumps(TOOL))
    tools = ("--tool", "tool.json", "--exec", "f=cat", "--retries", "1", "--progress", "none")
    with serve(Model()) as server:
        command = ("batch", "--base-url", server.url, "in.jsonl", *tools)
        first = run(*command, "--record", "r", "-o", "one", cwd=tmp_path)
    again = run(*command, "--replay", "r", "-o", "two", cwd=tmp_path)
    assert first.status == again.status == 1, (first.stderr, again.stderr)
    one, two = (results(tmp_path / f"{name}.journal") for name in ("one", "two"))
    assert one == two
    assert {each["chatpipe"]["outcome"] for each in one} == {"ok", "http", "network"}
    assert any(each["chatpipe"]["attempts"] == 2 for each in one)


def test_map_replays(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\none\ntwo\none\n")
    command = ("map", "-m", "m", "<{{a}}>", "rows.csv", "--csv", "--into", "b")
    with serve() as server:
        done = run(*command, "--base-url", server.url, "--record", "r", cwd=tmp_path)
    assert run(*command, "--base-url", NOWHERE, "--replay", "r", cwd=tmp_path) == done
    assert done.stdout == b"a,b\none,<one>\ntwo,<two>\none,<one>\n"


def test_several_servers_replay(tmp_path: Path) -> None:
    """A line that moves on has the same tries, and servers that all fail are not waited for."""
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps(body(f"t {each}")) for each in range(20)))
    urls = ("--base-url", URL, "--base-url", "https://b.example.com/v1", "--retries", "9")
    lines = []
    for each in range(20):
        attempts = [(500, "a bug")] * (each % 7) + [(200, completion("Hi"))]
        lines += [
            {"n": n, "request": {"body": body(f"t {each}")}, "response": {"status": status, "body": said}}
            for n, (status, said) in enumerate(attempts, 1)
        ]
    (tmp_path / "r").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    done = run("batch", "in.jsonl", *urls, "--replay", "r", "-f", "string", "-k", cwd=tmp_path)
    assert (done.status, done.stdout) == (0, b'"Hi"\n' * 20), done.stderr


def test_a_call_goes_on_at_the_next_server_as_it_did(tmp_path: Path) -> None:
    with serve() as server:
        urls = ("--base-url", server.url)
        first = ask(NOWHERE, *urls, "--record", "r", cwd=tmp_path)
    assert ask(NOWHERE, *urls, "--replay", "r", cwd=tmp_path) == first
    assert first.stdout == b"Hello\n"


@pytest.mark.parametrize("form", [("-f", "json"), ("-f", "text"), ("-f", "sse"), ("-f", "chunks")], ids=str)
@pytest.mark.parametrize("recorded", [("-f", "json"), ("-f", "text")], ids=str)
def test_either_form_answers_the_other(
    recorded: tuple[str, str], form: tuple[str, str], tmp_path: Path
) -> None:
    with serve() as server:
        assert ask(server.url, *recorded, "--record", "r", cwd=tmp_path).status == 0
    done = ask(NOWHERE, *form, "--replay", "r", cwd=tmp_path)
    assert (done.status, done.stderr) == (0, b"")
    assert b"Hello" in done.stdout


def test_no_key_is_looked_for(tmp_path: Path) -> None:
    write_records(tmp_path / "r", (200, completion("Hi"), {}))
    key = ("--key-command", "touch ran", "--cacert", "missing.pem")
    assert ask(URL, *key, "--replay", "r", cwd=tmp_path) == (0, b"Hi\n", b"")
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps(body("Hello")))
    done = run("batch", "--base-url", URL, *key, "--replay", "r", "-f", "string", "in.jsonl", cwd=tmp_path)
    assert done == (0, b'"Hi"\n', b"")
    assert not (tmp_path / "ran").exists()


BUSY = (429, {"error": {"message": "slow down"}}, {"Retry-After": "100"})


def test_nothing_is_waited_for(tmp_path: Path) -> None:
    """Neither between the tries of a call, nor in a run as a whole, nor at a rate."""
    write_records(tmp_path / "r", BUSY, BUSY, (500, "", {}), (200, completion("Hi"), {}))
    done = ask(URL, "--replay", "r", cwd=tmp_path)
    assert (done.status, done.stdout) == (0, b"Hi\n")
    assert done.stderr.count(b"trying again at once") == 3
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([orjson.dumps(body("Hello"))] * 20))
    command = ("batch", "in.jsonl", "--replay", "r", "-f", "string", "--rpm", "1", "-q")
    assert run(*command, cwd=tmp_path) == (0, b'"Hi"\n' * 20, b"")


def test_a_pause_that_ended_a_run_ends_its_replay(tmp_path: Path) -> None:
    write_records(tmp_path / "r", BUSY)
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps(body("Hello")))
    done = run("batch", "in.jsonl", "--replay", "r", "--max-pause", "99", cwd=tmp_path)
    assert (done.status, b"100 s" in done.stderr) == (75, True), done.stderr


def test_limits_in_headers_are_not_waited_for(tmp_path: Path) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "100s"}
    write_records(tmp_path / "r", (200, completion("Hi"), headers))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([orjson.dumps(body("Hello"))] * 40))
    done = run("batch", "in.jsonl", "--replay", "r", "-f", "string", "-j", "2", cwd=tmp_path)
    assert done == (0, b'"Hi"\n' * 40, b"")


def missed(path: str = "r", place: str = "r:1") -> bytes:
    difference = '/messages/0/content: recorded "Hello", asked "Hallo"'
    what = f"no recording of this request: the nearest differs at {difference}"
    return f"chatpipe: {place}: {what}: add --record {path} to record it\n".encode()


def test_a_request_that_was_not_recorded(tmp_path: Path) -> None:
    write_records(tmp_path / "r", (200, completion("Hi"), {}))
    assert run(*words(URL, "--replay", "r", prompt="Hallo"), cwd=tmp_path) == (66, b"", missed())


def test_a_run_ends_at_a_line_that_was_not_recorded(tmp_path: Path) -> None:
    """What was answered is written, the line is `unsent`, and the next run with --record goes on."""
    write_records(tmp_path / "r", (200, completion("Hi"), {}))
    lines = [body("Hello"), body("Hallo"), *[body(f"more {number}") for number in range(50)]]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    run_it = ("batch", "in.jsonl", "-o", "out", "-j", "1", "--replay", "r")
    assert run(*run_it, cwd=tmp_path) == (66, b"", missed())
    assert [each["chatpipe"]["outcome"] for each in results(tmp_path / "out.journal")] == ["ok", "unsent"]
    with serve() as server:
        done = run(*run_it, "--record", "r", "--base-url", server.url, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert len(server.requests) == 51
    (tmp_path / "out").unlink()
    assert run(*run_it, "--fresh", cwd=tmp_path).status == 0


def test_use_and_add(tmp_path: Path) -> None:
    both = ("--record", "r", "--replay", "r")
    with serve() as server:
        for prompt in ("one", "two", "one"):
            done = run(*words(server.url, *both, prompt=prompt), cwd=tmp_path)
            assert done == (0, f"{prompt}\n".encode(), b"")
    assert len(server.requests) == len(records(tmp_path / "r")) == 2


def test_another_file_gets_all_exchanges(tmp_path: Path) -> None:
    write_records(tmp_path / "old", (200, completion("Hi"), {}))
    with serve() as server:
        options = ("--replay", "old", "--record", "new")
        assert ask(server.url, *options, cwd=tmp_path).stdout == b"Hi\n"
        assert run(*words(server.url, *options, prompt="more"), cwd=tmp_path).stdout == b"more\n"
    assert len(server.requests) == 1
    assert len(records(tmp_path / "old")) == 1
    assert [each["request"]["body"]["messages"][0]["content"] for each in records(tmp_path / "new")] == [
        "Hello",
        "more",
    ]


@cases("number", {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM})
def test_a_signal_in_mid_stream_records_what_came(number: signal.Signals, tmp_path: Path) -> None:
    def silent(_: Request) -> Answer:
        return [*event_stream([event(chunk("Half of"))], end=False), Stall()]

    with serve(silent) as server, start(*words(server.url, "--record", "r"), cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"Half of"
        process.send_signal(number)
        process.wait()
    assert process.returncode == -number
    [record] = records(tmp_path / "r")
    assert record["response"]["error"] == "cut"
    assert "Half of" in record["response"]["chunks"][-1][1]


def test_kill_loses_the_exchange_in_flight_only(tmp_path: Path) -> None:
    go = threading.Event()

    def handler(request: Request) -> Answer:
        is_last = request.json()["messages"][0]["content"] == "b"
        return [WaitFor(go)] if is_last else reply(200, completion("Hi"))

    (tmp_path / "in.jsonl").write_bytes(orjson.dumps(body("a")) + b"\n" + orjson.dumps(body("b")))
    with serve(handler) as server:
        command = ("batch", "--base-url", server.url, "in.jsonl", "--record", "r", "-j", "1")
        with start(*command, cwd=tmp_path) as process:
            server.until(lambda: len(server.requests) == 2)
            process.kill()
            process.wait()
        go.set()
    assert [each["request"]["body"] for each in records(tmp_path / "r")] == [body("a")]


def full(*, nth: int = 1) -> dict[str, str]:
    return strike.at(("chatpipe.recordings.recording_writer:write_all", nth, "fail", [errno.ENOSPC]))


def test_a_full_disk_costs_no_answer_of_a_call(tmp_path: Path) -> None:
    with serve() as server:
        done = ask(server.url, "--record", "r", cwd=tmp_path, env=full())
    assert (done.status, done.stdout) == (74, b"Hello\n")
    assert done.stderr.startswith(b"chatpipe: r: cannot record: no space left on device")
    assert (tmp_path / "r").read_bytes() == b""


def test_a_full_disk_ends_a_run(tmp_path: Path) -> None:
    """The answers before are kept, and nothing more is sent."""
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(orjson.dumps(body(str(number))) for number in range(9)))
    with serve() as server:
        command = ("batch", "--base-url", server.url, "in.jsonl", "--record", "r", "-j", "1", "-o", "out")
        done = run(*command, cwd=tmp_path, env=full(nth=3))
    assert done.status == 74
    assert done.stderr.startswith(b"chatpipe: r: cannot record: no space left on device")
    assert done.stderr.count(b"cannot record") == 1
    assert len(server.requests) == 3
    outcomes = [each["chatpipe"]["outcome"] for each in results(tmp_path / "out.journal")]
    assert outcomes == ["ok", "ok", "ok", "unsent"]
    assert len(records(tmp_path / "r")) == 2


@cases(
    ("options", "status", "said"),
    {
        "no such file": (("--replay", "no"), 66, "--replay: cannot read 'no': no such file or directory"),
        "a folder": (("--replay", "."), 66, "--replay: cannot read '.': "),
        "another file": (("--replay", "text"), 65, "text:1: not JSON"),
        "another file to record in": (("--record", "text"), 65, "text:1: not JSON"),
        "stdout": (("--record", "-"), 2, "--record: neither stdin nor stdout can hold recordings"),
        "a device": (("--record", "/dev/full"), 74, "/dev/full: cannot record: not a regular file"),
        "stdout by its name": (
            ("--record", "/dev/stdout"),
            2,
            "--record: '/dev/stdout' is standard output, too",
        ),
        "no folder": (("--record", "no/r"), 74, "no/r: cannot write: no such file or directory"),
        "the output": (("--record", "out", "-o", "out"), 2, "--record: 'out' is the file of --output, too"),
        "the output, read": (("--replay", "text", "-o", "text"), 2, "'text' is the file of"),
        "nothing to match": (("--replay-match", "loose"), 2, "--replay-match: nothing to compare with"),
    },
)
def test_files_that_cannot_be_used(options: tuple[str, ...], status: int, said: str, tmp_path: Path) -> None:
    """One line, before anything is sent."""
    (tmp_path / "text").write_text("a text\n")
    with serve() as server:
        done: Done = ask(server.url, *options, cwd=tmp_path)
    assert (done.status, done.stdout, server.requests) == (status, b"", [])
    assert said in done.stderr.decode()
    assert (tmp_path / "text").read_text() == "a text\n"
    assert not (tmp_path / "out").exists()
