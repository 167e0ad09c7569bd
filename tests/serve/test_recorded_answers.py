"""`serve --record` and `--replay`: what was recorded through the server comes again from it."""

from __future__ import annotations

import errno
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, RecordedRequest, read_record
from chatpipe.recordings.try_counter import NumberedRequest, TryCounter
from chatpipe.serve.replayed_reply import ReplayedReply
from chatpipe.serve.reply_steps import Close, Pause, ReplyPlan, Reset, Step, steps_of_reply
from chatpipe.serve.served_request import ServedRequest
from serve.client import Running, chat_body, chat_request, get, serving
from serve.test_upstream import REPLIES, answer, in_front, seen, texts_of
from support import strike
from support.patience import PATIENCE_S
from support.process import run
from support.servers.loopback import (
    Answer,
    Request,
    Stall,
    completion,
    error,
    event,
    event_stream,
    reply,
    stream_of,
)

KEY = "sk-of-the-client-0123456789abcdef"
KEPT = (b"content-type", b"retry-after", b"x-request-id")
CHUNKS = {"content-type": "text/event-stream"}


def records(path: Path) -> list[ExchangeRecord]:
    return [read_record(line) for line in path.read_bytes().splitlines()]


def record(*replies: dict[str, Any], **request: Any) -> bytes:
    """Lines of a recording by hand, one a reply to the same request."""
    asked = {"path": "/v1/chat/completions", "body": json.loads(chat_body(model="m", **request))}
    lines = [
        {"request": asked, "response": {"status": 200, **each}, **each.pop("line", {})} for each in replies
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Path]]:
    """All replies of test_upstream.py as they were seen through the server, and their recording."""
    path = tmp_path_factory.mktemp("recorded") / "r.jsonl"
    with in_front(answer, "--record", str(path)) as servers:
        yield {name: seen(servers.ours.port, get(target(name))) for name in REPLIES}, path


@pytest.fixture(scope="module")
def replaying(recorded: tuple[dict[str, Any], Path]) -> Iterator[Running]:
    with serving("--replay", str(recorded[1]), "--replay-speed", "max") as ours:
        yield ours


def target(name: str) -> str:
    return f"/v1/{name.replace(' ', '%20')}"


@pytest.mark.parametrize("name", REPLIES)
def test_replies_come_again(recorded: tuple[dict[str, Any], Path], replaying: Running, name: str) -> None:
    """With their status, body and end; of the headers with those that are kept."""
    first = recorded[0][name]
    again = seen(replaying.port, get(target(name)))
    if len(first) > 1:
        kept = [(key.lower(), value) for key, value in first[1] if key.lower() in KEPT]
        assert [header for header in again[1] if header[0] in KEPT] == kept
    # A stream that ended with its connection is now ended by itself.
    assert (again[0], *again[2:]) == (
        first[0],
        *first[2:3],
        *("complete" if end == "closed" else end for end in first[3:]),
    )


def test_what_is_recorded(tmp_path: Path) -> None:
    """Every try with its numbers, its pieces as they came, and no key, although the server sends it back."""

    def handler(request: Request) -> Answer:
        if len(upstream.requests) == 1:
            return error(429, "slow down", headers={"retry-after": "1", "set-cookie": "a=secret"})
        key = request.headers["authorization"]
        return event_stream([event({"choices": [], "key": key}), b"data: [DONE]\n\n"])

    path = tmp_path / "r.jsonl"
    with in_front(handler, "--record", str(path)) as servers:
        upstream = servers.upstream
        headers = b"Connection: close\r\nAuthorization: Bearer %b\r\n" % KEY.encode()
        for _ in range(3):
            seen(servers.ours.port, chat_request(headers=headers, model="m", stream=True))
        seen(servers.ours.port, get("/v1/models?key=" + KEY, headers))
        seen(servers.ours.port, get("/metrics", headers))
    found = records(path)
    assert [(each.occurrence, each.n, each.reply.status) for each in found[:3]] == [
        (1, 1, 429),
        (1, 2, 200),
        (2, 1, 200),
    ]
    assert dict(found[0].reply.headers) == {"content-type": "application/json", "retry-after": "1"}
    assert found[1].reply.body.endswith(b'***"}\n\ndata: [DONE]\n\n')
    assert [each.request.path for each in found] == ["/v1/chat/completions"] * 3 + ["/v1/models"]
    assert KEY.encode() not in path.read_bytes()


