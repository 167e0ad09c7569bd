"""`chatpipe batch` as a process: servers that are busy or broken."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from batch.runs import (
    REPLIES,
    SOON,
    USAGE,
    always_busy,
    answer,
    batch,
    jsonl,
    many,
    paused,
    prompt,
    without_get,
)
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import run
from support.servers.loopback import (
    Answer,
    Request,
    Reset,
    Stall,
    error,
    event_stream,
    serve,
    stream_of,
)
from support.speed import at_any_speed


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
