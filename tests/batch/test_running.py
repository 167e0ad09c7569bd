"""`chatpipe batch` as a process, against the loopback server: what is sent, what comes out, how it ends."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from batch.result_lines import numbers, records
from batch.runs import (
    REFUSING,
    REPLIES,
    SOON,
    answer,
    batch,
    command,
    jsonl,
    prompt,
    started,
    without_get,
)
from support import strike
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import CHATPIPE, environment, run, sh, start
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    Reset,
    Server,
    Stall,
    WaitFor,
    completion,
    error,
    event_stream,
    reply,
    serve,
    steps_of,
    stream_of,
)
from support.speed import at_any_speed


def many(count: int) -> bytes:
    """Prompts p0, p1 and so on."""
    return jsonl(*(f"p{number}" for number in range(count)))


LOOP_THAT_COMPLAINS = """
import asyncio, sys
from chatpipe.batch import dry_run
from chatpipe.main import main

async def estimate(*_):
    asyncio.get_running_loop().call_exception_handler({"message": "lost"})
    asyncio.log.logger.warning("slow")
    return {"bad": 0}

dry_run._estimate = estimate
main()
"""


def test_the_event_loop_never_speaks_on_stderr() -> None:
    command = (sys.executable, "-c", LOOP_THAT_COMPLAINS, "batch", "-p", "echo", "-m", "m", "--dry-run")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"bad":0}\n', b"")


# The input


def test_all_shapes_of_a_line_in_one_stream() -> None:
    batch_line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "own", "messages": [{"role": "user", "content": "one"}], "n": 1},
    }
    body = {"messages": [{"role": "user", "content": "two"}], "temperature": 0}
    row = {"custom_id": "c", "prompt": "three", "system": "Be brief.", "seed": 7}
    stdin = b"\n".join([*map(orjson.dumps, (batch_line, body, row)), b"", b'"four"', b'{"prompt":"five"}\r'])
    done = batch("-j1", stdin=stdin)
    assert done.status == 0
    assert done.stderr == b""
    assert [request.json() for request in done.requests] == [
        {"model": "own", "messages": [{"role": "user", "content": "one"}], "n": 1},
        {"model": "m", "messages": [{"role": "user", "content": "two"}], "temperature": 0},
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "three"}],
            "seed": 7,
        },
        {"model": "m", "messages": [{"role": "user", "content": "four"}]},
        {"model": "m", "messages": [{"role": "user", "content": "five"}]},
    ]
    assert [(each["custom_id"], each["chatpipe"]["line"]) for each in done.records] == [
        ("a", 1),
        ("line-2", 2),
        ("c", 3),
        ("line-5", 5),
        ("line-6", 6),
    ]


def test_plain_lines_are_prompts_as_they_are() -> None:
    done = batch("--lines", "-j1", stdin=b'  {"prompt": "x"} \n\n[1]\nlast')
    assert done.status == 0
    assert done.prompts == ['  {"prompt": "x"} ', "[1]", "last"]
    assert done.lines == [1, 3, 4]


def test_a_file_is_read_as_stdin_is(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(jsonl("one", "two"))
    done = batch("in.jsonl", stdin=None, cwd=tmp_path)
    assert (done.status, sorted(done.prompts)) == (0, ["one", "two"])


def test_a_missing_file_is_66_and_nothing_is_sent() -> None:
    done = batch("no-such-file", stdin=None)
    assert (done.status, done.stdout, done.requests) == (66, b"", [])


def messages_of(*pairs: str) -> list[dict[str, str]]:
    return [dict(zip(("role", "content"), pair.split(":"), strict=True)) for pair in pairs]


@cases(
    "options, expected",
    {
        "nothing is added but the model": (
            [],
            [("own", None, ["system:Own", "user:q"]), ("m", None, ["user:r"])],
        ),
        "a system message of the line wins": (
            ["-s", "Default", "--seed", "1"],
            [("own", 1, ["system:Own", "user:q"]), ("m", 1, ["system:Default", "user:r"])],
        ),
        "examples stand between the system message and the line": (
            ["-s", "Default", "-u", "Q", "-a", "A"],
            [
                ("own", None, ["system:Own", "user:Q", "assistant:A", "user:q"]),
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:r"]),
            ],
        ),
        "override turns it round": (
            ["--override", "-s", "Default", "-u", "Q", "-a", "A"],
            [
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:q"]),
                ("m", None, ["system:Default", "user:Q", "assistant:A", "user:r"]),
            ],
        ),
    },
)
def test_options_are_defaults_of_every_line(
    options: list[str], expected: list[tuple[str, int | None, list[str]]]
) -> None:
    """-f requests writes what would be sent, as Batch lines, and sends nothing."""
    stdin = b'{"custom_id":"x","prompt":"q","system":"Own","model":"own"}\n"r"\n'
    done = batch("-f", "requests", *options, stdin=stdin)
    assert (done.status, done.requests) == (0, [])
    written = done.records
    assert [(each["custom_id"], each["method"], each["url"]) for each in written] == [
        ("x", "POST", "/v1/chat/completions"),
        ("line-2", "POST", "/v1/chat/completions"),
    ]
    bodies = [each["body"] for each in written]
    assert [(body["model"], body.get("seed"), body["messages"]) for body in bodies] == [
        (model, seed, messages_of(*messages)) for model, seed, messages in expected
    ]


def test_bad_lines_are_reported_with_their_place_instead_of_requests() -> None:
    done = batch("-f", "requests", stdin=b'"a"\n\n{"a\n"b"\n')
    assert (done.status, done.requests) == (65, [])
    assert [each["custom_id"] for each in done.records] == ["line-1", "line-4"]
    assert done.stderr.startswith(b"chatpipe: <stdin>:3")


@cases(
    "line, words",
    {
        "not JSON": (b'{"prompt": "x"', "<stdin>:3"),
        "not UTF-8": (b'"caf\xe9"', "byte 0xe9 is not UTF-8"),
        "a NUL": (b'"a\0b"', "<stdin>:3"),
        "a number": (b"7", "is a number, not a request"),
        "an array": (b"[]", "is an array, not a request"),
        "an id that is no string": (b'{"custom_id":7,"prompt":"x"}', "/custom_id: is a number"),
        "no object": (b'{"custom_id":"x","body":[]}', "/body: is an array, not an object"),
        "refused by the check": (b'{"prompt":"x","temperature":9}', "/temperature: is 9, more than 2"),
        "a slip": (b'{"prompt":"x","max_token":9}', "did you mean 'max_tokens'"),
        "no messages": (b'{"messages":[]}', "/messages: is empty"),
    },
)
def test_a_bad_line_is_a_result_with_its_place_and_the_others_go_on(line: bytes, words: str) -> None:
    done = batch("-k", stdin=b'"a"\n \n' + line + b'\n"b"\n')
    assert done.status == 1
    assert sorted(done.prompts) == ["a", "b"]
    written = done.records
    assert [each["chatpipe"]["line"] for each in written] == [1, 3, 4]
    bad = written[1]
    assert bad["response"] is None
    assert bad["error"]["code"] == bad["chatpipe"]["outcome"] == "input"
    assert bad["chatpipe"]["attempts"] == 0
    assert bad["chatpipe"]["latency_s"] is None
    assert bad["error"]["message"].startswith("<stdin>:3")
    assert words in bad["error"]["message"]


def test_a_line_of_three_megabytes_goes_through() -> None:
    text = "long " * 600_000
    done = batch("-f", "string", stdin=jsonl("a", text, "b"))
    assert done.status == 0
    assert [orjson.loads(line) for line in done.stdout.splitlines()] == ["A", text.upper(), "B"]


# The result lines


def without_variable_parts(record: dict[str, Any]) -> dict[str, Any]:
    """A result line without its times, server and fingerprint, where something was sent."""
    latency_s, fingerprint = record["chatpipe"].pop("latency_s"), record["chatpipe"].pop("fingerprint")
    at, server = record["chatpipe"].pop("at"), record["chatpipe"].pop("server")
    if fingerprint is not None:
        assert re.fullmatch("[0-9a-f]{32}", fingerprint)
        assert record.pop("id") == f"chatpipe-{fingerprint}"
    assert (fingerprint is None) == (record["chatpipe"]["outcome"] == "input")
    if record["chatpipe"]["attempts"] == 0:
        assert (latency_s, at, server) == (None, None, None)
        return record
    assert 0 <= latency_s < 10
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", server)
    return record


def test_result_lines_of_every_outcome() -> None:
    stdin = jsonl("hi", "cut", "no", "nothing", "400", "500", "reset") + b"oops\n"
    done = batch("-k", "--retries", "0", stdin=stdin)
    written = [without_variable_parts(each) for each in done.records]
    messages = [each["error"] and each["error"].pop("message") for each in written]

    def good(body: dict[str, Any], request_id: str | None = None) -> dict[str, Any]:
        return {"status_code": 200, "request_id": request_id, "body": body}

    def failed(status: int, message: str, code: str | None, request_id: str | None) -> dict[str, Any]:
        what = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return {"status_code": status, "request_id": request_id, "body": {"error": what}}

    expected: list[tuple[Any, Any, str, int]] = [
        (good(completion("HI"), "req-2"), None, "ok", 1),
        (good(completion("Once upon", finish_reason="length")), {"code": "truncated"}, "truncated", 1),
        (good(completion(None, message=REFUSING)), {"code": "refused"}, "refused", 1),
        (good(completion("")), {"code": "empty"}, "empty", 1),
        (failed(400, "no such thing", "bad", "req-400"), {"code": "http_400"}, "http", 1),
        (failed(500, "broken", None, None), {"code": "http_500"}, "http", 1),
        (None, {"code": "network"}, "network", 1),
        (None, {"code": "input"}, "input", 0),
    ]
    assert done.status == 1
    assert written == [
        {
            **({"id": "chatpipe-line-8"} if outcome == "input" else {}),
            "custom_id": f"line-{line}",
            "response": response,
            "error": fault,
            "chatpipe": {"line": line, "outcome": outcome, "attempts": attempts},
        }
        for line, (response, fault, outcome, attempts) in enumerate(expected, 1)
    ]
    assert messages[0] is None
    assert all(isinstance(message, str) and message for message in messages[1:])
    assert "no such thing" in messages[4]
    assert "finish_reason 'length'" in messages[1]


def test_unsent_lines_have_their_own_outcome() -> None:
    done = batch("--no-send", stdin=jsonl("hi"))
    assert done.requests == []
    [record] = done.records
    assert done.status == 1
    assert record["response"] is None
    assert record["error"] == {
        "code": "unsent",
        "message": "it has no recorded answer, and --no-send sends nothing",
    }
    assert record["chatpipe"]["outcome"] == "unsent"
    assert record["chatpipe"]["attempts"] == 0


@cases(
    "headers, expected",
    {
        "in any case": ([("X-REQUEST-ID", "r1")], "r1"),
        "repeated": ([("x-request-id", "r1"), ("X-Request-Id", "r2")], "r1, r2"),
        "not there": ([], None),
    },
)
@pytest.mark.parametrize("status", [200, 400])
def test_the_servers_name_of_a_request(
    status: int, headers: list[tuple[str, str]], expected: str | None
) -> None:
    body = completion("hi") if status == 200 else {"error": {"message": "no"}}
    done = batch(stdin=jsonl("a"), handler=lambda _: reply(status, body, headers))
    assert [each["response"]["request_id"] for each in done.records] == [expected]


def test_the_servers_own_bytes_are_in_the_line() -> None:
    """A pretty-printed answer is written on one line. Unknown fields and odd numbers are kept."""
    body = (
        b'{\r\n "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],\n "a": 1.50}'
    )
    sent = reply(200, body, {"content-type": "application/json"})
    done = batch(stdin=jsonl("hi"), handler=lambda _: sent)
    assert done.stdout.count(b"\n") == 1
    assert b'"a": 1.50}' in done.stdout


@cases(
    "allow, failed, status",
    {
        "nothing": ("", ["cut", "no", "nothing", "400", "reset", "bad"], 1),
        "truncated": ("truncated", ["no", "nothing", "400", "reset", "bad"], 1),
        "two at once": ("refused,empty", ["cut", "400", "reset", "bad"], 1),
        "failed is what has no answer": ("failed", ["cut", "no", "nothing"], 1),
        "everything": ("truncated,refused,empty,failed", [], 0),
    },
)
def test_error_is_null_exactly_on_successes(allow: str, failed: list[str], status: int) -> None:
    texts = ["hi", "cut", "no", "nothing", "400", "reset"]
    stdin = b"".join(orjson.dumps({"custom_id": text, "prompt": text}) + b"\n" for text in texts)
    stdin += b'{"custom_id":"bad","prompt":"bad","n":"one"}\n'
    options = ["--allow", allow] if allow else []
    done = batch("-k", "--retries", "0", *options, stdin=stdin)
    written = done.records
    assert len(written) == 7
    assert [each["custom_id"] for each in written if each["error"] is not None] == failed
    assert done.outcomes == ["ok", "truncated", "refused", "empty", "http", "network", "input"]
    assert done.status == status


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


FORMATS = {
    "string": jsonl("SLOW", None, "HI", None),
    "text": b"SLOW\n\nHI\n\n",
    "message": jsonl(
        {"role": "assistant", "content": "SLOW", "refusal": None},
        None,
        {"role": "assistant", "content": "HI", "refusal": None},
        None,
    ),
    "json": jsonl(completion("SLOW"), None, completion("HI"), None),
    "usage": jsonl({"model": "m", **USAGE}, None, {"model": "m", **USAGE}, None),
    "tool-calls": jsonl([], None, [], None),
}


@pytest.mark.parametrize(("shape", "expected"), FORMATS.items(), ids=FORMATS)
def test_other_formats_are_one_record_a_request_in_input_order(shape: str, expected: bytes) -> None:
    """The first line is answered last; the second and the fourth fail."""
    done = batch("-f", shape, stdin=jsonl("slow", "400", "hi") + b"oops\n", handler=paused(slow=0.1))
    assert (done.status, done.stdout) == (1, expected)


def test_tool_calls_are_final_only_where_text_is_written() -> None:
    text = batch("-f", "string", stdin=jsonl("call"))
    calls = batch("-f", "tool-calls", stdin=jsonl("call"))
    results = batch(stdin=jsonl("call"))
    assert (text.status, text.stdout) == (6, b"null\n")
    assert (calls.status, calls.stdout) == (0, b'[{"id":"c1","name":"f","arguments":{"x":1}}]\n')
    assert (results.status, results.outcomes) == (0, ["ok"])


def test_null_ends_texts_that_have_newlines() -> None:
    done = batch("-f", "text", "-0", stdin=jsonl("a\nb", "400", "c\n"))
    assert done.stdout == b"A\nB\0\0C\n\0"


# Order, and how many at once


def gated(event: threading.Event, *texts: str) -> Handler:
    """These prompts are answered when the event is set, the others at once."""

    def handler(request: Request) -> Answer:
        return [*([WaitFor(event)] if prompt(request) in texts else []), *steps_of(answer(request))]

    return handler


def paused(seconds: float = 0.0, **slow: float) -> Handler:
    """Every answer takes that long, unless its prompt is named."""
    return lambda request: [Pause(slow.get(prompt(request), seconds)), *steps_of(answer(request))]


def test_results_come_in_the_order_of_completion() -> None:
    gate = threading.Event()

    def handler(request: Request) -> Answer:
        if prompt(request) == "p9":
            gate.set()
        return gated(gate, "p0")(request)

    done = batch("-j2", stdin=many(10), handler=handler)
    lines = done.lines
    assert sorted(lines) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert lines[0] == 2
    assert 1 in lines[-2:]


def test_keep_order_holds_no_more_than_its_window() -> None:
    gate = threading.Event()
    with started("-k", "--window", "4", "-j8", handler=gated(gate, "p0")) as (server, process):
        process.send(many(30))
        process.hang_up()
        server.until(lambda: len(server.requests) == 4 and server.busy == 1)
        process.settle()  # a fifth would have come
        held = len(server.requests)
        gate.set()
        stdout, _ = process.communicate()
    assert held == 4
    assert process.returncode == 0
    assert numbers(stdout) == [*range(1, 31)]


def test_an_answer_held_for_order_is_already_in_the_journal(tmp_path: Path) -> None:
    """It was paid for: nothing that comes later may lose it."""
    gate, journal = threading.Event(), tmp_path / "journal"
    options = ("-k", "--journal", "journal")
    with started(*options, folder=tmp_path, lines=many(3), handler=gated(gate, "p0")) as (server, process):
        server.until(lambda: len(server.requests) == 3 and server.busy == 1)
        server.until(lambda: journal.exists() and b"P2" in journal.read_bytes())
        gate.set()
        assert len(records(process.communicate()[0])) == 3


def test_the_window_also_holds_for_lines_that_need_no_answer(tmp_path: Path) -> None:
    """Else everything behind one slow line would be read into memory."""
    gate, journal = threading.Event(), tmp_path / "kept"
    options = ("-k", "--window", "5", "--journal", "kept")
    lines = many(1) + b"not JSON\n" * 1000 + jsonl("last")
    with started(*options, folder=tmp_path, lines=lines, handler=gated(gate, "p0")) as (server, process):
        server.until(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 1 + 4)
        server.until(lambda: len(server.requests) == 1)
        gate.set()
        assert len(records(process.communicate()[0])) == 1002


def test_results_come_while_stdin_stays_open() -> None:
    """Each line is answered before the next arrives, for example from `tail -f`."""
    with started("-f", "string", bufsize=0) as (_, process):
        for text in ("one", "two", "three"):
            process.send(jsonl(text))
            assert process.line() == jsonl(text.upper())
        process.send(b'"no end of line"')
        process.hang_up()
        assert process.communicate() == (b'"NO END OF LINE"\n', b"")
    assert process.returncode == 0


def together(number: int) -> Handler:
    """Nothing is answered before that number has come, and then some time passes for one too many."""
    all_there = threading.Event()
    seen = itertools.count(1)

    def handler(request: Request) -> Answer:
        count = next(seen)
        if count == number:
            all_there.set()
        return [WaitFor(all_there), Pause(0.05 if count <= number else 0), *steps_of(answer(request))]

    return handler


@pytest.mark.parametrize("jobs", [1, 5, 40])
def test_no_more_than_jobs_are_in_flight_and_no_fewer(jobs: int) -> None:
    done = batch(f"-j{jobs}", stdin=many(60), handler=together(jobs))
    assert done.status == 0
    assert done.server.peak == jobs
    assert len(done.requests) == 60


def test_the_number_in_flight_adapts() -> None:
    done = batch("-j", "auto,12", stdin=many(400), handler=paused(0.01))
    assert done.status == 0
    assert len(done.requests) == 400
    assert 4 < done.server.peak <= 12


def test_requests_per_minute_are_kept() -> None:
    began = time.monotonic()
    done = batch("--rpm", "1200", stdin=many(17))
    at = [request.at for request in done.requests]
    assert done.status == 0
    assert at[16] - began >= 0.7  # 16 intervals of 50 ms, less the burst of a tenth of a second


def test_shard_counts_physical_lines_and_limit_what_is_left() -> None:
    stdin = b'"1"\n"2"\n\n"4"\n"5"\n"6"\n"7"\n"8"\n'
    done = batch("--shard", "2/3", "--limit", "2", "-j1", stdin=stdin)
    assert (done.status, done.prompts) == (0, ["2", "5"])
    assert [each["custom_id"] for each in done.records] == ["line-2", "line-5"]


def test_limit_does_not_wait_for_the_rest_of_the_input() -> None:
    with started("--limit", "1", bufsize=0) as (_, process):
        process.send(jsonl("a"))
        assert process.wait() == 0


# Busy and broken servers


class BusyAtFirst:
    """So many requests are refused, at first; then all are answered."""

    def __init__(self, refused: int, refusal: bytes) -> None:
        self.left = refused
        self.refusal = refusal

    def __call__(self, request: Request) -> Answer:
        self.left -= 1
        return self.refusal if self.left >= 0 else answer(request)


@cases(
    "status, headers, pause_s",
    {
        "429, milliseconds": (429, {"retry-after-ms": "400"}, 0.4),
        "429, seconds": (429, {"retry-after": "1"}, 1.0),
        "503": (503, {"retry-after-ms": "400"}, 0.4),
        "429, no time said": (429, {}, 0.375),
    },
)
def test_a_busy_server_pauses_the_whole_run_and_costs_no_attempt(
    status: int, headers: dict[str, str], pause_s: float
) -> None:
    handler = BusyAtFirst(4, error(status, "slow down", headers=headers))
    done = batch("-j4", "--retries", "0", stdin=many(12), handler=handler)
    assert done.status == 0
    assert done.outcomes == ["ok"] * 12
    assert {each["chatpipe"]["attempts"] for each in done.records} == {1}
    assert sorted(Counter(done.prompts).values()) == [1] * 8 + [2] * 4
    assert done.requests[4].at - done.requests[0].at >= pause_s


def always_busy(seconds: str) -> Handler:
    """429 to every request, with this Retry-After."""
    return lambda _: error(429, "wait", headers={"retry-after": seconds})


def test_the_longest_pause_ends_the_run() -> None:
    began = time.monotonic()
    done = batch("-j2", "--max-pause", "2", stdin=many(50), handler=always_busy("3600"))
    assert done.status == 75
    assert len(done.requests) == 2
    assert time.monotonic() - began < PATIENCE_S
    assert all(each["error"]["code"] == "http_429" for each in done.records)


def test_faults_of_the_server_are_retried_up_to_retries() -> None:
    done = batch("--retries", "2", stdin=jsonl("500"))
    [record] = done.records
    assert done.status == 69
    assert len(done.requests) == 3
    assert record["chatpipe"]["attempts"] == 3
    assert record["error"]["code"] == "http_500"


@cases("first", {"500": REPLIES["500"], "a reset": [Reset()]})
def test_a_line_that_succeeds_at_the_second_attempt_is_one_good_line(first: Answer) -> None:
    seen: Counter[str] = Counter()

    def handler(request: Request) -> Answer:
        seen[prompt(request)] += 1
        return first if seen[prompt(request)] == 1 and prompt(request) == "p1" else answer(request)

    done = batch("-k", stdin=many(3), handler=handler)
    assert done.status == 0
    assert seen == {"p0": 1, "p1": 2, "p2": 1}
    assert [each["chatpipe"]["attempts"] for each in done.records] == [1, 2, 1]


@cases("first", {"a fault": REPLIES["500"], "busy": error(429, "later", headers={"retry-after-ms": "10"})})
@cases("servers", {"one server": 1, "two servers": 2})
def test_the_report_counts_each_request_that_was_sent_again(
    first: Answer, servers: int, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()

    def handler(request: Request) -> Answer:
        seen[prompt(request)] += 1
        return first if seen[prompt(request)] == 1 else answer(request)

    with serve(without_get(handler)) as server:
        urls = (word for url in (server.url, f"{server.url}/b")[:servers] for word in ("--base-url", url))
        words = ("-m", "m", "-j1", "--report", str(tmp_path / "report"))
        done = run("batch", *words, *urls, stdin=many(3))
    report = orjson.loads((tmp_path / "report").read_bytes())
    assert (done.status, report["retries"], sum(seen.values())) == (0, 3, 6)


@at_any_speed
def test_a_deadline_counts_from_the_first_try(factor: int) -> None:
    """Waiting for its turn is no fault of a line, nor of the server."""
    done = batch("--rpm", f"{100 / factor:g}", "--deadline", f"{1.0 * factor}", stdin=many(4))
    assert (done.status, done.outcomes) == (0, ["ok"] * 4)


@at_any_speed
def test_a_deadline_holds_in_a_pause(factor: int) -> None:
    began = time.monotonic()
    done = batch("--deadline", f"{0.5 * factor}", stdin=jsonl("a"), handler=always_busy("60"))
    assert (done.status, len(done.requests)) == (75, 1)
    assert time.monotonic() - began < 60


def test_a_silent_server_is_a_network_failure() -> None:
    done = batch("--timeout", "0.2", "--retries", "0", stdin=many(2), handler=lambda _: [Stall()])
    assert (done.status, done.outcomes) == (75, ["network", "network"])


def test_streams_are_folded_into_the_same_result_lines() -> None:
    done = batch(
        "--stream", stdin=jsonl("a"), handler=lambda _: event_stream(stream_of(["He", "llo"], usage=USAGE))
    )
    [record] = done.records
    assert done.requests[0].json()["stream"] is True
    assert record["response"]["body"]["object"] == "chat.completion"
    assert record["response"]["body"]["choices"][0]["message"]["content"] == "Hello"
    assert record["response"]["body"]["usage"] == USAGE


@pytest.mark.parametrize("fault", ["401", "402", "quota"])
def test_a_fault_that_would_hit_every_line_stops_the_run_soon(fault: str) -> None:
    done = batch("-j4", stdin=many(200), handler=lambda _: REPLIES[fault])
    assert done.status == 77
    assert len(done.requests) <= 8
    assert done.outcomes == ["http"] * len(done.requests)  # nothing that came is lost
    assert done.stderr.count(b"\n") <= 2  # the first failure stands alone where the end is not at once


@cases(
    "texts, count, status",
    {
        "the first three answers": (["403"] * 30, 3, 77),
        "after a success they are failures of lines": (["hi", *["403"] * 9], 10, 1),
        "two and a success": (["403", "403", "hi", *["403"] * 7], 10, 1),
        "the first answer was another": (["400", *["403"] * 9], 10, 1),
    },
)
def test_403_is_about_the_key_only_when_it_is_all_there_is(texts: list[str], count: int, status: int) -> None:
    done = batch("-j1", stdin=jsonl(*texts))
    assert (len(done.requests), done.status) == (count, status)


@cases(
    "rule, texts, count",
    {
        "a number": ("soon,fail=2", ["a", "400", "b", "400", "c", "d"], 4),
        "now": ("now,fail=1", ["a", "400", "b"], 2),
        "a share, from the 20th line on": ("soon,fail=50%", ["400", *["a", "400"] * 20], 20),
        "a share that only the first lines reach": ("soon,fail=10%", [*["400"] * 3, *["a"] * 30], 20),
        "a share that is not reached": ("soon,fail=60%", ["400", *["a", "400"] * 20], 41),
    },
)
def test_halt_rules(rule: str, texts: list[str], count: int) -> None:
    done = batch("-j1", "--halt", rule, stdin=jsonl(*texts))
    assert done.status == 1
    assert len(done.requests) == len(done.records) == count


@at_any_speed
def test_halt_soon_waits_for_requests_in_flight_and_now_does_not(factor: int) -> None:
    late = {
        "slow": 0.5 * factor,
        "400": 0.1 * factor,
    }  # the failure comes when the slow one is there
    stdin = jsonl("slow", "400", "never")
    soon = batch("-j2", "--halt", "soon,fail=1", stdin=stdin, handler=paused(**late))
    now = batch("-j2", "--halt", "now,fail=1", stdin=stdin, handler=paused(**late))
    assert (soon.status, soon.outcomes, soon.server.disconnects) == (1, ["http", "ok"], 0)
    assert (now.status, now.outcomes, now.server.disconnects) == (1, ["http"], 1)
    assert sorted(now.prompts) == ["400", "slow"]


def test_bursts_of_faults_leave_one_right_result_a_line() -> None:
    """429, 500 and resets in bursts: nothing is sent again after its success."""
    seen: Counter[str] = Counter()
    good: Counter[str] = Counter()
    total = 0

    def handler(request: Request) -> Answer:
        nonlocal total
        total += 1
        text = prompt(request)
        seen[text] += 1
        if total % 400 < 20:
            return error(429, "slow down", headers={"retry-after-ms": "30"})
        if hash_of(text) % 10 == 0 and seen[text] <= 2:
            return error(500, "broken", headers=SOON)
        if hash_of(text) % 50 == 1 and seen[text] == 1:
            return [Reset()]
        good[text] += 1
        return answer(request)

    def hash_of(text: str) -> int:
        return int(text[1:]) * 7919 // 3

    done = batch("-j64", stdin=many(1000), handler=handler)
    written = done.records
    assert done.status == 0
    assert sorted(each["chatpipe"]["line"] for each in written) == [*range(1, 1001)]
    for each in written:
        text = each["response"]["body"]["choices"][0]["message"]["content"]
        assert text == f"P{each['chatpipe']['line'] - 1}"
    assert set(good.values()) == {1}
    assert len(good) == 1000


# Budget, and what is told


def test_a_budget_of_tokens_stops_the_run() -> None:
    done = batch("-j1", "--max-tokens", "2", "--max-total-tokens", "60", stdin=many(40))
    assert done.status == 7
    # 7 tokens an answer; what the next one may take is estimated
    assert 3 <= len(done.requests) <= 8
    assert done.outcomes == ["ok"] * len(done.requests)
    assert b"--max-total-tokens" in done.stderr


@pytest.mark.parametrize("lost", [0, 1])
def test_a_budget_counts_a_try_that_may_have_been_paid_for(lost: int) -> None:
    tries = itertools.count(1)
    handler: Handler = lambda request: [Reset()] if next(tries) <= lost else answer(request)  # noqa: E731
    done = batch("-j1", "--max-tokens", "2", "--max-total-tokens", "30", stdin=many(2), handler=handler)
    assert (done.status, len(done.requests)) == ((7, 2) if lost else (0, 2))


PRICES = b"[m]\ninput = 1_000_000\noutput = 2_000_000\n"


def test_a_budget_of_money_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES)
    options = ("-j1", "--max-tokens", "2", "--max-cost", "100", "--prices", "prices.toml")
    done = batch(*options, stdin=many(40), cwd=tmp_path)
    assert done.status == 7
    # 5 + 2 x 2 = 9 an answer
    assert 5 <= len(done.requests) <= 11


def test_a_budget_of_money_survives_failures(tmp_path: Path) -> None:
    """The reply to a bad request does not say which model it was for."""
    (tmp_path / "prices.toml").write_bytes(PRICES)
    with serve(answer) as server:
        again = command(server, "-o", "out", "--max-cost", "9000", "--prices", "prices.toml")
        assert run(*again, stdin=jsonl("a", "400"), cwd=tmp_path).status == 1
        assert run(*again, stdin=jsonl("a", "b"), cwd=tmp_path).status == 0


@cases("options", {"a budget": ["--max-cost", "9"], "dry run": ["--dry-run"]})
def test_a_model_without_a_price_is_78(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES.replace(b"[m]", b"[other]"))
    done = batch(*options, "--prices", "prices.toml", stdin=many(3), cwd=tmp_path)
    assert (done.status, done.requests) == (78, [])
    assert b"no price for model 'm'" in done.stderr


def test_a_dry_run_counts_and_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES)
    done = batch(
        *("--dry-run", "--max-tokens", "10", "--prices", "prices.toml"),
        stdin=b'"hello"\n\n"world"\noops\n',
        cwd=tmp_path,
    )
    [record] = done.records
    assert (done.status, done.requests) == (65, [])
    assert (record["lines"], record["bad"]) == (3, 1)
    assert done.stderr.startswith(b"chatpipe: <stdin>:4: not JSON")
    # {"max_tokens":10,"model":"m","messages":[{"role":"user","content":"hello"}]}, 4 bytes a token, and 10
    assert record["bytes"] == 2 * 76
    assert record["estimated_tokens"] == 2 * (19 + 10)
    assert record["estimated_cost"] == 2 * (19 + 2 * 10)
    assert record["currency"] == "USD"


def test_failed_lines_are_in_the_errors_file_too(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("of the last run\n")
    stdin = jsonl("a", "400", "cut", "b") + b"oops\n"
    done = batch("-k", "--errors", "bad.jsonl", stdin=stdin, cwd=tmp_path)
    assert done.status == 1
    failed = (tmp_path / "bad.jsonl").read_bytes()
    assert sorted(numbers(failed)) == [2, 3, 5]
    assert sorted(failed.splitlines()) == sorted(
        line for line in done.stdout.splitlines() if orjson.loads(line)["error"]
    )


def test_the_errors_file_is_emptied_when_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("of the last run\n")
    done = batch("--errors", "bad.jsonl", stdin=jsonl("a"), cwd=tmp_path)
    assert (done.status, (tmp_path / "bad.jsonl").read_bytes()) == (0, b"")


def test_the_report_counts(tmp_path: Path) -> None:
    done = batch(
        *("--retries", "1", "--report", "report.json"),
        stdin=jsonl("a", "b", "cut", "400", "500") + b"oops\n",
        cwd=tmp_path,
    )
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    wall_s, per_s, latency = report.pop("wall_s"), report.pop("requests_per_s"), report.pop("latency_s")
    reasons = {each["code"]: (each["line"], each["count"]) for each in report.pop("reasons")}
    assert done.status == 1
    assert reasons == {"truncated": (3, 1), "http_400": (4, 1), "http_500": (5, 1), "input": (6, 1)}
    assert report == {
        "lines": 6,
        "good": 2,
        "failed": 4,
        "reused": 0,
        "sent": {"new": 5},
        "outcomes": {"http": 2, "input": 1, "ok": 2, "truncated": 1},
        "retries": 1,
        "pauses": {"count": 0, "seconds": 0.0},
        "tokens": {"prompt": 15, "cached": 0, "completion": 6, "total": 21},
        "cost": None,
        "servers": {done.server.url: {"good": 2, "failed": 3}},
    }
    assert 0 < wall_s < PATIENCE_S
    assert per_s == pytest.approx(5 / wall_s, rel=0.2)  # of a time that is told in whole milliseconds
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < PATIENCE_S


def test_progress_is_json_on_stderr() -> None:
    done = batch("-j1", "--progress", "json", stdin=many(3), handler=paused(0.5))
    console = records(done.stderr)
    assert done.status == 0
    assert [each["lines"] for each in console] == sorted(each["lines"] for each in console)
    assert len(console) >= 2
    assert console[-1]["lines"] == console[-1]["good"] == 3


@cases("options", {"quiet": ["-q"], "not quiet, no terminal": []})
def test_a_good_run_says_nothing(options: list[str]) -> None:
    assert batch(*options, stdin=many(2)).stderr == b""


# How a run ends


@cases(
    "stdin, status",
    {
        "no lines": (b"", 0),
        "blank lines": (b"\n \n", 0),
        "all good": (jsonl("a", "b"), 0),
        "some failed": (jsonl("a", "400"), 1),
        "all failed, not alike": (jsonl("cut", "400"), 1),
        "all cut off": (jsonl("cut", "cut"), 3),
        "all refused or empty": (jsonl("no", "nothing"), 4),
        "all 400": (jsonl("400", "400"), 65),
        "all bad lines": (b"{oops\n[]\n", 65),
        "all 500": (jsonl("500", "500"), 69),
    },
)
def test_exit_status(stdin: bytes, status: int) -> None:
    done = batch("--retries", "0", stdin=stdin)
    assert done.status == status
    assert len(done.records) == len([line for line in stdin.split(b"\n") if line.strip()])
    # The first failure has a line of its own, unless the last line names its reason.
    assert done.stderr.count(b"\n") <= (0 if status == 0 else 2)
    assert (done.stderr != b"") == (status != 0)


ENDING: dict[str, Any] = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}


@cases("number", ENDING)
def test_the_first_signal_waits_for_requests_in_flight(number: signal.Signals, tmp_path: Path) -> None:
    gate = threading.Event()
    slow = gated(gate, "p0", "p1", "p2", "p3")
    with started("-j4", folder=tmp_path, lines=many(50), handler=slow) as (server, process):
        server.until(lambda: server.busy == 4)
        process.deliver(number)
        process.deliver(number)  # as timeout(1), Slurm and GNU parallel do: it is the same one
        gate.set()
        stdout, stderr = process.communicate()
    assert process.returncode == -number
    assert sorted(numbers(stdout)) == [1, 2, 3, 4]
    assert len(server.requests) == 4
    assert b"interrupted after 4 lines" in stderr


@cases("number", ENDING)
def test_a_signal_to_a_run_that_stops_for_another_reason_is_the_first(
    number: signal.Signals, tmp_path: Path
) -> None:
    gates = {"slow": threading.Event(), "400": threading.Event(), "never": threading.Event()}
    lines = jsonl(*gates)
    with started(
        *("-j2", "--halt", "soon,fail=1"),
        folder=tmp_path,
        lines=lines,
        handler=lambda request: [WaitFor(gates[prompt(request)]), *steps_of(answer(request))],
    ) as (server, process):
        server.until(lambda: server.busy == 2)
        gates["400"].set()
        assert numbers(process.line()) == [2]
        process.deliver(number)
        gates["slow"].set()
        rest, _ = process.communicate()
    assert process.returncode == -number
    assert (numbers(rest), len(server.requests)) == ([1], 2)


def silent_to(*texts: str, but: str = "") -> Handler:
    """These prompts are never answered; with but, all except that one."""
    return lambda request: (
        [Stall()] if prompt(request) in texts or (but and prompt(request) != but) else answer(request)
    )


@cases(
    "number, second", {"Ctrl-C": (signal.SIGINT, signal.SIGTERM), "SIGTERM": (signal.SIGTERM, signal.SIGINT)}
)
def test_the_second_signal_ends_at_once(
    number: signal.Signals, second: signal.Signals, tmp_path: Path
) -> None:
    lines, silent = jsonl("hi") + many(50), silent_to(but="hi")
    with started("-j4", folder=tmp_path, lines=lines, handler=silent, env=strike.APART) as (server, process):
        first = process.line()
        server.until(lambda: server.busy == 4)
        process.deliver(number)  # of two signals that come at once, the one with the lower number counts
        assert process.poll() is None
        process.send_signal(second)
        rest, _ = process.communicate()
    assert process.returncode == -number
    assert (numbers(first), rest) == ([1], b"")


def test_results_held_for_order_are_written_when_a_run_is_cut_short(tmp_path: Path) -> None:
    options = ("-k", "--grace", "0.2")
    with started(*options, folder=tmp_path, lines=many(3), handler=silent_to("p0")) as (server, process):
        server.until(lambda: len(server.requests) == 3 and server.busy == 1)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert numbers(stdout) == [2, 3]


@pytest.mark.parametrize("grace", ["0", "0.2"])
def test_the_grace_ends_by_itself(tmp_path: Path, grace: str) -> None:
    silent = silent_to("p0", "p1", "p2")
    with started("--grace", grace, folder=tmp_path, lines=many(3), handler=silent) as (server, process):
        server.until(lambda: server.busy == 3)
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT


def test_a_long_wait_after_a_signal_is_explained_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    silent = silent_to("p0", "p1")
    options = {"stderr": subprocess.PIPE, "env": strike.APART}
    with started("--grace", "30", folder=tmp_path, lines=many(2), handler=silent, **options) as (
        server,
        process,
    ):
        server.until(lambda: server.busy == 2)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        end = process.stderr.read()
    form = r"chatpipe: waiting up to 2\d s for 2 requests in flight: a second signal ends the run now\n"
    assert re.fullmatch(form, said)
    assert end.startswith(b"chatpipe: interrupted after 0 lines, 2 more had no answer yet: run it again with")


def test_a_signal_while_waiting_for_a_pause_or_for_stdin_ends_the_run() -> None:
    with started("--grace", "0.1", handler=always_busy("60"), bufsize=0) as (server, process):
        process.send(jsonl("a"))
        server.until(lambda: server.requests and not server.busy)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


def test_a_signal_while_nothing_is_in_flight_ends_the_run_at_once() -> None:
    with started(bufsize=0) as (_, process):
        process.send(jsonl("a"))
        process.line()
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT


@cases(
    "options, refusal",
    {
        "its turn": (["--rpm", "40"], None),
        "the end of a pause": ([], error(429, "wait", headers={"retry-after-ms": "1500"})),
        "another try": ([], error(500, "broken", headers={"retry-after-ms": "1500"})),
    },
)
def test_after_a_signal_no_waiting_request_is_sent(
    options: list[str], refusal: bytes | None, tmp_path: Path
) -> None:
    handler: Handler = answer if refusal is None else lambda _: refusal
    options = ["--grace", "2", *options]
    with started(*options, folder=tmp_path, lines=many(4), handler=handler) as (server, process):
        server.until(lambda: server.requests and not server.busy)
        process.settle()
        process.deliver(signal.SIGINT)
        before = len(server.requests)
        assert process.wait() == -signal.SIGINT
    assert len(server.requests) == before


def test_a_reader_that_goes_away_is_the_quiet_end(tmp_path: Path) -> None:
    with serve(answer) as server:
        done = sh(
            """yes '"hi"' | { chatpipe batch --base-url $URL -m m; echo $? > status; } | head -1""",
            env={"URL": server.url},
            cwd=tmp_path,
        )
        asked = len(server.requests)

    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""
    assert (tmp_path / "status").read_text() == "141\n"
    assert asked < 3000


def test_a_full_disk_stops_sending_at_once() -> None:
    with serve(answer) as server:
        done = sh(f"""yes '"hi"' | chatpipe batch --base-url {server.url} -m m -j4 > /dev/full""")

    assert done.status == 74
    assert len(server.requests) <= 8
    assert done.stderr.count(b"\n") == 1


def test_a_full_disk_for_errors_is_74_too(tmp_path: Path) -> None:
    done = batch("-j2", "--errors", "/dev/full", stdin=jsonl("400") + many(50), cwd=tmp_path)
    assert done.status == 74
    assert len(done.requests) < 20


# Beside one another


def side_by_side(options: str, folder: Path, lines: bytes, handler: Handler = answer) -> Server:
    """Two runs of the same input at a time, which share pace.json; the server that they used."""
    (folder / "in.jsonl").write_bytes(lines)
    with serve(handler) as server:
        arguments = command(server, *options.split(), "--pace-file", "pace.json", "in.jsonl")
        with start(*arguments, cwd=folder) as one, start(*arguments, cwd=folder) as two:
            assert one.communicate()[1] == b""
            assert two.communicate()[1] == b""
    assert (one.returncode, two.returncode) == (0, 0)
    return server


def test_two_processes_share_one_pace(tmp_path: Path) -> None:
    began = time.monotonic()
    server = side_by_side("--rpm 1200", tmp_path, many(10))
    at = [request.at for request in server.requests]
    assert len(at) == 20
    assert at[19] - began >= 0.85  # 19 intervals of 50 ms, less the burst of a tenth of a second


def test_two_processes_share_the_number_in_flight(tmp_path: Path) -> None:
    server = side_by_side("-j8 --pace-jobs 3", tmp_path, many(20), together(3))
    assert (len(server.requests), server.peak) == (40, 3)


# Memory

_PEAK_KB = """
import resource, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
lines = sum(1 for line in process.stdout)
print(process.wait(), lines, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_kb(lines: int) -> int:
    """The peak memory of a run of this many lines, in kB."""
    run_it = f'yes \'{{"prompt":"hi"}}\' | head -{lines} | "$@"'
    command = (sys.executable, "-c", _PEAK_KB, *CHATPIPE, "batch", "-p", "echo", "-m", "m", "-q")
    done = subprocess.run(
        ["sh", "-c", run_it, "-", *command], capture_output=True, env=environment(), check=True
    )
    status, written, peak = map(int, done.stdout.split())
    assert (status, written) == (0, lines)
    return peak


def test_memory_does_not_grow_with_the_input() -> None:
    """A leak shows each time; on a busy machine, one run may have more in its buffers than another."""
    assert any(peak_kb(10_000) - peak_kb(2_000) < 1_200 for _ in range(3))
