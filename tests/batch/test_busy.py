"""A busy server: each status of BUSY holds up the whole run, and so would one that is added to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import pytest

from chatpipe import exchange
from chatpipe.batch.budget import Budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.first_lines import FirstLines
from chatpipe.batch.items import Item
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.sender import Sender
from chatpipe.batch.stop import Stop, StopRules
from chatpipe.commands.batch import batch
from chatpipe.errors import Status
from chatpipe.exchange import ExchangeContext, Hooks, run_without_loop, sleep_without_loop
from chatpipe.limits.call_pacer import CallPacer
from chatpipe.limits.pace_file import PaceFile
from chatpipe.limits.pacer import PacedAttempts
from chatpipe.limits.run_pacer import RunPacer, RunWaits
from chatpipe.limits.shared import open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.options.output import FORMATS, ConsoleOptions
from chatpipe.options.run import Jobs, RunLimits, SharedLimits
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.server import Server
from chatpipe.system.console import Console
from chatpipe.wire import refusals, retry
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt
from chatpipe.wire.server_requests import completion_request
from exchange.scripted import Receiver, error, event, piece, plain, stream, whole
from support.parametrize import cases

ADDED = 420
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
OPTIONS = ServerOptions(base_urls=("http://127.0.0.1:9/v1",))
SERVER = Server(resolve_endpoints(OPTIONS, {})[0], (), None, OPTIONS)
QUIET = FailureNotice(Console(ConsoleOptions(quiet=True)), "in")


@pytest.fixture(params=[429, 498, 503, 520, 529, ADDED])
def busy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A status of BUSY, the ends of its ranges, or one that stands there from now on."""
    status: int = request.param
    monkeypatch.setattr(retry, "BUSY", retry.BUSY | {status})
    return status


class Sent(NamedTuple):
    answer: Answer
    latency_s: float
    pacer: RunPacer
    at: list[float]  # when each attempt came to the server


def send(
    replies: Iterable[httpx.Response],
    limits: RunLimits = RunLimits(),  # noqa: B008 - it is frozen
    retries: int = 0,
) -> Sent:
    """One request of a run, to a server with these replies."""
    left, at = list(replies), []

    def handle(_: httpx.Request) -> httpx.Response:
        at.append(time.monotonic())
        return left.pop(0)

    async def run() -> Sent:
        waits = RunWaits()
        context = ExchangeContext(httpx.MockTransport(handle), waits.sleep, print)
        with open_shared(limits.shared, SERVER.origin) as shared:
            pacer = RunPacer(context, waits, limits, shared, TokenEstimator())
            sender = Sender(SERVER, RetryPolicy(retries), pacer, QUIET)
            answer, latency_s = await sender.send(RunRequest(0, 1, "a", BODY, "f"))
        return Sent(answer, latency_s, pacer, at)

    return asyncio.run(run())


def stop_after(sent: Sent) -> Stop | None:
    """The decision of the stop rules about the result."""
    maker = ResultBuilder(frozenset(), FORMATS["results"])
    result = maker.of_answer(Item(1, "a", BODY), "f", sent.answer, sent.latency_s)
    budget = Budget(None, None, {}, TokenEstimator())
    limits = RunLimits(max_pause_s=sent.pacer.max_pause_s)
    return StopRules(sent.pacer.rate, limits, budget, FirstLines(1, "in"), QUIET).observe(0, result)


def assert_stops(sent: Sent) -> str:
    """The stop rules end the run because the server is busy. Returns the reason."""
    stop = stop_after(sent)
    assert stop is not None
    assert stop.fault is not None
    assert stop.fault.status is Status.TRY_LATER
    return stop.fault.what


async def call(context: ExchangeContext, pace_file: Path) -> Answer:
    """The answer to one call without retries, which shares the limits of a pace file."""
    request = completion_request(SERVER, BODY)

    async def send_with(hooks: Hooks) -> Answer:
        return await exchange.send(request, context, Receiver(), OPTIONS.limits, RetryPolicy(0), hooks)

    with open_shared(SharedLimits(pace_file=str(pace_file)), SERVER.origin) as shared:
        assert shared is not None
        answer, _ = await CallPacer(context, shared).pace(BODY, 1, send_with)
    return answer


def shared_pause_s(path: Path) -> float:
    file = PaceFile(str(path))
    try:
        return file.pause_left(SERVER.origin, time.time())
    finally:
        file.close()


def test_pauses_the_run_and_uses_up_no_attempt(busy: int) -> None:
    sent = send([error(busy, retry_after_ms="20"), error(busy, retry_after_ms="20"), whole()])
    assert sent.answer.fault is None
    assert sent.answer.attempts == 1
    assert all(later - earlier >= 0.02 for earlier, later in zip(sent.at, sent.at[1:], strict=False))


def refusal(**fields: Any) -> httpx.Response:
    """An error in the body of a 200."""
    return plain(orjson.dumps({"error": {"message": "busy", **fields}}))


