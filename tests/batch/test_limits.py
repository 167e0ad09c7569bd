"""Tokens a minute, as a run's own limit and as a server tells its: real processes, real time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batch.runs import batch, command, prompt
from batch.weather import questions, right, wrong_results
from support.parametrize import cases
from support.process import run, start
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    Reset,
    Server,
    completion,
    error,
    reply,
    serve,
)
from support.speed import at_any_speed

TOKENS = 7  # of each answer, prompt included
PER_SECOND = 140
LINES = 40


def after(seconds: float) -> Handler:
    """The right answers, each after this time."""
    return lambda request: [Pause(seconds), right(request)]


def took_s(server: Server) -> float:
    return server.requests[-1].at - server.requests[0].at


def least_s(requests: int, per_second: float = PER_SECOND) -> float:
    """Seconds that these requests take under the limit: the last only starts, and the burst is 0.1 s."""
    return (requests - 1) * TOKENS / per_second - 0.1


@at_any_speed
def test_tokens_per_minute_are_kept_as_the_server_counts_them(factor: int) -> None:
    """Not as they are guessed: a guess of three times as many is corrected by the answers."""
    per_second = PER_SECOND / factor
    limits = ("-j4", "--tpm", f"{60 * per_second:g}", "--max-tokens", "3")
    done = batch(*limits, stdin=questions(LINES), handler=after(0.005 * factor))
    assert (done.status, wrong_results(done.stdout, LINES)) == (0, [])
    assert 0.9 * least_s(LINES, per_second) <= took_s(done.server) <= 2 * least_s(LINES, per_second)


def test_without_usage_the_guess_counts() -> None:
    """72 bytes of request are 18 tokens, and an answer may have 3 more."""

    def silent(request: Request) -> Answer:
        answer = completion(f"answer to {prompt(request)}")
        del answer["usage"]
        return reply(200, answer)

    began = time.monotonic()
    with serve(silent) as server:
        arguments = command(server, "--max-tokens", "3", "--tpm", "2400")
        done = run(*arguments, stdin=questions(4))
        sizes = {len(request.body) for request in server.requests}
    assert (done.status, wrong_results(done.stdout, 4)) == (0, [])
    assert sizes == {72}
    assert server.requests[-1].at - began >= 3 * 21 / 40 - 0.1


def test_processes_share_the_tokens(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(questions(LINES // 2))
    began = time.monotonic()
    with serve(after(0.005)) as server:
        limits = ("--tpm", str(60 * PER_SECOND), "--pace-file", "pace.json", "--max-tokens", "3")
        arguments = command(server, "-j4", *limits, "in.jsonl")
        with start(*arguments, cwd=tmp_path) as one, start(*arguments, cwd=tmp_path) as two:
            for process in (one, two):
                stdout, stderr = process.communicate()
                assert (process.returncode, stderr) == (0, b"")
                assert wrong_results(stdout, LINES // 2) == []
    assert len(server.requests) == LINES
    assert server.requests[-1].at - began >= least_s(LINES)


@pytest.mark.parametrize("kind", ["tokens", "requests"])
@at_any_speed
def test_a_server_that_says_that_nothing_is_left_is_left_alone(factor: int, kind: str) -> None:
    """Before it has to refuse anything."""
    left, reset_s = 5, 0.6 * factor
    headers = {f"x-ratelimit-remaining-{kind}": "0", f"x-ratelimit-reset-{kind}": f"{reset_s:g}s"}

    def handler(request: Request) -> Answer:
        nonlocal left
        left -= 1
        return reply(200, completion(f"answer to {prompt(request)}"), headers if left == 0 else {})

    done = batch("-j1", stdin=questions(8), handler=handler)
    at = [request.at for request in done.requests]
    assert (done.status, wrong_results(done.stdout, 8)) == (0, [])
    assert at[5] - at[4] >= reset_s
    assert at[4] - at[0] < reset_s


NOTHING_LEFT = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h0m0s"}


def test_a_wait_beyond_the_longest_pause_ends_the_run() -> None:
    """Answers in flight still count, and what was not sent has no result."""

    def handler(request: Request) -> list[bytes | Pause]:
        is_late = prompt(request) != "question 1"
        return [Pause(0.3 * is_late), reply(200, completion(f"answer to {prompt(request)}"), NOTHING_LEFT)]

    done = batch("-j3", stdin=questions(9), handler=handler)
    assert done.status == 75
    assert len(done.requests) == 3
    assert done.outcomes == ["ok"] * 3
    said = b"chatpipe: the pauses of this run add up to 86400 s: no requests left: wait, or raise --max-pause"
    assert said in done.stderr  # a slow machine tells of the pause before


def test_a_wait_that_nothing_has_to_keep_ends_no_run() -> None:
    handler = lambda request: reply(200, completion(f"answer to {prompt(request)}"), NOTHING_LEFT)  # noqa: E731
    done = batch("-j3", stdin=questions(3), handler=handler)
    assert (done.status, done.stderr, wrong_results(done.stdout, 3)) == (0, b"", [])


def test_processes_do_not_sleep_for_a_day(tmp_path: Path) -> None:
    with serve(lambda _: reply(200, completion("hi"), NOTHING_LEFT)) as server:
        arguments = command(server, "--pace-file", "pace.json", "hello", name="ask")
        assert run(*arguments, cwd=tmp_path)[:2] == (0, b"hi\n")
        status, _, stderr = run(*arguments, cwd=tmp_path)
        assert status == 75
        assert stderr.startswith(b"chatpipe: --pace-file: the server asks all processes to wait 86")
        run_of_one = command(server, "--pace-file", "pace.json")
        status, stdout, stderr = run(*run_of_one, cwd=tmp_path, stdin=questions(1))
        assert (status, stdout) == (75, b"")
        assert b"--max-pause" in stderr
    assert len(server.requests) == 1


def test_a_limit_of_tokens_that_a_request_is_over_does_not_stop_it() -> None:
    """A server that cannot take it says so itself: the run does not wait for ever."""
    refusal = error(400, "more tokens than a minute has")
    done = batch("--tpm", "1", stdin=questions(1), handler=lambda _: refusal)
    assert (done.status, len(done.requests)) == (65, 1)


@cases("jobs, service_s", {"quick answers": ("4", 0.005), "slow ones, many at once": ("64", 0.08)})
@at_any_speed
def test_the_first_guess_does_not_hold_up_the_run(factor: int, jobs: str, service_s: float) -> None:
    """Answers use 7 tokens, and each is reserved as 270 at first: waiting requests use what was learnt since.

    Nor is the limit left: of any stretch of time the server counts what is allowed in it, a tenth of
    a second more, and the one that was begun.
    """
    per_second = PER_SECOND / factor
    limits = (f"-j{jobs}", "--tpm", f"{60 * per_second:g}")
    done = batch(*limits, stdin=questions(LINES), handler=after(service_s * factor))
    assert (done.status, wrong_results(done.stdout, LINES)) == (0, [])
    assert 0.9 * least_s(LINES, per_second) <= took_s(done.server) <= 2 * least_s(LINES, per_second)
    at = sorted(request.at for request in done.requests)
    late_s = 0.15 * factor  # what the way to the server may take more for one than for another
    for first in range(LINES):
        for last in range(first, LINES):
            used = (last - first) * TOKENS  # without the last, which has just begun
            assert used <= (at[last] - at[first] + 0.1 + late_s) * per_second


class Full:
    """A server with this many places. refuse makes its answer to a request that does not fit."""

    def __init__(self, places: int, service_s: float, refuse: Callable[[], Answer]) -> None:
        self.places = places
        self.service_s = service_s
        self.refused = 0
        self._refuse = refuse
        self._free_at: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self._free_at = [at for at in self._free_at if at > request.at]
        if len(self._free_at) >= self.places:
            self.refused += 1
            return self._refuse()
        self._free_at.append(request.at + self.service_s)
        return [Pause(self.service_s), right(request)]

    def used(self, server: Server) -> float:
        """The share of its places that it had something to do in."""
        return (len(server.requests) - self.refused) * self.service_s / self.places / took_s(server)


@at_any_speed
def test_a_refusal_that_comes_again_at_once_is_not_another(factor: int) -> None:
    """Retry-After is shorter than an answer: what is in flight is too much until some of it is over."""
    headers = {"retry-after-ms": f"{20 * factor}"}
    full = Full(6, 0.05 * factor, lambda: error(429, "no more at a time", headers=headers))
    done = batch("-jauto", stdin=questions(240), handler=full)
    assert (done.status, wrong_results(done.stdout, 240)) == (0, [])
    assert full.used(done.server) > 0.3
    assert full.refused < 16


def test_a_server_that_resets_excess_connections_gets_fewer() -> None:
    """Each round of growth costs some resets; on a busy machine a run may have a round too many."""
    refused: list[int] = []
    while not refused or (refused[-1] >= 120 and len(refused) < 3):
        full = Full(32, 0.02, lambda: [Reset()])
        done = batch("-jauto", stdin=questions(1500), handler=full)
        assert (done.status, wrong_results(done.stdout, 1500)) == (0, [])
        refused.append(full.refused)
    assert min(refused) < 120, refused


@at_any_speed
def test_processes_hand_over_their_places_at_once(factor: int, tmp_path: Path) -> None:
    """Two processes take about as long as one that has all places for as many lines."""
    folder = tmp_path / str(factor)
    folder.mkdir()
    with serve(after(0.01 * factor)) as alone:
        words = command(alone, "--pace-file", str(folder / "own.json"), "--pace-jobs", "4")
        assert run(*words, stdin=questions(400)).status == 0
    (folder / "in.jsonl").write_bytes(questions(200))
    shared = ("--pace-file", "pace.json", "--pace-jobs", "4", "-o")
    with serve(after(0.01 * factor)) as server:
        arguments = command(server, "in.jsonl", *shared)
        with (
            start(*arguments, "1.jsonl", cwd=folder) as one,
            start(*arguments, "2.jsonl", cwd=folder) as two,
        ):
            for process in (one, two):
                assert process.communicate() == (b"", b"")
    for name in ("1.jsonl", "2.jsonl"):
        assert wrong_results((folder / name).read_bytes(), 200) == []
    assert server.peak <= 4
    assert took_s(server) < 3 * took_s(alone)