def test_a_client_that_goes_away_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    steps = {"/base/none": [Stall()], "/base/half": [*event_stream([b"data: 1\n\n"], end=False), Stall()]}
    with in_front(lambda request: steps[request.target], "--record", str(path)) as servers:
        for name in ("none", "half"):
            with servers.ours.connect() as connection:
                connection.sendall(get(f"/v1/{name}"))
                servers.upstream.until(lambda: servers.upstream.busy == 1)
                while name == "half" and not connection.recv(1000).endswith(b"data: 1\n\n\r\n"):
                    pass
            servers.upstream.until(lambda: servers.upstream.busy == 0)
        servers.upstream.until(lambda: len(records(path)) == 2)
    assert [(each.reply.status, each.reply.failure, each.reply.body) for each in records(path)] == [
        (None, "timeout", b""),
        (200, "cut", b"data: 1\n\n"),
    ]


def test_a_full_disk_ends_the_server_with_what_it_has_seen(tmp_path: Path) -> None:
    full = strike.at(("chatpipe.recordings.recording_writer:write_all", 1, "fail", [errno.ENOSPC]))
    path = tmp_path / "r.jsonl"
    with (
        in_front(answer, "--record", str(path), env=full) as servers,
        servers.ours.connect() as connection,
    ):
        connection.sendall(chat_request(model="m"))
        status, (_, stderr) = servers.ours.process.wait(), servers.ours.process.communicate()
    summary, fault = stderr.decode().splitlines()
    assert summary.startswith("chatpipe: 1 request (")
    assert fault.startswith(f"chatpipe: {path}: cannot record: no space left on device")
    assert status == 74


def test_a_run_comes_again_without_the_server(tmp_path: Path) -> None:
    """64 at once, among them equal lines, with failures in the way, and then as plain answers."""
    path, speed = tmp_path / "r.jsonl", ("--replay-speed", "max")
    lines = b"".join(b'{"prompt": "word %d"}\n' % (number % 150) for number in range(200))
    arguments = ("batch", "-m", "echo", "-j", "64", "-q")
    kinds = ("status=500", "cut", "truncate", "garbage")
    faults = [word for kind in kinds for word in ("--fault", f"{kind}:times=1:p=0.05")]
    with serving(*faults) as behind, serving("--upstream", behind.url, "--record", str(path)) as ours:
        first = run(*arguments, "--stream", "--base-url", ours.url, stdin=lines, timeout=60)
    assert (first.status, first.stdout.count(b"\n")) == (0, 200), first.stderr
    assert len({(each.key, each.occurrence, each.n) for each in records(path)}) == len(records(path)) > 200
    offline = run(*arguments, "--stream", "--replay", str(path), stdin=lines, timeout=60)
    assert sorted(texts_of(offline.stdout)) == sorted(texts_of(first.stdout)), offline.stderr
    for more in (("--stream",), ()):
        with serving("--replay", str(path), *speed) as ours:
            again = run(*arguments, *more, "--base-url", ours.url, stdin=lines, timeout=60)
        assert sorted(texts_of(again.stdout)) == sorted(texts_of(first.stdout)), again.stderr


@pytest.mark.parametrize(
    ("match", "fields", "words"),
    [
        ("exact", {}, None),
        ("exact", {"stream": True}, None),
        ("exact", {"seed": 5}, "/seed: recorded nothing, asked 5"),
        ("loose", {"seed": 5, "user": "x"}, None),
        ("loose", {"temperature": 0.5}, "/temperature: recorded nothing, asked 0.5"),
        ("exact", {"content": "a c"}, '/messages/0/content: recorded "a b", asked "a c"'),
    ],
)
def test_matches_and_misses(tmp_path: Path, match: str, fields: dict[str, Any], words: str | None) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(record({"body": completion("an answer")}))
    with serving("--replay", str(path), "--replay-match", match) as ours:
        status, headers, body, _ = seen(ours.port, chat_request(model="m", **fields))
    if words is not None:
        assert (status, json.loads(body)["error"]["type"]) == (404, "no_recording")
        assert json.loads(body)["error"]["message"].startswith(f"{path}:1: no recording of this request")
        assert words in json.loads(body)["error"]["message"]
        return
    assert (status, b"an answer" in body) == (200, True)
    kind = b"text/event-stream; charset=utf-8" if "stream" in fields else b"application/json"
    assert (b"content-type", kind) in headers


