"""Times as servers write them -> seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.response.delays import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("120ms", 0.12),
        ("1h2m3s", 3723.0),
        ("2m59.56s", 179.56),
        ("1d", 86400.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("5ns", 5e-9),
        ("0s", 0.0),
        ("59", 59.0),
        ("0.5", 0.5),
        (" 1s ", 1.0),
        ("", None),
        ("s", None),
        ("1x", None),
        ("-1s", None),
        ("-1", None),
        ("1s2", None),
        ("1.2.3s", None),
        ("1 s", None),
        ("soon", None),
    ],
    ids=repr,
)
def test_a_duration_is_parsed(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    parse_duration(text)
