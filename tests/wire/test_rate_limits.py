"""Headers -> limits: a row for each dialect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.wire.rate_limits import ReportedLimit, reported_limits
from support.parametrize import cases

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def read(text: str) -> list[ReportedLimit]:
    """The limits in headers that are written as `name: value`, one a line."""
    headers = dict(line.strip().split(": ", 1) for line in text.strip().splitlines())
    return list(reported_limits(headers, NOW))


def requests(remaining: float, limit: float | None = None, reset_s: float | None = None) -> ReportedLimit:
    reset: Any = None if reset_s is None else pytest.approx(reset_s)
    return ReportedLimit(False, remaining, limit, reset)


def tokens(remaining: float, limit: float | None = None, reset_s: float | None = None) -> ReportedLimit:
    return requests(remaining, limit, reset_s)._replace(of_tokens=True)


def bucket(limit: ReportedLimit) -> ReportedLimit:
    """The same of a server that refills it all the time."""
    return limit._replace(refills=True)


@cases(
    "headers, expected",
    {
        "OpenAI": (
            """x-ratelimit-limit-requests: 60
            x-ratelimit-limit-tokens: 150000
            x-ratelimit-remaining-requests: 59
            x-ratelimit-remaining-tokens: 149984
            x-ratelimit-reset-requests: 1s
            x-ratelimit-reset-tokens: 12ms
            x-ratelimit-remaining-project-tokens: 7""",
            [bucket(requests(59, 60, 1)), bucket(tokens(149984, 150000, 0.012)), tokens(7)],
        ),
        "Azure": (
            "x-ratelimit-remaining-requests: 5\nx-ratelimit-remaining-tokens: 0",
            [requests(5), tokens(0)],
        ),
        "Groq, requests of a day": (
            """x-ratelimit-limit-requests: 14400
            x-ratelimit-remaining-requests: 3
            x-ratelimit-reset-requests: 23h59m42s
            x-ratelimit-limit-tokens: 6000
            x-ratelimit-remaining-tokens: 5900
            x-ratelimit-reset-tokens: 7.66s""",
            [bucket(tokens(5900, 6000, 7.66))],
        ),
        "Cerebras": (
            """x-ratelimit-limit-requests-day: 14400
            x-ratelimit-remaining-requests-day: 2
            x-ratelimit-reset-requests-day: 33011.382867
            x-ratelimit-limit-tokens-minute: 60000
            x-ratelimit-remaining-tokens-minute: 100
            x-ratelimit-reset-tokens-minute: 11.382867""",
            [tokens(100, 60000, 11.382867)],
        ),
        "Cerebras, the day is over": (
            "x-ratelimit-remaining-requests-day: 0\nx-ratelimit-reset-requests-day: 33011.5",
            [requests(0, None, 33011.5)],
        ),
        "Mistral": (
            """x-ratelimit-limit-req-minute: 60
            x-ratelimit-remaining-req-minute: 4
            x-ratelimit-remaining-tokens-minute: 500
            x-ratelimit-limit-tokens-month: 1000000000
            x-ratelimit-remaining-tokens-month: 10
            x-ratelimit-tokens-query-cost: 32""",
            [requests(4, 60), tokens(500)],
        ),
        "Mistral of old": (
            """ratelimitbysize-limit: 500000
            ratelimitbysize-remaining: 499900
            ratelimitbysize-reset: 20
            ratelimitbysize-query-cost: 100
            x-ratelimitbysize-limit-minute: 500000
            x-ratelimitbysize-remaining-minute: 12
            x-ratelimitbysize-remaining-month: 1""",
            [tokens(499900, 500000, 20), tokens(12, 500000)],
        ),
        "Together": (
            """x-ratelimit-limit: 10
            x-ratelimit-remaining: 9
            x-ratelimit-reset: 1
            x-tokenlimit-limit: 3000
            x-tokenlimit-remaining: 2999
            x-ratelimit-limit-dynamic: 1
            x-ratelimit-remaining-dynamic: 0""",
            [requests(9, 10, 1), tokens(2999, 3000)],
        ),
        "Fireworks, kinds of tokens": (
            """x-ratelimit-limit-requests: 6000
            x-ratelimit-remaining-requests: 5999
            x-ratelimit-remaining-tokens-prompt: 100
            x-ratelimit-remaining-tokens-generated: 0
            x-ratelimit-over-limit: yes""",
            [requests(5999, 6000), tokens(0)],
        ),
        "Anthropic": (
            """anthropic-ratelimit-requests-limit: 50
            anthropic-ratelimit-requests-remaining: 0
            anthropic-ratelimit-requests-reset: 2023-11-14T22:13:32Z
            anthropic-ratelimit-output-tokens-remaining: 500
            anthropic-ratelimit-input-tokens-remaining: 0
            anthropic-ratelimit-input-tokens-reset: 2023-11-14T22:13:25Z""",
            [bucket(requests(0, 50, 12)), bucket(tokens(0, None, 5))],
        ),
        "OpenRouter, Unix time in milliseconds": (
            "x-ratelimit-limit: 20\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1700000045000",
            [requests(0, 20, 45)],
        ),
        "DigitalOcean, Unix time": (
            """x-ratelimit-remaining-requests: 0
            x-ratelimit-reset-requests: 1700000030
            x-ratelimit-remaining-tokens-per-minute: 10
            x-ratelimit-reset-tokens-per-minute: 1700000060
            x-ratelimit-remaining-tokens-per-day: 10
            x-ratelimit-reset-tokens-per-day: 1700000060""",
            [requests(0, None, 30), tokens(10, None, 60)],
        ),
        "Nous, of an hour": (
            """x-ratelimit-remaining-requests: 3
            x-ratelimit-reset-requests: 20
            x-ratelimit-remaining-requests-1h: 4
            x-ratelimit-remaining-tokens-1h: 0
            x-ratelimit-reset-tokens-1h: 1800""",
            [requests(3, None, 20), tokens(0, None, 1800)],
        ),
        "GitHub": (
            """x-ratelimit-limit: 15
            x-ratelimit-remaining: 14
            x-ratelimit-reset: 1700000060
            x-ratelimit-used: 1
            x-ratelimit-type: UserByModelByMinute""",
            [requests(14, 15, 60)],
        ),
        "draft of the IETF": (
            """ratelimit-limit: 100, 100;w=60
            ratelimit-remaining: 50
            ratelimit-reset: 30
            ratelimit-policy: 100;w=60""",
            [requests(50, 100, 30)],
        ),
        "its policy is one of a day": (
            """ratelimit-limit: 1000
            ratelimit-remaining: 3
            ratelimit-reset: 30
            ratelimit-policy: 10;w=1, 1000;w=86400""",
            [],
        ),
        "draft 8": (
            """ratelimit: "burst";r=50;t=30, "day";r=0;t=40000
            ratelimit-policy: "burst";q=100;w=60,"day";q=1000;w=86400""",
            [requests(50, None, 30), requests(0, None, 40000)],
        ),
        "draft 8, nothing left of a day": (
            'ratelimit: "day";r=0;t=40000\nratelimit-policy: "day";q=1000;w=86400',
            [requests(0, None, 40000)],
        ),
        "draft 8, something left of a day": (
            'ratelimit: "day";r=3;t=30\nratelimit-policy: "day";q=1000;w=86400',
            [],
        ),
        "a policy of a day, with an x": (
            """x-ratelimit-limit: 1000
            x-ratelimit-remaining: 3
            x-ratelimit-reset: 30
            x-ratelimit-policy: 1000;w=86400""",
            [],
        ),
        "draft 5": ("ratelimit: limit=100, remaining=50, reset=5", [requests(50, 100, 5)]),
        "Kong": ("x-ratelimit-remaining-minute: 4\nx-ratelimit-remaining-hour: 9", [requests(4)]),
        "a dash in the word": (
            "x-rate-limit-remaining: 4\nx-rate-limit-reset: Tue, 14 Nov 2023 22:13:30 GMT",
            [requests(4, None, 10)],
        ),
        "litellm, with copies of what it was told": (
            """x-ratelimit-remaining-requests: 8
            x-ratelimit-reset-requests: 3
            llm_provider-x-ratelimit-remaining-requests: 0
            llm_provider-x-ratelimit-reset-requests: 600
            x-ratelimit-model_per_key-remaining-requests: 0
            x-litellm-key-rpm-limit: 5""",
            [requests(8, None, 3)],
        ),
        "a header that a proxy joined": (
            "x-ratelimit-remaining-requests: 5, 6\nx-ratelimit-reset-requests: 1s, 2s",
            [bucket(requests(5, None, 1))],
        ),
        "OpenAI, the day is over": (
            """x-ratelimit-limit-requests: 200
            x-ratelimit-remaining-requests: 0
            x-ratelimit-reset-requests: 23h59m42s""",
            [requests(0, 200, 86382)],
        ),
        "less than nothing": ("x-ratelimit-remaining-tokens: -9", [tokens(0)]),
        "illegible": ("x-ratelimit-remaining-requests: many\nx-ratelimit-reset-requests: 1s", []),
        "unknown kinds": ("x-ratelimit-remaining-images: 0\nx-ratelimit-reset-images: 60", []),
        "no remaining": ("x-ratelimit-limit-requests: 0\nx-ratelimit-reset-requests: 60", []),
        "none": ("content-type: application/json", []),
    },
)
def test_rate_limits_are_read_in_each_dialect(headers: str, expected: list[ReportedLimit]) -> None:
    assert read(headers) == expected


@given(
    st.dictionaries(
        st.from_regex(r"(x-)?ratelimit(-(limit|remaining|reset|policy|requests|day)){0,3}", fullmatch=True),
        st.text(max_size=30) | st.from_regex(r"[\d.,;=wrtq\" -]{0,20}", fullmatch=True),
    )
)
def test_no_header_raises(headers: dict[str, str]) -> None:
    for limit in reported_limits(headers, NOW):
        assert limit.remaining >= 0
        assert limit.reset_s is None or limit.reset_s >= 0
