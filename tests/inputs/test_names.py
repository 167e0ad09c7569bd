"""The known name that an unknown one is likely a typo of."""

from __future__ import annotations

import pytest

from chatpipe.inputs import names


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("max_token", "max_tokens"),
        ("MaxTokens", "max_tokens"),
        ("max_toekns", "max_tokens"),
        ("mx_tokns", "max_tokens"),
        ("mx_tkns", None),
        ("stp", None),
        ("stops", "stop"),
        ("sotp", None),
        ("", None),
    ],
    ids=str,
)
def test_the_nearest_word_is_found(word: str, nearest: str | None) -> None:
    assert names.nearest(word, frozenset(("max_tokens", "stop", "seed"))) == nearest


def test_nearest_word_may_be_asked_for_short_ones() -> None:
    assert names.nearest("lwo", frozenset(("low", "high")), least=3) == "low"
