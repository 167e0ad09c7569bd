"""Runs over several servers: how lines are spread, and what becomes of a server that is of no use."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import orjson
import pytest

from batch.result_lines import outcomes, records
from batch.runs import prompt, without_get
from batch.weather import questions, right, wrong_results
from support.parametrize import cases
from support.process import Done, run
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    Reset,
    Server,
    Stall,
    WaitFor,
    closed_port,
    error,
    reply,
    serve,
)

LINES = 40
NOT_THERE = "connection refused"
NO_RETRY = ("--retries", "0")


def failing(answer: Answer) -> Handler:
    """A server that gives this answer to all but the question if it is there."""
    return lambda request: reply(200, {"data": []}) if request.method == "GET" else answer


def three_lines_first(handler: Handler) -> tuple[Handler, Handler]:
    """A server, and those beside it, which answer nothing until it has had three lines.

    On a busy machine it might get no more than two.
    """
    lines, has_had_three = itertools.count(1), threading.Event()

    def first(request: Request) -> Answer:
        if request.method == "POST" and next(lines) == 3:
            has_had_three.set()
        return handler(request)

    def wait(request: Request) -> Answer:
        assert request.method == "GET" or has_had_three.wait(60)
        return right(request)

    return first, wait


def gone() -> str:
    return f"http://127.0.0.1:{closed_port()}/v1"


def with_models(handler: Handler, *names: str) -> Handler:
    """The same server with a list of these models."""
    listed = reply(200, {"object": "list", "data": [{"id": name} for name in names]})
    return lambda request: listed if request.method == "GET" else handler(request)


@contextlib.contextmanager
def servers(*handlers: Handler) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve(handler)) for handler in handlers]


def batch(urls: Sequence[Server | str], *arguments: str, lines: int = LINES) -> Done:
    named = [each if isinstance(each, str) else each.url for each in urls]
    options = [word for url in named for word in ("--base-url", url)]
    return run("batch", *options, "-m", "m", *arguments, stdin=questions(lines))


def asked(server: Server) -> int:
    return sum(request.method == "POST" for request in server.requests)


def by_server(done: Done) -> Counter[str]:
    return Counter(record["chatpipe"]["server"] for record in records(done.stdout))


def assert_all_answered(done: Done, lines: int = LINES) -> None:
    assert done.status == 0, done.stderr
    assert wrong_results(done.stdout, lines) == []
    assert {record["chatpipe"]["attempts"] for record in records(done.stdout)} == {1}


def test_equal_servers_share_the_lines_and_records_name_the_one_that_answered() -> None:
    """The first wave, which is held until all of it is there. Later lines go where the answers come from."""
    lock, is_whole, counts = threading.Lock(), threading.Event(), [0, 0, 0]
    wave: list[int] = []

    def counting(index: int, request: Request) -> Answer:
        if request.method != "POST" or is_whole.is_set():
            return right(request)
        with lock:
            counts[index] += 1
            if sum(counts) == 6:
                wave.extend(counts)
                is_whole.set()
        return [WaitFor(is_whole), right(request)]

    with servers(*(partial(counting, index) for index in range(3))) as three:
        done = batch(three, "-j6", lines=30)
    assert (done.status, done.stderr) == (0, b"")
    assert by_server(done) == {each.url: asked(each) for each in three}
    assert wave == [2, 2, 2]


def test_jobs_are_the_total_of_all_servers() -> None:
    lock, most, now = threading.Lock(), [0], [0]

    def counting(request: Request) -> Iterator[Pause | bytes]:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        yield Pause(0.02)
        with lock:
            now[0] -= 1
        answer = right(request)
        assert isinstance(answer, bytes)
        yield answer

    with servers(counting, counting, counting) as three:
        done = batch(three, "-j4")
    assert_all_answered(done)
    assert most[0] == 4


@cases(
    "answer, reason",
    {
        "reset": ([Reset()], "lost the connection"),
        "401": (error(401, "wrong key"), "wrong key"),
        "403": (error(403, "not yours"), "not yours"),
        "404": (error(404, "The model 'm' does not exist", code="model_not_found"), "does not exist"),
        "400": (error(400, "no such field"), "no such field"),
        "422": (error(422, "no such field"), "no such field"),
        "500": (error(500, "broken"), "broken"),
        "no credit": (error(429, "pay", type="insufficient_quota", code="insufficient_quota"), "pay"),
        "a web page": (reply(200, b"<html>hello</html>", {"content-type": "text/html"}), "not JSON"),
    },
)
def test_what_others_accept_is_no_failure_and_who_refuses_it_is_left_out(answer: Answer, reason: str) -> None:
    refuse, wait = three_lines_first(failing(answer))
    with servers(wait, refuse, wait) as three:
        done = batch(three, *NO_RETRY, "-j9", lines=100)
    assert_all_answered(done, 100)
    assert asked(three[1]) < 20
    note = f"'{three[1].url}' is left out: ".encode()
    assert done.stderr.count(note) == 1
    assert reason.encode() in done.stderr


@cases(
    "body",
    {
        "no choices": b"{}",
        "none of them": b'{"choices": []}',
        "no message": b'{"choices": [{"index": 0, "message": null, "finish_reason": "stop"}]}',
        "empty answers": b'{"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "stop"}]}',
    },
)
def test_a_server_whose_answers_are_useless_swallows_few_lines(body: bytes) -> None:
    """Each may have been paid for, so its line is not bought elsewhere. A server that is quick to fail gets
    no more lines than others for that.
    """
    broken, wait = three_lines_first(failing(reply(200, body, {"content-type": "application/json"})))
    with servers(wait, broken) as two:
        done = batch(two, *NO_RETRY, "-j4", lines=100)
    assert done.status == 1
    failed = [each for each in records(done.stdout) if each["error"]]
    assert {each["chatpipe"]["server"] for each in failed} == {two[1].url}
    assert len(failed) == asked(two[1]) < 12
    assert done.stderr.count(f"'{two[1].url}' is held back: ".encode()) == 1


def test_a_line_whose_answer_was_cut_goes_on_at_another_server_as_a_try() -> None:
    """It may have been paid for, as a stream that was cut: without a try left the line fails."""
    cut = reply(200, b'{"id": "x", "choices": [{"index"', {"content-type": "application/json"})
    with servers(right, failing(cut)) as two:
        done = batch(two, "--retries", "1", "-j4", lines=100)
        assert (done.status, wrong_results(done.stdout, 100)) == (0, [])
        assert Counter(each["chatpipe"]["attempts"] for each in records(done.stdout))[2] == asked(two[1])
        assert 0 < asked(two[1]) < 12
        failed = batch(two, *NO_RETRY, "-j4", lines=100)
    assert failed.status == 1
    lost = [each for each in records(failed.stdout) if each["error"]]
    assert {each["chatpipe"]["server"] for each in lost} == {two[1].url}
    assert 0 < len(lost) < 12


def test_lines_at_a_server_that_hangs_go_on_elsewhere_after_the_timeout() -> None:
    """Not before: as long as it is there it may be at work on them. Meanwhile it gets no others."""
    with servers(right, failing([Stall()])) as two:
        done = batch(two, "-j8", "--timeout", "1", lines=200)
    assert (done.status, wrong_results(done.stdout, 200)) == (0, [])
    assert 0 < asked(two[1]) <= 6


def test_a_server_that_is_not_there_is_left_out_with_one_note() -> None:
    with servers(right) as (there,):
        dead = gone()
        done = batch([dead, there], *NO_RETRY)
    assert_all_answered(done)
    assert done.stderr.count(b"\n") == 1
    assert f"chatpipe: '{dead}' is left out: ".encode() in done.stderr
    assert NOT_THERE.encode() in done.stderr


def test_a_busy_server_keeps_the_others_from_nothing() -> None:
    busy = failing(error(429, "later", headers={"retry-after": "30"}))
    with servers(right, busy) as two:
        done = batch(two, *NO_RETRY, "-j4")
    assert_all_answered(done)
    assert asked(two[1]) <= 4
    assert done.stderr == b""


@cases(
    "answer, outcome, status, words",
    {
        "400": (error(400, "no such field"), "http", 65, "no such field, refused by all 2 servers"),
        "401": (error(401, "wrong key"), "http", 77, "wrong key, refused by all 2 servers"),
        "500": (error(500, "broken"), "http", 69, "broken"),
    },
)
def test_what_all_servers_refuse_is_the_failure_of_the_line(
    answer: Answer, outcome: str, status: int, words: str
) -> None:
    with servers(failing(answer), failing(answer)) as two:
        done = batch(two, *NO_RETRY, "-j1", lines=1)
    assert (done.status, outcomes(done.stdout)) == (status, [outcome])
    assert list(map(asked, two)) == [1, 1]
    assert words.encode() in done.stderr
    assert b"left out" not in done.stderr


def test_a_line_that_is_bad_itself_leaves_nobody_out() -> None:
    def picky(request: Request) -> Answer:
        return error(400, "bad words") if prompt(request).endswith("7") else right(request)

    with servers(without_get(picky), without_get(picky)) as two:
        done = batch(two, "-j2", lines=20)
    assert sorted(Counter(outcomes(done.stdout)).values()) == [2, 18]
    assert b"left out" not in done.stderr


@pytest.mark.parametrize("tries", [("--retries", "0"), ("--retries", "1")])
def test_without_any_server_the_run_stops_with_69(tries: tuple[str, ...]) -> None:
    done = batch([gone(), gone()], *tries, "-j4", lines=200)
    assert done.status == 69
    assert len(records(done.stdout)) < 40
    assert b"no server is left: cannot reach" in done.stderr


def test_the_report_counts_by_server_and_says_who_takes_part(tmp_path: Path) -> None:
    with servers(right) as (there,):
        dead = gone()
        done = batch([dead, there], "--report", f"{tmp_path}/report.json", "--progress", "json")
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    expected = {
        dead: {"good": 0, "failed": 0, "up": False},
        there.url: {"good": LINES, "failed": 0, "up": True},
    }
    assert (done.status, report["servers"]) == (0, expected)
    assert orjson.loads(done.stderr.splitlines()[-1])["servers"] == expected


def test_a_server_that_stands_twice_counts_once() -> None:
    with servers(right) as (there,):
        done = batch([there, there])
    assert_all_answered(done)
    assert done.stderr == f"chatpipe: --base-url: '{there.url}' is given twice, and counts once\n".encode()
