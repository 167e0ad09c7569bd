"""Times as servers write them -> seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.response.delays import delay_in_words, delay_until

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1h2m3s", 3723.0),
        ("2m59.56s", 179.56),
        ("24h0m0s", 86400.0),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("5ns", 5e-9),
        ("0s", 0.0),
        ("59", 59.0),
        ("0.5", 0.5),
        (" 1s ", 1.0),
        ("1700000030", 30.0),
        ("1700000030.25", 30.25),
        ("1700000030000", 30.0),
        ("1600000000", 0.0),
        ("2023-11-14T22:13:50Z", 30.0),
        ("2023-11-14T22:13:50.500Z", 30.5),
        ("2023-11-14T22:13:50", 30.0),
        ("2023-11-14t23:13:50+01:00", 30.0),
        ("2023-11-14T21:43:50-0030", 30.0),
        ("2023-11-14T22:13:20Z", 0.0),
        ("2020-01-01T00:00:00Z", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("5, 5", 5.0),
        ("1s, 7s", 1.0),
        ("2023-13-14T22:13:50Z", None),
        ("2023-11-14", None),
        ("", None),
        ("s", None),
        ("1x", None),
        ("-1s", None),
        ("-1", None),
        ("1s2", None),
        ("1.2.3s", None),
        ("1 s", None),
        ("soon", None),
        ("9" * 70, None),
        ("nan", None),
    ],
    ids=repr,
)
def test_a_time_in_a_header(text: str, seconds: float | None) -> None:
    assert delay_until(text, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for m on tokens per min (TPM): Limit 3. Please try again in 1.5s. Visit x", 1.5),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 7m12.5s. Need more tokens?", 432.5),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("Please retry after 6 seconds.", 6.0),
        ("Rate limit of 50 per 86400s exceeded. Please wait 43200 seconds before retrying.", 43200.0),
        ("Try again after 2 minutes", 120.0),
        ("try again in 1 hour, 2 minutes and so on", 3720.0),
        ("TRY AGAIN IN 500 MILLISECONDS", 0.5),
        ("Please try again in about 1h2m3s", 3723.0),
        ("Please try again later", None),
        ("try again in 5", None),
        ("try again in 5 moments", None),
        ("The limit is 3s", None),
        ("", None),
    ],
    ids=repr,
)
def test_a_delay_in_words(message: str, seconds: float | None) -> None:
    assert delay_in_words(message) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=60) | st.from_regex(r"try again in (\d+ ?(s|ms|min) ?)+", fullmatch=True))
def test_no_text_raises(text: str) -> None:
    for seconds in (delay_until(text, NOW), delay_in_words(text)):
        assert seconds is None or seconds >= 0