def event_refusal(**fields: Any) -> httpx.Response:
    """An error as an event in mid-stream."""
    return stream(piece("he"), event({"error": {"message": "busy", **fields}}))


@cases("make", {"in the body of a 200": refusal, "as an event": event_refusal})
@cases(
    "fields",
    {
        "a status": {"code": 429},
        "a status as text": {"code": "503"},
        "a code": {"code": "rate_limit_exceeded"},
        "a type": {"type": "overloaded_error"},
        "in capitals": {"code": 418, "type": "RESOURCE_EXHAUSTED"},
    },
)
def test_a_body_that_says_busy_pauses_the_run(
    make: Callable[..., httpx.Response], fields: dict[str, Any]
) -> None:
    """At once if that is longer than --max-pause, and without a request more."""
    sent = send([make(**fields)], RunLimits(max_pause_s=0.1), retries=9)
    assert_stops(sent)
    assert sent.pacer.rate.paused_s > 0.3
    sent = send([make(**fields), whole()], RunLimits(max_pause_s=10))
    assert sent.answer.fault is None
    assert sent.answer.attempts == 1
    assert sent.at[1] - sent.at[0] > 0.3


def test_exhausted_credit_is_not_busy() -> None:
    sent = send([refusal(code="insufficient_quota", type="rate_limit_error")], retries=9)
    assert sent.answer.fault is not None
    assert sent.pacer.rate.paused_s == 0


def test_makes_the_concurrency_step_down(busy: int) -> None:
    sent = send([error(busy, retry_after_ms="1"), whole()], RunLimits(jobs=Jobs(64, auto=True)))
    assert sent.answer.fault is None
    assert sent.pacer.concurrency.limit == 2  # two levels below 4


def test_a_run_shares_its_pause(busy: int, tmp_path: Path) -> None:
    shared = SharedLimits(pace_file=str(tmp_path / "pace"))
    send([error(busy, retry_after="100")], RunLimits(shared=shared, max_pause_s=1.0))
    assert 90 < shared_pause_s(tmp_path / "pace") <= 100


def test_a_call_shares_its_pause(busy: int, tmp_path: Path) -> None:
    transport = httpx.MockTransport(lambda _: error(busy, retry_after="100"))
    context = ExchangeContext(transport, sleep_without_loop, print)
    answer = run_without_loop(call(context, tmp_path / "pace"))
    assert answer.fault is not None
    assert 90 < shared_pause_s(tmp_path / "pace") <= 100


def test_a_call_waits_for_room_while_others_are_at_the_server(busy: int, tmp_path: Path) -> None:
    """It uses up no try, pauses nobody, and asks again when another call has its answer."""
    left, slept = [error(busy), whole()], []
    other = PaceFile(str(tmp_path / "pace"))
    assert other.acquire_slot(SERVER.origin, None, time.time()) == 0

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        other.release_slot(SERVER.origin, time.time(), answered=True)

    context = ExchangeContext(httpx.MockTransport(lambda _: left.pop(0)), sleep, print)
    answer = run_without_loop(call(context, tmp_path / "pace"))
    other.close()
    assert (answer.fault, answer.attempts) == (None, 1)
    assert shared_pause_s(tmp_path / "pace") == 0
    assert sum(slept) < 0.2


def test_counts_for_the_longest_pause(busy: int) -> None:
    sent = send([error(busy, retry_after="1000")], retries=9)
    assert assert_stops(sent).startswith("the pauses of this run add up to 1000 s")
    assert len(sent.at) == 1


def test_is_retried_by_a_single_call(busy: int) -> None:
    assert retry.is_retryable(retry.FailedAttempt(busy))


def test_ends_as_a_server_that_is_busy_and_not_as_a_wrong_request(busy: int) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/v1")
    fault, _ = refusals.from_reply(busy, {}, b"", request)
    assert fault.status in (Status.TRY_LATER, Status.UNREACHABLE)


def test_all_are_named_in_the_help() -> None:
    helps = [option.help for option in batch.params if option.name == "max_pause"]
    assert helps == ["Stop when pauses for 429, 498, 503, 520-523, 525-529 exceed S seconds"]


@pytest.mark.parametrize("status", [ADDED, 408, 409, 500, 502])
def test_another_failure_concerns_its_request_only(status: int, tmp_path: Path) -> None:
    shared = SharedLimits(pace_file=str(tmp_path / "pace"))
    sent = send([error(status, retry_after="1000")], RunLimits(shared=shared))
    assert (sent.answer.fault is not None, sent.answer.attempts, len(sent.at)) == (True, 1, 1)
    assert sent.pacer.rate.paused_s == 0
    assert shared_pause_s(tmp_path / "pace") == 0
    assert stop_after(sent) is None