def test_a_refusal_whose_cause_was_mended_is_passed_over(tmp_path: Path) -> None:
    """A client without a key is refused, gets one, and asks again. The replay has the answers alone."""
    path = tmp_path / "r.jsonl"

    def check(request: Request) -> Answer:
        has_key = "authorization" in request.headers
        return reply(body=completion("an answer")) if has_key else error(401, "no key")

    with in_front(check, "--record", str(path)) as servers:
        got = [
            seen(servers.ours.port, chat_request("a b", key + b"Connection: close\r\n"))[0]
            for key in (
                b"",
                b"Authorization: Bearer sk-expected-1\r\n",
                b"Authorization: Bearer sk-expected-1\r\n",
            )
        ]
    assert got == [401, 200, 200]
    assert [(each.occurrence, each.n) for each in records(path)] == [(1, 1), (1, 2), (2, 1)]
    with serving("--replay", str(path)) as ours:
        assert [seen(ours.port, chat_request("a b"))[0] for _ in range(3)] == [200] * 3


def test_a_file_without_recordings_is_65(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.touch()
    done = run("serve", "--replay", str(path))
    assert (done.status, done.stdout) == (65, b"")
    assert f"{path}: there are no recordings in it" in done.stderr.decode()


def test_a_file_that_is_emptied_is_told_once_and_no_reason_to_ask_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(record({"body": completion("an answer")}))
    with serving("--replay", str(path)) as ours:
        path.write_bytes(b"")
        replies = [seen(ours.port, chat_request(model="m")) for _ in range(2)]
        ours.process.terminate()
        stderr = ours.process.communicate()[1]
    assert [(status, json.loads(body)["error"]["type"]) for status, _, body, _ in replies] == [
        (404, "no_recording")
    ] * 2
    assert stderr.count(b"a recording can no longer be read") == 1


def test_the_last_recording_of_a_request_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    refused = {"status": 429, "body": {"error": {"message": "slow"}}}
    second_try = {"body": completion("one"), "line": {"n": 2}}
    path.write_bytes(record(refused, second_try, {"body": completion("two"), "line": {"occurrence": 2}}))
    with serving("--replay", str(path), "--replay-speed", "max") as ours:
        bodies = [seen(ours.port, chat_request(model="m"))[2] for _ in range(4)]
    assert [next(word for word in (b"slow", b"one", b"two") if word in body) for body in bodies] == [
        b"slow",
        b"one",
        b"two",
        b"two",
    ]


def test_what_is_not_recorded_is_asked_and_added(tmp_path: Path) -> None:
    path, other = tmp_path / "r.jsonl", tmp_path / "all.jsonl"
    path.write_bytes(record({"body": completion("an answer")}))
    for target, count in ((path, 2), (other, 2), (path, 2)):
        options = ("--replay", str(path), "--record", str(target), "--replay-speed", "max")
        with serving() as behind, serving("--upstream", behind.url, *options) as ours:
            assert b"an answer" in seen(ours.port, chat_request(model="m"))[2]
            assert b"x y" in seen(ours.port, chat_request("x y", model="m"))[2]
            end = time.monotonic() + PATIENCE_S
            while len(records(target)) != count:
                assert time.monotonic() < end, records(target)


def test_equal_requests_are_samples_until_the_next_start(tmp_path: Path) -> None:
    """As in a run with --record and --replay of one file: what is added now is used from the next one on."""
    path = tmp_path / "r.jsonl"
    options = ("--record", str(path), "--replay", str(path), "--replay-speed", "max")
    with serving() as behind:
        for count in (2, 3):
            with serving("--upstream", behind.url, *options) as ours:
                for _ in range(count):
                    assert b"x y" in seen(ours.port, chat_request("x y", model="m"))[2]
                end = time.monotonic() + PATIENCE_S
                while len(records(path)) < 2:
                    assert time.monotonic() < end
            assert [each.occurrence for each in records(path)] == [1, 2]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("cut=1", (200, b'"content":"b"', "cut")),
        ("length", (200, b'"finish_reason":"length"', "complete")),
        ("status=500", (500, b"fault that was asked for", "complete")),
    ],
)
def test_faults_of_recordings(tmp_path: Path, fault: str, expected: tuple[int, bytes, str]) -> None:
    path = tmp_path / "r.jsonl"
    pieces = [[0, each.decode()] for each in stream_of(["b", "c"])]
    path.write_bytes(record({"headers": CHUNKS, "chunks": pieces}))
    with serving("--replay", str(path), "--fault", fault) as ours:
        status, _, body, end = seen(ours.port, chat_request(model="m", stream=True))
    assert (status, end) == (expected[0], expected[2])
    assert (expected[1] in body) == (fault != "cut=1")


def _ignore(*_: object) -> None:
    """Take the end of an exchange."""


