"""Whether and when to try again: every rule with an accepted and a refused case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.options.server import RetryPolicy
from chatpipe.wire.retry import (
    FailedAttempt,
    GiveUp,
    GiveUpReason,
    RetryAfter,
    backoff,
    decide,
    is_busy,
    requested_delay,
    statuses_text,
)
from support.parametrize import cases

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def decision(
    status: int | None = 429, tries: int = 1, retries: int = 4, delay_s: float | None = None, **headers: str
) -> RetryAfter | GiveUp:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    failure = FailedAttempt(status, named, delay_s=delay_s)
    return decide(tries, failure, RetryPolicy(retries=retries), now=NOW, random=lambda: 0.0)


@pytest.mark.parametrize("status", [None, 408, 409, 425, 429, 498, 500, 502, 503, 520, 524, 529, 599])
def test_a_passing_fault_is_retried(status: int | None) -> None:
    assert decision(status) == RetryAfter(0.5, server_requested=False)


@pytest.mark.parametrize(
    ("status", "busy"),
    [(429, True), (503, True), (523, True), (525, True), (500, False), (504, False), (524, False)],
)
def test_a_time_out_of_a_gateway_does_not_make_the_server_busy(status: int, busy: bool) -> None:
    """A busy server costs no try. A request that takes too long was paid for each time."""
    assert is_busy(FailedAttempt(status)) is busy


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 410, 413, 422, 451])
def test_another_fault_is_not_retried(status: int) -> None:
    assert decision(status) == GiveUp(GiveUpReason.NOT_RETRYABLE)


def test_a_kept_connection_that_was_lost_costs_a_try_but_no_wait() -> None:
    """The server closed an idle connection as the request arrived: a new one is there at once."""
    policy, failure = RetryPolicy(retries=1), FailedAttempt(has_lost_kept=True)
    assert decide(1, failure, policy, now=NOW, random=lambda: 0.0) == RetryAfter(0.0, server_requested=False)
    given_up = decide(2, failure, policy, now=NOW, random=lambda: 0.0)
    assert given_up == GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)


@cases(
    ("status", "value", "retried"),
    {
        "true wins over 400": (400, "true", True),
        "false wins over 503": (503, "false", False),
        "case and space": (400, " TRUE ", True),
        "another word says nothing": (400, "yes", False),
        "nor does no": (503, "no", True),
    },
)
def test_x_should_retry_decides_before_the_status(status: int, value: str, retried: bool) -> None:
    assert isinstance(decision(status, x_should_retry=value), RetryAfter) is retried


def test_exhausted_credit_is_never_retried() -> None:
    """Every refusal for want of credit counts as 402, see test_refusals.py."""
    assert decision(402, x_should_retry="true") == GiveUp(GiveUpReason.NOT_RETRYABLE)


@pytest.mark.parametrize(
    ("retries", "tries", "goes_on"), [(4, 4, True), (4, 5, False), (0, 1, False), (1, 1, True)]
)
def test_tries_are_used_up(retries: int, tries: int, goes_on: bool) -> None:
    decided = decision(503, tries=tries, retries=retries)
    assert isinstance(decided, RetryAfter) if goes_on else decided == GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)


@pytest.mark.parametrize(
    ("tries", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5000, 8.0)]
)
def test_backoff_doubles_up_to_8_s_and_takes_off_a_quarter_at_most(tries: int, seconds: float) -> None:
    assert backoff(tries, lambda: 0.0) == seconds
    assert backoff(tries, lambda: 1.0) == seconds * 0.75


@cases(
    ("headers", "seconds"),
    {
        "seconds": ({"retry-after": "7"}, 7.0),
        "fraction": ({"retry-after": " 1.5 "}, 1.5),
        "milliseconds": ({"retry-after-ms": "250"}, 0.25),
        "milliseconds first": ({"retry-after-ms": "12.5", "retry-after": "7"}, 0.0125),
        "illegible milliseconds": ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        "date": ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        "RFC 850 date": ({"retry-after": "Tuesday, 14-Nov-23 22:13:30 GMT"}, 10.0),
        "asctime date, in GMT too": ({"retry-after": "Tue Nov 14 22:13:30 2023"}, 10.0),
        "date with offset": ({"retry-after": "Tue, 14 Nov 2023 23:13:30 +0100"}, 10.0),
        "120 s": ({"retry-after": "120"}, 120.0),
        "with its unit": ({"retry-after": "30s"}, 30.0),
        "Unix time": ({"retry-after": "1700000012"}, 12.0),
        "RFC 3339": ({"retry-after": "2023-11-14T22:13:30Z"}, 10.0),
        "none": ({}, None),
        "zero": ({"retry-after": "0"}, None),
        "negative": ({"retry-after": "-5"}, None),
        "zero milliseconds": ({"retry-after-ms": "0", "retry-after": "7"}, None),
        "date just now": ({"retry-after": "Tue, 14 Nov 2023 22:13:20 GMT"}, None),
        "date in the past": ({"retry-after": "Mon, 13 Nov 2023 22:13:20 GMT"}, None),
        "word": ({"retry-after": "soon"}, None),
        "empty": ({"retry-after": ""}, None),
        "nan": ({"retry-after": "nan"}, None),
        "inf": ({"retry-after": "inf"}, None),
        "underscore": ({"retry-after": "1_0"}, None),
        "many digits": ({"retry-after": "9" * 400}, None),
        "no such date": ({"retry-after": "Tue, 99 Foo 2023 22:13:30 GMT"}, None),
    },
)
def test_the_server_may_ask_for_a_delay(headers: dict[str, str], seconds: float | None) -> None:
    assert requested_delay(headers, NOW) == seconds


def test_an_asked_wait_is_obeyed_as_it_is() -> None:
    assert decision(429, tries=3, retry_after="7") == RetryAfter(7.0, server_requested=True)


def test_an_illegible_wait_is_a_backoff() -> None:
    assert decision(429, tries=3, retry_after="soon") == RetryAfter(2.0, server_requested=False)


@pytest.mark.parametrize("value", ["120.001", "3600", "Thu, 01 Jan 2099 00:00:00 GMT"])
@pytest.mark.parametrize("retries", [4, 0])
def test_a_wait_above_two_minutes_ends_it_and_is_reported(value: str, retries: int) -> None:
    """Also without a try left: more of them would not help."""
    decided = decision(429, retries=retries, retry_after=value)
    assert isinstance(decided, GiveUp)
    assert decided.reason is GiveUpReason.WAIT_TOO_LONG
    assert decided.requested_s is not None
    assert decided.requested_s > 120


def test_the_longest_wait_is_a_setting() -> None:
    failure = FailedAttempt(429, {"retry-after": "11"})
    decided = decide(1, failure, RetryPolicy(max_delay_s=10), now=NOW, random=lambda: 0.0)
    assert decided == GiveUp(GiveUpReason.WAIT_TOO_LONG, 11.0)


SPENT = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "30s"}


@cases(
    ("status", "delay_s", "headers", "seconds"),
    {
        "in the body": (429, 34.0, {}, 34.0),
        "Retry-After wins": (429, 34.0, {"retry_after": "7"}, 7.0),
        "not a busy server": (500, 34.0, {}, 34.0),
        "nothing left of a limit": (429, None, SPENT, 30.0),
        "the body says more than the limits": (429, 2.0, SPENT, 2.0),
        "the longer of two limits": (
            503,
            None,
            SPENT | {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "45s"},
            45.0,
        ),
        "something left": (429, None, SPENT | {"x_ratelimit_remaining_requests": "1"}, 0.5),
        "limits of a server that is not busy": (500, None, SPENT, 0.5),
    },
)
def test_a_delay_may_stand_elsewhere(
    status: int, delay_s: float | None, headers: dict[str, str], seconds: float
) -> None:
    decided = decision(status, 1, 4, delay_s, **headers)
    assert decided == RetryAfter(seconds, server_requested=seconds != 0.5)


def test_a_limit_that_is_back_tomorrow_ends_it() -> None:
    decided = decision(429, x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="24h0m0s")
    assert decided == GiveUp(GiveUpReason.WAIT_TOO_LONG, 86400.0)


@pytest.mark.parametrize(
    ("statuses", "text"), [((), ""), ((429,), "429"), ((503, 502, 409, 500, 501, 408), "408, 409, 500-503")]
)
def test_statuses_for_people(statuses: tuple[int, ...], text: str) -> None:
    assert statuses_text(statuses) == text


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ \S+"))
def test_no_header_value_raises(value: str) -> None:
    waited = requested_delay({"retry-after": value, "retry-after-ms": value}, NOW)
    assert waited is None or waited > 0
