"""A server in bad weather, for tests of runs: refusals in bursts, faults and broken connections, and a
log that records each rule that a client broke."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from batch.result_lines import records
from batch.runs import jsonl, prompt
from support.servers.loopback import (
    Answer,
    Close,
    Request,
    Reset,
    Step,
    completion,
    error,
    event_stream,
    reply,
    stream_of,
)

# The least that a first backoff takes, where the server names no time: 0.5 s less a quarter.
_BACKOFF_S = 0.375
_FAULTS = 3  # of one prompt at most: fewer than the tries that it has


class _Refusal(NamedTuple):
    """429 or 503. The whole run is to wait for wait_s; None: no time is named, and it need not."""

    status: int
    headers: dict[str, str]
    wait_s: float | None


class _Fault(NamedTuple):
    """Bad luck of one request, which may be tried again after wait_s. steps get the right answer.

    is_silent: not a byte of reply. On a connection that was kept it is what happens when the server
    closes an idle one just then, and the retry need not wait.
    """

    steps: Callable[[bytes], Sequence[Step]]
    wait_s: float
    is_silent: bool = False


_REFUSALS = (
    _Refusal(429, {"retry-after-ms": "250"}, 0.25),
    _Refusal(429, {"retry-after": "0.3"}, 0.3),
    _Refusal(503, {"retry-after-ms": "200"}, 0.2),
    _Refusal(429, {}, None),
    _Refusal(503, {}, None),
)
_SOON = {"retry-after-ms": "60"}
_FAULT_KINDS = (
    _Fault(lambda _: [error(500, "broken", headers=_SOON)], 0.06),
    _Fault(lambda _: [error(500, "broken")], _BACKOFF_S),
    _Fault(lambda _: [error(502, "bad gateway")], _BACKOFF_S),
    _Fault(lambda _: [error(408, "too slow", headers=_SOON)], 0.06),
    _Fault(lambda _: [error(409, "not now")], _BACKOFF_S),
    _Fault(lambda _: [Reset()], _BACKOFF_S, is_silent=True),
    _Fault(lambda _: [Close()], _BACKOFF_S, is_silent=True),
    _Fault(lambda answer: [answer[:40], Reset()], _BACKOFF_S),
    _Fault(lambda answer: [answer[:-20], Close()], _BACKOFF_S),
)


class Weather:
    """A handler. Every calm requests a burst of refusals begins; one request in `faulty` has bad luck.

    in_flight is how many the client may have under way. broken are the rules that it broke, in words.
    """

    def __init__(self, seed: int, *, in_flight: int, calm: int, burst: int, faulty: int) -> None:
        self.broken: list[str] = []
        self.refused = 0
        self.faults: Counter[str] = Counter()
        self.answered: set[str] = set()
        self._random = random.Random(seed)
        self._in_flight = in_flight
        self._calm = calm
        self._burst = burst
        self._faulty = faulty
        self._number = 0
        self._refusal = _REFUSALS[0]
        self._allowed: dict[str, float] = {}  # when a prompt may come again
        self._closed_until = 0.0
        self._burst_end = 0.0
        self._late = 0  # requests that came while the run was to wait
        self._used: set[int] = set()  # connections that are not new

    def __call__(self, request: Request) -> Answer:
        question = prompt(request)
        self._look(question, request.at)
        was_used = request.connection in self._used
        self._used.add(request.connection)
        self._number += 1
        if self._number % self._calm < self._burst:
            if self._number % self._calm == 0 or request.at < self._burst_end:
                return self._refuse(question, request.at)
            self._number += self._burst  # a client that has waited is not refused for ever
        answer = right(request)
        if self._random.randrange(self._faulty) == 0 and self.faults[question] < _FAULTS:
            self.faults[question] += 1
            fault = self._random.choice(_FAULT_KINDS)
            at_once = fault.is_silent and was_used
            self._allowed[question] = request.at + (0.0 if at_once else fault.wait_s)
            return fault.steps(answer)
        self.answered.add(question)
        return answer

    def _look(self, prompt: str, now: float) -> None:
        if prompt in self.answered:
            self.broken.append(f"{prompt} came again after its answer")
        early_s = self._allowed.get(prompt, 0.0) - now
        if early_s > 0:
            self.broken.append(f"{prompt} came {early_s:.3f} s before it was allowed")
        if now >= self._closed_until:
            self._late = 0
            return
        # Under way when the refusal was written, or begun by an answer that was read just before it
        self._late += 1
        if self._late > 2 * self._in_flight:
            self.broken.append(f"{prompt} came {self._closed_until - now:.3f} s before the end of a pause")

    def _refuse(self, prompt: str, now: float) -> Answer:
        self.refused += 1
        if self._number % self._calm == 0:
            self._refusal = self._random.choice(_REFUSALS)
            self._burst_end = now + (_BACKOFF_S if self._refusal.wait_s is None else self._refusal.wait_s)
        status, headers, wait_s = self._refusal
        if wait_s is not None:
            self._closed_until = max(self._closed_until, now + wait_s)
        # Without a time the run goes on with fewer at a time, and this prompt may come when there is room.
        self._allowed[prompt] = now if wait_s is None else self._closed_until
        return error(status, "slow down", headers=headers)


def _answer(prompt: str, *, streams: bool) -> bytes:
    """The whole reply, so that a fault can cut it."""
    text = f"answer to {prompt}"
    if not streams:
        return reply(200, completion(text))
    steps: Iterator[Step] = iter(event_stream(stream_of(text.partition(" "))))
    return b"".join(step for step in steps if isinstance(step, bytes))


def right(request: Request) -> bytes:
    """The right answer to a question, whole or streamed as it is wanted. There is no list of models."""
    if request.method == "GET":
        return error(404, "no such route")
    return _answer(prompt(request), streams=bool(request.json().get("stream")))


def questions(count: int) -> bytes:
    """So many prompts, each another."""
    return jsonl(*(f"q{number}" for number in range(count)))


def wrong_results(data: bytes, count: int) -> list[str]:
    """Problems of the result lines of questions(count): none if each was answered once."""
    wrong = []
    seen: Counter[int] = Counter()
    for record in records(data):
        line = record["chatpipe"]["line"]
        seen[line] += 1
        if record["error"] is not None:
            wrong.append(f"line {line}: {record['error']}")
        elif record["response"]["body"]["choices"][0]["message"]["content"] != f"answer to q{line - 1}":
            wrong.append(f"line {line} has the answer to another")
    wrong += [f"line {line}: {times} results" for line, times in seen.items() if times != 1]
    wrong += [f"line {line}: no result" for line in range(1, count + 1) if line not in seen]
    return wrong