def played(reply: RecordedReply, took_ms: int, speed: float) -> tuple[ReplyPlan, list[Step]]:
    asked = NumberedRequest(RecordedRequest("POST", "/v1/chat/completions", {"stream": True}), "", 1, 1)
    source = ReplayedReply(ExchangeRecord("", asked.request, reply, took_ms=took_ms), asked, speed, _ignore)
    plan = ReplyPlan(0, (), (), source=source)
    return plan, list(steps_of_reply(plan, ServedRequest("POST", "/", {}, b"")))


def waits(reply: RecordedReply, took_ms: int, speed: float) -> list[Any]:
    """The steps, with the seconds of pauses as they are from the beginning."""
    steps = played(reply, took_ms, speed)[1]
    return [round(step.seconds, 1) if isinstance(step, Pause) else step for step in steps]


STREAM = RecordedReply(200, tuple(CHUNKS.items()), ((1000, b"a"), (1000, b"b"), (3000, b"c")))


@pytest.mark.parametrize(
    ("speed", "pauses"), [(1.0, [1.0, 1.0, 1.0, 3.0]), (10.0, [0.1, 0.1, 0.1, 0.3]), (math.inf, [])]
)
def test_times(speed: float, pauses: list[float]) -> None:
    """Nobody waits here, so each pause is as long as the time since the beginning."""
    steps = waits(STREAM, 5000, speed)
    assert [step for step in steps if isinstance(step, float)] == pauses
    pieces = [step for step in steps if isinstance(step, bytes)]
    assert pieces[1:] == [b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"]
    assert isinstance(steps[0], float) == bool(pauses)


@pytest.mark.parametrize(
    ("failure", "reason", "ending"),
    [
        ("cut", "", Close()),
        ("cut", "Connection reset by peer before the end of the reply", Reset()),
        ("broken", "no gzip", Close()),
        ("timeout", "", Pause(1e9)),
    ],
)
def test_ends_of_replies(failure: str, reason: str, ending: Step) -> None:
    """They are cut for the verdict, too."""
    reply = RecordedReply(200, tuple(CHUNKS.items()), ((0, b"a"),), failure, reason)
    plan, steps = played(reply, 0, math.inf)
    assert (plan.is_cut, steps[2]) == (True, ending)


def test_numbers_of_equal_requests() -> None:
    """A failed one is tried again by the next one; others are occurrences, also while it runs."""
    asked, good, bad = RecordedRequest("GET", "/v1/models", ""), RecordedReply(200), RecordedReply(503)
    counter = TryCounter()

    def begin() -> NumberedRequest:
        return counter.begin(asked)

    first, second = begin(), begin()
    assert [(each.occurrence, each.n) for each in (first, second)] == [(1, 1), (2, 1)]
    counter.end(second, bad, 1)
    counter.end(first, good, 1)
    again = begin()
    assert (again.occurrence, again.n) == (2, 2)
    counter.end(again, RecordedReply(200, (), (), "cut"), 1)
    assert begin()[2:] == (2, 3)
    assert begin()[2:] == (3, 1)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--record", "r.jsonl"), 2, b"--record: there is nothing to record: add --upstream URL"),
        (("--replay-speed", "2"), 2, b"--replay-speed: there is nothing to replay: add --replay FILE"),
        (("--replay", "r.jsonl", "--replay-speed", "0"), 2, b"'0' is not a number above 0"),
        (("--replay", "none.jsonl"), 66, b"--replay: cannot read 'none.jsonl'"),
        (("--replay", "r.jsonl", "--tpm", "9"), 2, b"--tpm: the tokens"),
        (("--replay", "r.jsonl", "--log", "r.jsonl"), 2, b"r.jsonl"),
        (("--replay", "bad.jsonl"), 65, b"bad.jsonl:1: not"),
        (("--upstream", "https://a.example/v1", "--record", "bad.jsonl"), 65, b"bad.jsonl:1: not"),
        (("--upstream", "https://a.example/v1", "--record", "/dev/full"), 74, b"/dev/full"),
    ],
)
def test_what_cannot_be_recorded_or_replayed(
    tmp_path: Path, options: tuple[str, ...], status: int, words: bytes
) -> None:
    (tmp_path / "r.jsonl").write_bytes(record({"body": completion("x")}))
    (tmp_path / "bad.jsonl").write_bytes(b"not a record\n")
    done = run("serve", *options, cwd=tmp_path)
    assert (done.status, words in done.stderr) == (status, True), done.stderr
    assert done.stderr.count(b"\n") == 1