@cases(
    ("failure", "is_spent"),
    {
        "no reply": (FailedAttempt(), True),
        "an error in 200": (FailedAttempt(headers={}), True),
        "no connection": (FailedAttempt(is_unreached=True), False),
        "an old connection that was closed": (FailedAttempt(has_lost_kept=True), False),
        "refused": (FailedAttempt(429), False),
        "failed": (FailedAttempt(500), False),
    },
)
def test_an_attempt_without_a_reply_may_have_been_paid_for(failure: FailedAttempt, is_spent: bool) -> None:
    spent: list[tuple[int, Any, int, int]] = []

    def spend_lost(line: int, body: Any, size_bytes: int, number: int) -> None:
        spent.append((line, body, size_bytes, number))

    waits = RunWaits()
    context = ExchangeContext(httpx.MockTransport(lambda _: whole()), waits.sleep, print)
    pacer = RunPacer(context, waits, RunLimits(), None, TokenEstimator(), spend_lost)
    pacer.decide(failure, PacedAttempts(pacer, BODY, 70, 3))
    assert spent == ([(3, BODY, 70, 0)] if is_spent else [])


def test_an_attempt_that_is_abandoned_at_the_server_may_have_been_paid_for() -> None:
    """As by a fleet that gives a server up, or by the end of a run. One that still waits was not sent."""
    spent: list[int] = []

    async def run() -> None:
        waits, sent = RunWaits(), asyncio.Event()
        context = ExchangeContext(httpx.MockTransport(lambda _: whole()), waits.sleep, print)
        limits = RunLimits(jobs=Jobs(1))
        pacer = RunPacer(context, waits, limits, None, TokenEstimator(), lambda line, *_: spent.append(line))

        async def send_with(hooks: Hooks) -> Any:
            if (wait := hooks.before_attempt()) is not None:
                await wait
            sent.set()
            await asyncio.Event().wait()

        tasks = [asyncio.create_task(pacer.pace(BODY, 70, send_with, line)) for line in (1, 2)]
        await sent.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(run())
    assert spent == [1]


# The order of attempts


def order_of_attempts(requests: str, refusals_of: Callable[[str], float], until: str) -> str:
    """The attempts of a run with requests of one letter each, up to the answer of one of them.

    refusals_of gives the number of attempts of a letter that are refused, each with a delay of 2 ms.
    """
    sent: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        letter = orjson.loads(request.content)["messages"][0]["content"]
        sent.append(letter)
        return error(429, retry_after_ms="2") if sent.count(letter) <= refusals_of(letter) else whole()

    async def run() -> None:
        waits = RunWaits()
        context = ExchangeContext(httpx.MockTransport(handle), waits.sleep, print)
        limits = RunLimits(jobs=Jobs(len(requests)))
        pacer = RunPacer(context, waits, limits, None, TokenEstimator())
        sender = Sender(SERVER, RetryPolicy(0), pacer, QUIET)
        tasks = {}
        for number, letter in enumerate(requests):
            body = {"model": "m", "messages": [{"role": "user", "content": letter}]}
            tasks[letter] = asyncio.create_task(sender.send(RunRequest(0, number, letter, body, letter)))
        await tasks[until]
        waits.stop()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    asyncio.run(run())
    return "".join(sent)


def test_a_request_that_is_refused_alone_is_sent_next() -> None:
    """A server that refuses the first three attempts of each request: each is soon at its fourth."""
    assert order_of_attempts("abcdef", lambda _: 3, until="a") == "aaaa"
    assert order_of_attempts("abcdef", lambda _: 3, until="c") == "aaaabbbbcccc"


def test_a_request_that_is_always_refused_lets_the_others_pass() -> None:
    order = order_of_attempts("abcdef", lambda letter: 1e9 if letter == "a" else 0, until="f")
    assert order.startswith("aaaaabcdef")


@pytest.mark.parametrize("refused", [1, 3])
def test_refusals_of_first_attempts_do_not_make_a_run_slow(refused: int) -> None:
    """Sixteen requests at a time are refused in one pause, and answered behind it."""
    attempts: Counter[int] = Counter()
    left = list(range(320))

    async def handle(request: httpx.Request) -> httpx.Response:
        number = orjson.loads(request.content)["seed"]
        attempts[number] += 1
        is_refused = attempts[number] <= refused
        await asyncio.sleep(0.002)
        return error(429, retry_after_ms="10") if is_refused else whole()

    async def run() -> RunPacer:
        waits = RunWaits()
        context = ExchangeContext(httpx.MockTransport(handle), waits.sleep, print)
        pacer = RunPacer(context, waits, RunLimits(jobs=Jobs(16)), None, TokenEstimator())
        sender = Sender(SERVER, RetryPolicy(0), pacer, QUIET)

        async def send_some() -> None:
            while left:
                number = left.pop()
                answer, _ = await sender.send(RunRequest(number, number, "a", {**BODY, "seed": number}, "f"))
                assert answer.fault is None

        await asyncio.gather(*(send_some() for _ in range(16)))
        return pacer

    pacer = asyncio.run(run())
    assert attempts.total() == 320 * (refused + 1)
    assert pacer.rate.pauses <= 320 * refused / 4
