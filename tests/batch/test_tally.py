"""The counts of a run, its cost, and the rules that stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.batch.budget import Budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.expenses import Expenses
from chatpipe.batch.failure_reasons import FailureReasons
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.first_lines import FirstLines
from chatpipe.batch.histogram import Histogram
from chatpipe.batch.items import Item
from chatpipe.batch.pause_counts import PauseCounts
from chatpipe.batch.result import Result, ResultBuilder
from chatpipe.batch.stop import StopRules
from chatpipe.batch.summary import closing_text
from chatpipe.batch.tally import Tally
from chatpipe.errors import (
    BadConfiguration,
    BudgetReached,
    ChatpipeError,
    MissingInput,
    NoAccess,
    Status,
    TryLater,
    Unreachable,
)
from chatpipe.limits import prices
from chatpipe.limits.prices import ModelPrice
from chatpipe.limits.rate import RateLimiter
from chatpipe.limits.tokens import TokenEstimator, answer_limits
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import FORMATS, ConsoleOptions
from chatpipe.options.run import HaltRule, RunLimits
from chatpipe.response.usage import Usage
from chatpipe.system.console import Console
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt
from support.parametrize import cases

ITEM = Item(1, "line-1", {"model": "m", "messages": []})


def spending(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """A completion that has used these tokens."""
    return {
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def good(
    completion: dict[str, Any] | None = None,
    *,
    latency_s: float | None = 0.5,
    item: Item = ITEM,
) -> Result:
    return Result(item, Outcome.ok, b"", completion, True, Status.OK, latency_s)


def bad(
    outcome: Outcome = Outcome.http,
    status: Status = Status.BAD_INPUT,
    fault: ChatpipeError | None = None,
    latency_s: float | None = 0.5,
    completion: dict[str, Any] | None = None,
    code: str = "",
    message: str = "why",
) -> Result:
    line = orjson.dumps({"error": {"code": code or outcome, "message": message}})
    return Result(ITEM, outcome, line, completion, False, status, latency_s, fault)


def tally_of(*results: Result) -> Tally:
    tally = Tally()
    for result in results:
        tally.add(result)
    return tally


def status_of(fault: ChatpipeError | None) -> Status | None:
    return fault.status if fault else None


# Latencies


@pytest.mark.parametrize("seconds", [0.001, 0.0123, 0.5, 1.0, 7.77, 599.0])
def test_a_latency_is_reported_within_one_percent(seconds: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.quantile(0.5) == pytest.approx(seconds, rel=0.0101)


def test_quantiles_are_nearest_ranks() -> None:
    histogram = Histogram()
    for hundredths in range(100, 0, -1):
        histogram.add(hundredths / 100)
    for share in (0.5, 0.95, 0.99, 1.0):
        assert histogram.quantile(share) == pytest.approx(share, rel=0.0101)


def test_of_no_latencies_there_is_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_no_time_at_all_is_a_latency_too() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    assert histogram.quantile(0.5) == pytest.approx(0.0001, rel=0.02)


# The tally


def test_a_tally_counts_outcomes_failures_and_tokens() -> None:
    tally = tally_of(
        good(spending(5, 2, cached=3)),
        good(spending(10, 20), latency_s=None),  # recorded by a run before
        bad(),
        bad(Outcome.truncated, Status.TRUNCATED, completion=spending(1, 1)),
        bad(Outcome.input, latency_s=None),
    )

    assert (tally.finished, tally.good, tally.failed, tally.reused) == (5, 2, 3, 1)
    assert tally.outcomes == {"ok": 2, "http": 1, "truncated": 1, "input": 1}
    assert tally.failures.by_status == {Status.BAD_INPUT: 2, Status.TRUNCATED: 1}
    assert tally.spent.report()["tokens"] == {"prompt": 6, "cached": 3, "completion": 3, "total": 9}


def test_the_turns_of_a_line_without_an_answer_are_spent() -> None:
    tally = Tally()
    used = {"prompt_tokens": 3, "completion_tokens": 1}
    tally.add(bad(Outcome.unsent, Status.BUDGET)._replace(earlier_usage=(used, used)))
    tally.add(bad(Outcome.http)._replace(earlier_usage=(used,)))
    assert tally.spent.total == 12


def test_an_allowed_failure_is_counted_by_its_outcome_and_as_good() -> None:
    tally = tally_of(bad(Outcome.truncated)._replace(is_good=True))
    assert (tally.good, tally.failed, tally.failures.by_status) == (1, 0, {})
    assert tally.outcomes == {"truncated": 1}


def test_a_line_that_shares_an_error_in_plain_text_is_counted() -> None:
    """With --dedupe identical lines share the result line of the first, whose body may be text."""
    builder = ResultBuilder(frozenset(), FORMATS["results"])
    fault = Unreachable("bad gateway", http_status=502, body=b"Bad Gateway")
    first = builder.of_answer(ITEM, "f", Answer(None, None, fault), 0.5)
    shared = builder.of_record(ITEM._replace(line=2, custom_id="line-2"), "f", first.line, first.outcome)
    tally = tally_of(first, shared)
    assert (tally.failed, tally.spent.total) == (2, 0)
    assert tally.failures.text(are_all_lines=False) == "2 http_502"


@cases(
    "results, text",
    {
        "the most common first": (
            [bad(Outcome.network), *[bad(code="http_400")] * 3, good(), bad(Outcome.network)],
            "3 http_400, 2 network",
        ),
        "one of two": ([good(), bad(Outcome.empty)], "1 empty"),
        "2": ([bad(Outcome.input, message="in:3: x"), bad(code="http_500")], "1 input, 1 http_500"),
        "all alike": (
            [bad(code="http_400", message="no model 'x'"), bad(code="http_400", message="no model 'y'")],
            "http_400: no model 'x'",
        ),
        "a long message": (
            [bad(code="http_400", message="long " * 100)],
            "http_400: " + "long " * 40 + "...",
        ),
        "many kinds": (
            [bad(code=f"http_{number}") for number in (400, 404, 409, 410, 411, 412, 400)],
            "2 http_400, 1 http_404, 1 http_409, 1 http_410, 2 of other kinds",
        ),
        "five kinds": (
            [bad(code=f"http_{number}") for number in (400, 404, 409, 410, 411)],
            "1 http_400, 1 http_404, 1 http_409, 1 http_410, 1 http_411",
        ),
    },
)
def test_why_lines_failed_in_a_few_words(results: list[Result], text: str) -> None:
    tally = tally_of(*results)
    assert tally.failures.text(are_all_lines=not tally.good) == text


def test_the_report() -> None:
    tally = tally_of(
        good(spending(5, 2)),
        good(spending(5, 2), latency_s=None),
        bad(Outcome.input, latency_s=None),
    )
    report = tally.report(2.0)

    assert {name: round(value, 2) for name, value in report.pop("latency_s").items()} == {
        "p50": 0.5,
        "p95": 0.5,
        "p99": 0.5,
    }
    assert report == {
        "lines": 3,
        "good": 2,
        "failed": 1,
        "reused": 1,
        "sent": {"new": 1},
        "outcomes": {"input": 1, "ok": 2},
        "retries": 0,
        "pauses": {"count": 0, "seconds": 0.0},
        "tokens": {"prompt": 5, "cached": 0, "completion": 2, "total": 7},
        "cost": None,
        "reasons": [{"code": "input", "message": "why", "line": 1, "count": 1}],
        "requests_per_s": 0.5,
        "servers": {},
        "wall_s": 2.0,
    }


def test_the_cost_is_that_of_what_this_run_sent() -> None:
    tally = Tally()
    tally.spent = Expenses({"m": ModelPrice(1e6, 1e6, 2e6, "EUR")})
    tally.add(good(spending(5, 2)))
    tally.add(good(spending(5, 2), latency_s=None))
    assert (tally.spent.cost, tally.spent.currency) == (9.0, "EUR")
    assert {name: tally.report(1.0)[name] for name in ("cost", "currency")} == {
        "cost": 9.0,
        "currency": "EUR",
    }


def test_the_cost_is_unknown_after_a_model_without_a_price() -> None:
    tally = Tally()
    tally.spent = Expenses({"other": ModelPrice(1, 1, 1)})
    tally.add(good(spending(5, 2)))
    assert (tally.spent.cost, tally.report(1.0)["cost"]) == (None, None)
    assert "currency" not in Tally().report(1.0)


def test_failures_are_grouped_by_reason() -> None:
    """Numbers and identifiers do not tell reasons apart; of too many, the code remains."""
    reasons = FailureReasons()
    for number in range(3):
        reasons.add("http_400", f"at most {number} tokens, request req_{number}ab", 10 + number)
    reasons.add("http_500", "down", 20)
    reasons.add("http_500", "down", 21)
    assert reasons.ranked() == [
        ("http_400", "at most 0 tokens, request req_0ab", 10, 3),
        ("http_500", "down", 20, 2),
    ]
    for number in range(200):
        reasons.add("http_400", "x" * (number + 1), 30)
    assert sum(reason.failed for reason in reasons.ranked()) == 205
    assert len(reasons.ranked()) == 101


def test_the_closing_line() -> None:
    sent, reused = good(spending(5, 2)), good(spending(5, 2), latency_s=None)
    tally = tally_of(*[sent] * 1270, *[reused] * 1730)
    tally.pauses = PauseCounts(retries=13)
    tally.spent.cost = 0.0123
    assert closing_text(tally, 22.04, "a.jsonl", 0) == (
        "3000 answers in 22 s (58/s), 8.89k tokens, 0.012 USD, 13 retried, 1730 reused -> a.jsonl"
    )


def test_the_closing_line_of_one_answer_has_no_speed() -> None:
    assert closing_text(tally_of(good(spending(5, 2))), 22.04, None, 0) == "1 answer in 22 s, 7 tokens"


def test_the_closing_line_has_failures_and_pauses() -> None:
    tally = tally_of(*[good(spending(300, 200))] * 40, *[bad()] * 4)
    tally.pauses = PauseCounts(1, 130.2)
    assert closing_text(tally, 22.04, "a.journal", 4) == (
        "40 answers in 22 s (2.0/s), 4 failed, 20k tokens, 2 min 10 s paused -> a.journal"
    )


def test_a_line_that_was_not_answered_has_no_latency() -> None:
    """One in a job that failed as a whole."""
    tally = Tally()
    for result in (bad(Outcome.unsent, latency_s=0.0), bad(Outcome.unsent, latency_s=0.0), good()):
        tally.add(result)
    assert tally.report(1.0)["latency_s"] == {
        name: pytest.approx(0.5, rel=0.01) for name in ("p50", "p95", "p99")
    }


def test_the_report_of_a_run_without_lines() -> None:
    report = Tally().report(0.0)
    assert report["requests_per_s"] is None
    assert report["latency_s"] == {"p50": None, "p95": None, "p99": None}


def test_an_unsent_line_is_no_request() -> None:
    tally = tally_of(bad(Outcome.unsent, Status.SOME_FAILED, latency_s=None))
    assert tally.report(1.0)["requests_per_s"] == 0


# Prices


def test_prices_are_per_million_tokens(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '["gpt-4o"]\ninput = 2.5\ncached_input = 1.25\noutput = 10\nbatch_input = 1\nbatch_output = 5\n'
        "[m]\ninput = 1\noutput = 0\n"
    )
    table = prices.load_prices(str(file), print)

    usual = ModelPrice(1.0, 1.0, 0.0, "USD")
    of_jobs = ModelPrice(1.0, 1.0, 5.0, "USD")
    assert table == {"gpt-4o": ModelPrice(2.5, 1.25, 10.0, "USD", of_jobs), "m": usual}
    assert (table["gpt-4o"].in_jobs, table["m"].in_jobs) == (of_jobs, usual)
    # 1,000 fresh and 3,000 cached tokens in, 500 out
    assert table["gpt-4o"].cost(Usage(4000, 3000, 500, 4500)) == pytest.approx(0.0025 + 0.00375 + 0.005)


NO_PRICE = "prices.toml:2: 'input' of 'm' is not a number from 0 up: write a price per million tokens"


@cases(
    "text, words",
    {
        "no TOML": ("\n[m", "prices.toml:2: not TOML: "),
        "nothing": ("", "prices.toml' has no model"),
        "a currency alone": ('currency = "EUR"', "prices.toml' has no model"),
        "a number for a model": ("m = 3", "'m' is not a table"),
        "a price is missing": ("[m]\ninput = 1", "'m' has no price 'output'"),
        "the first is missing": ("[m]\noutput = 1", "'m' has no price 'input'"),
        "less than nothing": ("[m]\ninput = -1\noutput = 1", NO_PRICE),
        "a text": ('[m]\ninput = "1"\noutput = 1', NO_PRICE),
        "a boolean": ("[m]\ninput = true\noutput = 1", NO_PRICE),
        "half of those of jobs": (
            "[m]\ninput = 1\noutput = 1\nbatch_input = 1",
            "'m' has no price 'batch_output'",
        ),
        "a slip": (
            "[m]\ncached-imput = 1",
            "toml:2: 'cached-imput' is not a price: did you mean 'cached_input'?",
        ),
        "a currency of one model": (
            '[m]\ninput = 1\noutput = 1\ncurrency = "EUR"',
            "toml:4: 'currency' is in the table of 'm': put it before all tables",
        ),
        "a currency that is no text": ("\ncurrency = 1", "toml:2: 'currency' is not a text: write its name"),
        "not a number": ("[m]\ninput = nan\noutput = 1", NO_PRICE),
    },
)
def test_prices_that_are_none_are_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(BadConfiguration) as caught:
        prices.load_prices(str(file), print)
    assert words in str(caught.value)


def test_a_price_names_the_currency_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('currency = "EUR"\n[m]\ninput = 1\noutput = 2\n')
    assert prices.load_prices(str(tmp_path / "prices.toml"), print) == {"m": ModelPrice(1.0, 1.0, 2.0, "EUR")}


def test_a_model_may_be_called_currency_and_have_keys_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(
        '[currency]\ninput = 1\noutput = 2\nsource = "the page of prices"\n'
    )
    assert prices.load_prices(str(tmp_path / "prices.toml"), print) == {"currency": ModelPrice(1.0, 1.0, 2.0)}


def test_prices_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingInput):
        prices.load_prices(str(tmp_path / "none.toml"), print)


@pytest.mark.parametrize("model", ["other", None, 7, ["m"]])
def test_an_unknown_model_is_never_free(model: object) -> None:
    with pytest.raises(BadConfiguration):
        prices.price_of({"m": ModelPrice(1, 1, 1)}, model)


# The budget

MILLION = 1_000_000


def budget(tokens: int | None = None, cost: float | None = None) -> Budget:
    """An estimate by it is a token for four bytes of body, and max_tokens."""
    return Budget(tokens, cost, {"m": ModelPrice(MILLION, MILLION, 2 * MILLION)}, TokenEstimator())


def line(number: int, max_tokens: int = 2) -> Item:
    """A body of 40 bytes: 10 tokens by the estimate, and those of the answer."""
    body = {"model": "m", "max_tokens": max_tokens, "x": "yyyy"}
    return Item(number, f"line-{number}", body)


def test_a_line_that_may_call_tools_needs_room_for_a_second_turn() -> None:
    limited = Budget(36, None, {}, TokenEstimator(), turns=2)
    assert limited.reserve(line(1)) is None
    fault = limited.reserve(line(2))
    assert fault is not None
    assert "0 are spent, 24 reserved, and the next line may take 24" in str(fault)
    assert turn(1, Usage(10, 0, 3, 13), limited) is None  # 13 spent, 12 in flight
    limited.settle(good(spending(5, 1), item=line(1))._replace(earlier_usage=({"total_tokens": 13},)))
    assert limited.spent_tokens == 19


def test_an_attempt_without_a_usage_counts_as_it_was_estimated() -> None:
    """Once, also if a part of an answer came."""
    limited = budget(100, 1000)
    assert limited.reserve(line(1)) is None
    limited.spend_lost(1, line(1).body or {}, 40, 1)
    assert (limited.spent_tokens, limited.spent_cost) == (12, 10 + 2 * 2)
    cut = good(spending(0, 0), item=line(1))._replace(outcome=Outcome.network)
    limited.settle(cut)
    assert (limited.spent_tokens, limited.spent_cost) == (12, 10 + 2 * 2)


def test_without_a_budget_nothing_is_set_aside() -> None:
    free = budget()
    assert all(free.reserve(line(number)) is None for number in range(1000))


def test_a_budget_counts_what_is_in_flight() -> None:
    limited = budget(tokens=36)
    assert [limited.reserve(line(number)) is None for number in (1, 2, 3)] == [True, True, True]
    assert status_of(limited.reserve(line(4))) == Status.BUDGET


def test_actual_usage_replaces_the_estimate() -> None:
    limited = budget(tokens=36)
    for number in (1, 2, 3):
        limited.reserve(line(number))
    limited.settle(good(spending(1, 1), item=line(1)))
    assert limited.spent_tokens == 2
    assert limited.reserve(line(4, max_tokens=0)) is None  # 2 spent, 24 in flight, 10 wanted
    assert limited.reserve(line(5)) is not None


def test_an_answer_of_a_job_without_usage_costs_what_was_set_aside_for_it() -> None:
    limited = budget(tokens=36, cost=1000)
    for number in (1, 2):
        limited.reserve(line(number))
    limited.settle(good({}, item=line(1))._replace(in_job=True))
    assert (limited.spent_tokens, limited.spent_cost) == (12, 14)
    assert limited.reserve(line(3)) is None
    assert limited.reserve(line(4, max_tokens=0)) is not None


def test_reasoning_that_is_counted_apart_is_paid_for() -> None:
    price = ModelPrice(MILLION, MILLION, 2 * MILLION)
    assert price.cost(Usage(3, 0, 1, 10)) == 3 + 2 * 7


def test_recorded_answers_are_not_counted_again() -> None:
    limited = budget(tokens=100)
    limited.spend(Usage(30, 0, 20, 50), "m")
    limited.settle(good(spending(30, 20), latency_s=None))
    assert limited.spent_tokens == 50


def test_a_budget_of_money() -> None:
    limited = budget(cost=30)
    assert limited.reserve(line(1)) is None  # 10 in, 2 out at 2
    assert status_of(limited.reserve(line(2, max_tokens=4))) == Status.BUDGET
    limited.settle(good(spending(3, 1), item=line(1)))
    assert limited.spent_cost == 5
    assert limited.reserve(line(2, max_tokens=4)) is None


@cases(
    "model, cost",
    {
        "named": ("m", 5),
        "named more exactly": ("m-2026-01-01", 5),
        "the longest name counts": ("mini-2026-01-01", 50),
        "named otherwise: the dearest": ("other", 50),
        "not named: the dearest": (None, 50),
    },
)
def test_a_recorded_answer_costs_no_less_than_it_did(model: object, cost: float) -> None:
    table = {
        "m": ModelPrice(MILLION, MILLION, 2 * MILLION),
        "mini": ModelPrice(10 * MILLION, 0, 20 * MILLION),
    }
    limited = Budget(None, 100, table, TokenEstimator())
    limited.spend(Usage(3, 0, 1, 4), model)
    assert limited.spent_cost == cost


def test_an_answer_of_a_job_is_never_refused_and_costs_what_jobs_cost() -> None:
    of_jobs = ModelPrice(MILLION / 2, MILLION / 2, MILLION)
    table = {"m": ModelPrice(MILLION, MILLION, 2 * MILLION, of_jobs=of_jobs)}
    limited = Budget(None, 20, table, TokenEstimator())
    for token in ("one", "two", "three"):
        limited.reserve_job(token, Usage(10, 0, 2, 12), "m")  # 7 each
    assert status_of(limited.reserve(line(4))) == Status.BUDGET
    limited.release_job("one")
    limited.spend_answer({**spending(2, 1), "model": "m"})
    assert limited.spent_cost == 2
    limited.release_job("two")
    limited.spend_answer({"model": "m"})  # no usage: 13 bytes are 4 tokens
    assert limited.spent_cost == 6
    limited.settle(good(spending(9, 9), item=line(1))._replace(in_job=True))  # counted with its job
    assert limited.spent_cost == 6
    tally = Tally()
    tally.spent = Expenses(table)
    tally.add(good(spending(2, 1), item=line(1))._replace(in_job=True))
    assert tally.spent.cost == 2


@cases("table", {"without prices": {}, "with prices": {"m": ModelPrice(MILLION, MILLION, 2 * MILLION)}})
def test_plain_answers_count_together_as_they_do_one_by_one(table: dict[str, ModelPrice]) -> None:
    items = [ITEM, ITEM._replace(line=2, has_own_id=True), ITEM._replace(line=3, has_own_id=True)]
    results = [
        good(spending(item.line, 2, cached=1), item=item)._replace(server="http://a/v1", is_plain=True)
        for item in items
    ]
    together, alone = Tally(), Tally()
    together.spent, alone.spent = Expenses(table), Expenses(table)
    together.add_plain(results)
    for result in results:
        alone.add(result)
    assert together.report(1.0) == alone.report(1.0)
    assert (together.finished, together.spent.total, together.own_ids, alone.own_ids) == (3, 12, 2, 2)


def test_turns_before_a_failure_were_paid_for() -> None:
    limited = budget(cost=100)
    failed = good(None, item=line(1))._replace(earlier_usage=({"prompt_tokens": 3, "completion_tokens": 1},))
    limited.settle(failed)
    assert limited.spent_cost == 5


def turn(number: int, usage: Usage, limited: Budget, size: int = 0) -> ChatpipeError | None:
    """A further turn of a line, whose body has `size` more tokens."""
    item = line(number)
    return limited.reserve_turn(item._replace(body={**(item.body or {}), "x": "y" * (4 + 4 * size)}), usage)


def test_without_a_budget_there_is_always_another_turn() -> None:
    assert turn(1, Usage(total=MILLION), budget()) is None


def test_the_turns_before_are_spent_and_the_next_one_is_set_aside() -> None:
    limited = budget(tokens=36)
    limited.reserve(line(1))  # 12
    assert turn(1, Usage(8, 0, 2, 10), limited, size=10) is None  # 10 spent, and 22 set aside
    assert limited.spent_tokens == 10
    assert limited.reserve(line(2)) is not None
    assert limited.reserve(line(2, max_tokens=0)) is not None
    limited.settle(good(spending(9, 1), item=line(1))._replace(earlier_usage=({"total_tokens": 10},)))
    assert limited.spent_tokens == 20
    assert limited.reserve(line(2)) is None


def test_no_further_turn_beyond_the_budget_and_what_was_paid_stays_spent() -> None:
    limited = budget(tokens=36)
    limited.reserve(line(1))
    limited.reserve(line(2))
    fault = turn(1, Usage(10, 0, 3, 13), limited)  # 13 spent, 12 in flight, 12 wanted
    assert fault is not None
    assert fault.status == Status.BUDGET
    assert "13 are spent, 12 reserved, and the next turn may take 12" in str(fault)
    assert limited.spent_tokens == 13
    unsent = bad(Outcome.unsent, Status.BUDGET, fault)._replace(item=line(1))
    limited.settle(unsent._replace(earlier_usage=({"prompt_tokens": 10, "completion_tokens": 3},)))
    assert limited.spent_tokens == 13
    assert limited.reserve(line(3, max_tokens=1)) is None  # nothing is set aside for line 1 any more
    assert limited.reserve(line(4, max_tokens=0)) is not None


def test_a_turn_that_waits_comes_before_new_lines() -> None:
    limited = budget(tokens=40)
    for number in (1, 2, 3):
        limited.reserve(line(number))
    assert turn(1, Usage(4, 0, 1, 5), limited) is not None  # 5 spent, 24 in flight, 12 wanted
    assert limited.reserve(line(4, max_tokens=0)) is not None  # for which there would be room
    limited.settle(good(spending(1, 1), item=line(2)))
    assert turn(1, Usage(4, 0, 1, 5), limited) is None
    assert limited.spent_tokens == 7
    assert limited.reserve(line(4, max_tokens=0)) is not None  # 7 spent, 24 in flight, 10 wanted
    limited.settle(good(spending(1, 1), item=line(3)))
    assert limited.reserve(line(4, max_tokens=0)) is None


def test_turns_are_counted_in_money_too() -> None:
    limited = budget(cost=30)
    limited.reserve(line(1))  # 10 in, 2 out at 2
    assert turn(1, Usage(8, 0, 2, 10), limited) is None  # 12 spent, 14 set aside
    assert status_of(turn(1, Usage(16, 0, 4, 20), limited)) == Status.BUDGET  # 24 spent
    assert limited.spent_cost == 24


def test_a_model_without_a_price_is_not_sent() -> None:
    with pytest.raises(BadConfiguration):
        budget(cost=1).reserve(Item(1, "line-1", {"model": "other"}))


@cases(
    "body, expected",
    {
        "nothing said": ({}, (None, 1)),
        "max_tokens": ({"max_tokens": 5}, (5, 1)),
        "its successor, and choices": ({"max_completion_tokens": 6, "n": 3}, (6, 3)),
        "no numbers": ({"max_tokens": "5", "n": "3"}, (None, 1)),
        "null": ({"max_tokens": None, "n": None}, (None, 1)),
    },
)
def test_limits_of_an_answer(body: dict[str, Any], expected: tuple[int | None, int]) -> None:
    assert answer_limits(body) == expected


# The course


QUIET = FailureNotice(Console(ConsoleOptions(quiet=True)), "in")


def course(
    halt: HaltRule | None = None, *, pace: RateLimiter | None = None, max_pause_s: float = 600
) -> StopRules:
    limits = RunLimits(max_pause_s=max_pause_s, halt=halt)
    return StopRules(pace or RateLimiter(), limits, budget(), FirstLines(20, "in"), QUIET)


def stops(run: StopRules, *results: Result) -> list[str]:
    """The effect of each result on the run: `on`, `soon` or `now`."""
    said = []
    for number, result in enumerate(results):
        if result.latency_s is not None:
            run.reserve(RunRequest(number, number + 1, "c", {"model": "m"}, "f"))
        stop = run.observe(number, result)
        said.append("on" if stop is None else "now" if stop.now else "soon")
    return said


def no_access(http_status: int) -> Result:
    return bad(status=Status.NO_ACCESS, fault=NoAccess("no", http_status=http_status))


@pytest.mark.parametrize("http_status", [401, 402, 429])
def test_no_key_and_no_credit_end_a_run(http_status: int) -> None:
    assert stops(course(), good(), no_access(http_status)) == ["on", "soon"]
    assert stops(course(), no_access(http_status)._replace(is_good=True)) == ["soon"]


FORBIDDEN = no_access(403)
ANOTHER = bad(fault=ChatpipeError("no", http_status=400))
CUT = bad(Outcome.truncated, Status.TRUNCATED, completion=spending(1, 1))
UNREADABLE = bad(Outcome.input, latency_s=None)


@cases(
    "results, expected",
    {
        "the first three": ([FORBIDDEN] * 3, ["on", "on", "soon"]),
        "bad lines are no answers": ([UNREADABLE, *[FORBIDDEN] * 3], ["on", "on", "on", "soon"]),
        "after a success": ([good(), *[FORBIDDEN] * 5], ["on"] * 6),
        "a success among them": ([FORBIDDEN, FORBIDDEN, good(), FORBIDDEN], ["on"] * 4),
        "the first was another": ([ANOTHER, *[FORBIDDEN] * 4], ["on"] * 5),
        "an answer came that was cut off": ([CUT, *[FORBIDDEN] * 4], ["on"] * 5),
    },
)
def test_403_ends_a_run_only_at_its_start(results: list[Result], expected: list[str]) -> None:
    assert stops(course(), *results) == expected


def test_other_failures_are_failures_of_a_line() -> None:
    assert stops(course(), *[ANOTHER, CUT] * 25) == ["on"] * 50


@cases(
    "halt, results, expected",
    {
        "two, soon": (HaltRule(False, failures=2), [bad(), good(), bad()], ["on", "on", "soon"]),
        "one, now": (HaltRule(True, failures=1), [good(), bad()], ["on", "now"]),
        "three that are not there": (HaltRule(True, failures=3), [bad(), bad(), good()], ["on"] * 3),
        "from the 20th on": (HaltRule(False, percent=10), [bad()] * 20, ["on"] * 19 + ["soon"]),
        "two of 21 are less than 10 %": (
            HaltRule(False, percent=10),
            [good()] * 19 + [bad()] * 2,
            ["on"] * 21,
        ),
        "two of 20 are not": (
            HaltRule(False, percent=10),
            [good()] * 18 + [bad()] * 2,
            ["on"] * 19 + ["soon"],
        ),
    },
)
def test_halt_rules(halt: HaltRule, results: list[Result], expected: list[str]) -> None:
    assert stops(course(halt), *results) == expected


def test_a_line_that_may_not_go_on_ends_the_run() -> None:
    fault = BudgetReached("no")
    assert stops(course(), bad(Outcome.unsent, Status.BUDGET, fault)) == ["soon"]


@cases("pause_s, expected", {"beyond": ("700", "soon"), "within": ("500", "on")})
def test_pauses_beyond_the_longest_end_a_run(pause_s: str, expected: str) -> None:
    pace = RateLimiter()
    pace.observe_refusal(FailedAttempt(429, {"retry-after": pause_s}), 0.0, 0.0, 0)
    busy = bad(status=Status.TRY_LATER, fault=TryLater("busy", http_status=429))
    assert stops(course(pace=pace), busy) == [expected]
