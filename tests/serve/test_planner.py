"""planner.py, draws.py and slots_in_use.py: when a reply begins, and who has to wait for it."""

from __future__ import annotations

from functools import partial
from statistics import median

import pytest

from chatpipe.limits.gauges import Gauges, parse_gauges
from chatpipe.options.serve import Latency, ServeOptions
from chatpipe.serve.draws import draw, latency_s, parse_latency
from chatpipe.serve.planner import Planner, Times
from chatpipe.serve.reply_steps import Pause, ReplyPlan, steps_of_reply
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.slots_in_use import Slots, Ticket
from serve.client import chat_body

NOW = Times(0.0, 1_790_000_000.0)
METRICS = ServedRequest("GET", "/metrics", {}, b"")


def chat(content: str = "a b", **fields: object) -> ServedRequest:
    return ServedRequest("POST", "/v1/chat/completions", {}, chat_body(content, **fields))


def body_of(plan: ReplyPlan) -> bytes:
    return b"".join(piece for piece in plan.pieces if isinstance(piece, bytes))


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("50ms", Latency(0.05)),
        ("0", Latency()),
        ("1.5", Latency(1.5)),
        ("lognormal:50ms:0.5", Latency(0.05, 0.5)),
        ("lognormal:50ms:0", None),
        ("lognormal:50ms:11", None),
        ("lognormal:50ms", None),
        ("normal:50ms:1", None),
        ("-1s", None),
        ("fast", None),
        ("", None),
    ],
)
def test_a_latency_is_fixed_or_lognormal(text: str, latency: Latency | None) -> None:
    assert parse_latency(text) == latency


def test_draws_are_the_same_for_the_same_words_and_spread_evenly() -> None:
    numbers = [draw(1, "a", n) for n in range(1000)]
    assert numbers == [draw(1, "a", n) for n in range(1000)]
    assert draw(2, "a", 0) != numbers[0]
    assert median(numbers) == pytest.approx(0.5, abs=0.05)
    times = sorted(latency_s(Latency(0.05, 0.5), number) for number in numbers)
    assert median(times) == pytest.approx(0.05, rel=0.05)
    assert times[841] == pytest.approx(0.05 * 2.718**0.5, rel=0.1)  # one sigma above


def test_latency_is_that_of_the_seed_the_body_and_its_occurrence() -> None:
    """Whatever else arrives in between, as under many requests in flight."""
    options = ServeOptions(latency=Latency(0.05, 0.5), seed=7)
    first, second = Planner(options), Planner(options)
    one = [first.plan(chat("a"), NOW).pace.latency_s for _ in range(3)]
    other = [second.plan(chat(content), NOW).pace.latency_s for content in "bacaba"]
    assert len({*one}) == 3
    assert [other[at] for at in (1, 3, 5)] == one


def test_latency_is_for_completions_only() -> None:
    planner = Planner(ServeOptions(latency=Latency(5.0)))
    assert next(steps_of_reply(planner.plan(chat(), NOW), chat())) == Pause(5.0)
    assert planner.plan(METRICS, NOW).pace.latency_s == 0


def test_a_request_beyond_the_slots_is_refused_until_one_is_free() -> None:
    planner = Planner(ServeOptions(slots=1))
    steps = steps_of_reply(planner.plan(chat(), NOW), chat())
    next(steps)
    refused = planner.plan(chat(), NOW)
    assert (refused.status, b"all of its 1 slots" in body_of(refused)) == (429, True)
    assert planner.plan(METRICS, NOW).status == 200
    steps.close()
    assert planner.plan(chat(), NOW).status == 200


def test_the_queue_is_in_order_and_may_be_left() -> None:
    slots = Slots(1, queues=True)
    tickets = [slots.enter() for _ in range(4)]
    resumed: list[int] = []
    for number, ticket in enumerate(tickets):
        assert ticket is not None
        ticket.resume = partial(resumed.append, number)
    first, second, third, fourth = (ticket for ticket in tickets if isinstance(ticket, Ticket))
    assert (slots.running, slots.waiting) == (1, 3)
    second.leave()
    first.leave()
    assert (resumed, slots.running, slots.waiting) == ([2], 1, 1)
    third.leave()
    fourth.leave()
    assert (resumed, slots.running, slots.waiting) == ([2, 3], 0, 0)


def test_metrics_are_read_by_our_own_reader_of_gauges() -> None:
    planner = Planner(ServeOptions(slots=2, queue=True))
    plans = [planner.plan(chat(stream=True), NOW) for _ in range(5)]
    assert parse_gauges(body_of(planner.plan(METRICS, NOW))) == Gauges(2.0, 3.0)
    list(steps_of_reply(plans[0], chat()))
    planner.count(plans[0])
    text = body_of(planner.plan(METRICS, NOW)).decode()
    for line in ("request_success_total", "prompt_tokens_total", "generation_tokens_total"):
        assert f'vllm:{line}{{engine="0",model_name="echo"}} {1.0 if line[0] == "r" else 2.0}\n' in text


def test_what_is_refused_takes_no_slot() -> None:
    planner = Planner(ServeOptions(slots=1, rpm=1))
    assert planner.plan(chat(), NOW).status == 200
    for _ in range(3):
        assert b"Rate limit" in body_of(planner.plan(chat(), NOW))


def test_limits_are_reported_with_every_answer_and_refusal() -> None:
    planner = Planner(ServeOptions(rpm=1, dialect="openai"))
    for left in ("0", "0"):
        plan = planner.plan(chat(), NOW)
        assert dict(plan.headers)["x-ratelimit-remaining-requests"] == left
    assert not any("limit" in name for name, _ in planner.plan(METRICS, NOW).headers)


def test_a_wrong_key_is_no_request() -> None:
    planner = Planner(ServeOptions(rpm=1), "k")
    assert [planner.plan(chat(), NOW).status for _ in range(3)] == [401] * 3
