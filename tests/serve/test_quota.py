"""quota.py and dialects.py: who is refused, the wait that is told, and headers that our reader knows."""

from __future__ import annotations

import pytest

from chatpipe.response.delays import delay_in_words, delay_until
from chatpipe.response.server_error import ServerError
from chatpipe.serve.dialects import DIALECTS, go_duration
from chatpipe.serve.quota import Quota
from chatpipe.wire.rate_limits import ReportedLimit, reported_limits
from chatpipe.wire.refusal_words import status_of

UNIX_NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("rpm", "tpm", "requests", "refused"),
    [
        (None, None, [(0, 1000)] * 9, [None] * 9),
        (2, None, [(0, 9), (0, 9), (0, 9)], [None, None, 30.0]),
        (2, None, [(0, 9), (0, 9), (10, 9), (29, 9), (30, 9)], [None, None, 20.0, 1.0, None]),
        (2, None, [(0, 1), (600, 1), (600, 1), (600, 1)], [None, None, None, 30.0]),
        (None, 60, [(0, 50), (0, 20), (5, 20), (10, 20)], [None, 10.0, 5.0, None]),
        (2, 60, [(0, 60), (0, 60), (30, 30), (30, 0), (30, 0)], [None, 60.0, None, None, 30.0]),
        (0.5, None, [(0, 1), (0, 1), (120, 1)], [None, 120.0, None]),
        (1000, None, [(0, 0)] * 1000 + [(0, 0), (0.06, 0)], [None] * 1000 + [0.06, None]),
    ],
    ids=["no limit", "rpm", "waits", "at most a minute's", "tpm", "both", "below one", "many"],
)
def test_wait_is_the_one_after_which_the_request_passes(
    rpm: float | None, tpm: float | None, requests: list[tuple[float, int]], refused: list[float | None]
) -> None:
    quota = Quota(rpm, tpm, "openai")
    found = [quota.take(tokens, 100.0 + at) for at, tokens in requests]
    waits = [None if each is None else int(dict(each.headers)["retry-after-ms"]) / 1000 for each in found]
    assert waits == refused
    for each, wait_s in zip(found, refused, strict=True):
        if each is not None and wait_s is not None:
            assert delay_in_words(each.message) == pytest.approx(wait_s, abs=0.001)
            assert 0 <= int(dict(each.headers)["retry-after"]) - wait_s < 1


def test_a_request_that_never_passes_is_told_no_wait() -> None:
    refusal = Quota(None, 60, "openai").take(61, 0.0)
    assert refusal is not None
    assert (refusal.type, dict(refusal.headers)) == ("tokens", {"x-should-retry": "false"})
    assert "too large" in refusal.message


def test_a_client_knows_a_request_that_never_passes_by_its_words() -> None:
    refusal = Quota(None, 60, "openai").take(61, 0.0)
    assert refusal is not None
    assert status_of(429, ServerError(refusal.message)) == 413


@pytest.mark.parametrize(
    ("dialect", "requests", "tokens"),
    [
        ("openai", 30.0, 10.0),
        ("azure", "no reset", "no reset"),
        ("groq", 30.0, 10.0),
        ("cerebras", None, 10.0),
        ("mistral", "no reset", "no reset"),
        ("together", 30.0, 10.0),
        ("fireworks", "no reset", None),
        ("anthropic", 30.0, 10.0),
        ("openrouter", 30.0, None),
        ("github", 30.0, None),
        ("digitalocean", 30.0, 10.0),
        ("ietf", 30.0, None),
        ("none", None, None),
    ],
)
def test_headers_of_each_dialect(dialect: str, requests: object, tokens: object) -> None:
    """A request of 2 and 10 tokens of 60 are gone: the time until the limit is full, and what is left."""
    quota = Quota(2, 60, dialect)
    assert quota.take(10, 0.0) is None
    headers = dict(quota.headers(UNIX_NOW))
    found: dict[bool, ReportedLimit] = {each.of_tokens: each for each in reported_limits(headers, UNIX_NOW)}
    for of_tokens, expected, left in ((False, requests, 1), (True, tokens, 50)):
        if expected is None:
            assert of_tokens not in found
        else:
            assert found[of_tokens].remaining == left
            reset_s = found[of_tokens].reset_s
            assert reset_s is None if expected == "no reset" else reset_s == pytest.approx(expected, abs=1.0)
    quota.take(0, 0.0)
    refusal = quota.take(0, 0.0)
    assert refusal is not None
    waits = {name: delay_until(text, UNIX_NOW) for name, text in refusal.headers if name == "retry-after"}
    assert waits == ({} if dialect in ("mistral", "none") else {"retry-after": 30.0})


def test_every_dialect_is_in_the_table_above() -> None:
    (mark,) = (mark for mark in test_headers_of_each_dialect.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [row[0] for row in mark.args[1]] == list(DIALECTS)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0121, "13ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (179.56, "2m59.56s"),
    ],
)
def test_durations_are_those_of_go(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
