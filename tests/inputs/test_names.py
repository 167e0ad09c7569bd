"""The known name that an unknown one is likely a typo of."""

from __future__ import annotations

import pytest

from chatpipe.inputs import names
from support.parametrize import cases


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


def test_signs_alone_are_near_nothing() -> None:
    assert names.nearest("_", frozenset(("", "-"))) is None


def test_nearest_word_may_be_asked_for_short_ones() -> None:
    assert names.nearest("lwo", frozenset(("low", "high")), least=3) == "low"


@cases(
    ("word", "other", "is_near"),
    {
        "one missing": ("sed", "seed", True),
        "two swapped": ("rmp", "rpm", True),
        "one wrong": ("rpn", "rpm", False),
        "one too many": ("rpmm", "rpm", False),
        "the same": ("rpm", "rpm", False),
        "two missing": ("sd", "seed", False),
        "letters in another order": ("mrp", "rpm", False),
    },
)
def test_short_words_are_compared_more_strictly(word: str, other: str, is_near: bool) -> None:
    assert names.is_short_typo(word, other) is is_near


@cases(
    ("text", "shown"),
    {
        "no-break space": ("na\u00a0me", r"na\u00a0me"),
        "narrow no-break space": ("na\u202fme", r"na\u202fme"),
        "thin space": ("na\u2009me", r"na\u2009me"),
        "wide space": ("na\u3000me", r"na\u3000me"),
        "no width": ("na\u200bme", r"na\u200bme"),
        "byte order mark": ("\ufeffname", r"\ufeffname"),
        "soft hyphen": ("na\u00adme", r"na\u00adme"),
        "joiner": ("na\u200dme", r"na\u200dme"),
        "variation selector": ("name\ufe0f", r"name\ufe0f"),
        "filler": ("name\u3164", r"name\u3164"),
        "tag": ("name\U000e0041", r"name\U000e0041"),
        "accent of its own": ("cafe\u0301", r"cafe\u0301"),
        "Cyrillic among Latin": ("n\u0430me", r"n\u0430me"),
        "Greek among Latin": ("\u03bfutput", r"\u03bfutput"),
        "dotless i": ("l\u0131ne", r"l\u0131ne"),
    },
)
def test_what_makes_names_look_alike_is_shown(text: str, shown: str) -> None:
    assert names.show_lookalikes(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "caf\u00e9", "na\u00efve", "\u0446\u0435\u043d\u0430", "\u0446\u0435\u043d\u0430_usd"),
        *("Wi-Fi \u0440\u043e\u0443\u0442\u0435\u0440", "\u4ef7\u683c", "\u05e9\u05dc\u05d5\u05dd"),
        *("\u0939\u093f\u0928\u094d\u200d\u0926\u0940", "\u0645\u06cc\u200c\u0631\u0648\u0645"),
        *("\U0001f469\u200d\U0001f4bb", "\u2764\ufe0f", "5\u03bcm", "\u2014 \u201cquoted\u201d"),
    ],
)
def test_names_of_every_script_are_left_alone(text: str) -> None:
    assert names.show_lookalikes(text) == text


@cases(
    ("name", "other", "shown"),
    {
        "all of it Cyrillic": ("\u0442\u0435\u0445\u0442", "text", r"\u0442\u0435\u0445\u0442"),
        "the other way round": ("text", "\u0442\u0435\u0445\u0442", "text"),
        "one that looks otherwise": ("\u0446\u0435\u043d\u0430", "price", "\u0446\u0435\u043d\u0430"),
        "a composed accent": ("caf\u00e9", "cafe\u0301", r"caf\u00e9"),
        "wide letters": ("\uff4eame", "name", r"\uff4eame"),
    },
)
def test_a_name_is_shown_beside_one_that_it_looks_like(name: str, other: str, shown: str) -> None:
    assert names.reveal(name, other) == shown


@cases(
    ("word", "found"),
    {
        "no-break space": ("max\u00a0tokens", "max_tokens"),
        "no width": ("st\u200bop", "stop"),
        "Cyrillic": ("st\u043ep", "stop"),
        "wide letters": ("\uff53eed", "seed"),
    },
)
def test_a_name_that_looks_the_same_is_the_nearest(word: str, found: str) -> None:
    assert names.nearest(word, frozenset(("max_tokens", "stop", "seed"))) == found
