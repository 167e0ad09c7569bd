"""The estimate of tokens: what it starts from, what it learns, what it does not believe."""

from __future__ import annotations

import random

import pytest

from chatpipe.inputs import values
from chatpipe.limits.tokens import TokenEstimator, prompt_bytes
from support.parametrize import cases


@cases(
    "body_bytes, max_tokens, n, tokens",
    {
        "a quarter of the bytes and the limit": (400, 50, 1, 150),
        "no limit is 256": (400, None, 1, 356),
        "256 a choice": (400, None, 3, 868),
        "the limit holds for each choice": (400, 50, 3, 250),
        "rounded up": (401, 0, 1, 101),
        "never less than one": (0, 0, 1, 1),
    },
)
def test_first_estimate(body_bytes: int, max_tokens: int | None, n: int, tokens: int) -> None:
    assert TokenEstimator().estimate(body_bytes, max_tokens, n) == tokens


def with_parts(*parts: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, *parts]}]}


LONG = "A" * 400_000
IMAGE = {"type": "image_url", "image_url": {"url": LONG, "detail": "low"}}


@cases(
    ("body", "counted"),
    {
        "an image": (with_parts(IMAGE), 4_000),
        "two": (with_parts(IMAGE, IMAGE), 8_000),
        "an image as a text, as Mistral takes it": (
            with_parts({"type": "image_url", "image_url": LONG}),
            4_000,
        ),
        "a small image": (with_parts({"type": "image_url", "image_url": {"url": LONG[:4_000]}}), None),
        "an image at a URL": (
            with_parts({"type": "image_url", "image_url": {"url": "https://a.test/b"}}),
            None,
        ),
        "a recording": (with_parts({"type": "input_audio", "input_audio": {"data": LONG}}), 20_000),
        "a document": (with_parts({"type": "file", "file": {"file_data": LONG}}), 20_000),
        "a text": (with_parts({"type": "text", "text": LONG}), None),
        "a plain text": ({"messages": [{"role": "user", "content": LONG}]}, None),
        "what no check has seen": ({"messages": [None, {"content": [5, {"image_url": None}]}]}, None),
        "no messages": ({"messages": LONG}, None),
    },
)
def test_an_attachment_has_fewer_tokens_than_bytes(body: dict[str, object], counted: int | None) -> None:
    """counted are the bytes of all attachments, None if the whole body counts."""
    text = values.dumps(body).decode()
    size = len(text)
    left = size - text.count(LONG) * len(LONG) + (counted or 0)
    assert prompt_bytes(body, size) == (size if counted is None else left)


def test_an_image_in_a_small_body_has_fewer_tokens_too() -> None:
    body = with_parts({"type": "image_url", "image_url": {"url": "A" * 5_000}})
    assert prompt_bytes(body, 5_200) == 4_200


def learned(*usages: tuple[int, int | None, int | None]) -> TokenEstimator:
    estimator = TokenEstimator()
    for usage in usages:
        estimator.learn(*usage)
    return estimator


@cases(
    "max_tokens, n, tokens",
    {
        "mean of 20 and 40": (None, 1, 230),
        "far below the limit": (1000, 1, 230),
        "never above the limit": (10, 1, 210),
        "of all choices together": (10, 2, 220),
    },
)
def test_completion_is_the_mean_of_those_seen(max_tokens: int | None, n: int, tokens: int) -> None:
    assert learned((800, 200, 20), (800, 200, 40)).estimate(800, max_tokens, n) == tokens


def test_ratio_moves_from_a_quarter_to_what_is_seen() -> None:
    estimator = learned((1000, 500, 0))
    assert estimator.tokens_per_byte == 0.375  # halfway: the quarter counts as one answer
    for _ in range(300):
        estimator.learn(1000, 500, 0)
    assert estimator.tokens_per_byte == pytest.approx(0.5, abs=1e-4)


def test_one_picture_does_not_decide_for_the_texts_behind_it() -> None:
    estimator = learned(*[(1000, 250, 0)] * 100, (10_000_000, 1000, 0))
    assert estimator.estimate(1000, None, 1) > 240


@cases(
    "usage",
    {
        "no usage": (100, None, None),
        "no prompt": (100, 0, None),
        "negative": (100, -5, -5),
        "no body": (0, 50, None),
    },
)
def test_nothing_is_learned_from(usage: tuple[int, int | None, int | None]) -> None:
    assert learned(usage).estimate(400, None, 1) == 356


def test_an_answer_without_tokens_counts() -> None:
    assert learned((400, 100, 0)).estimate(400, None, 1) == 100


def test_estimates_are_right_on_average() -> None:
    rng = random.Random(1)
    estimator, estimated, used = TokenEstimator(), 0, 0
    for _ in range(3000):
        size, completion = rng.randrange(200, 20_000), int(rng.expovariate(1 / 300))
        estimated += estimator.estimate(size, None, 1)
        used += int(size * 0.22) + completion
        estimator.learn(size, int(size * 0.22), completion)
    assert estimated / used == pytest.approx(1.0, abs=0.03)


def test_follows_a_change_within_a_hundred_answers() -> None:
    estimator = learned(*[(1000, 250, 100)] * 500, *[(1000, 500, 1000)] * 100)
    assert estimator.estimate(1000, None, 1) == pytest.approx(1500, rel=0.04)


@cases(
    "answers, max_tokens, tokens",
    {
        "the guess": (0, None, 356),
        "halfway to what is seen": (1, None, 238),
        "a quarter of the way back": (3, None, 179),
        "the limit of the request is its guess": (1, 40, 130),
        "hardly any": (255, None, 121),
    },
)
def test_the_first_short_answers_do_not_let_all_others_go(
    answers: int, max_tokens: int | None, tokens: int
) -> None:
    """Answers of 20 tokens; those of 256 and more are still on their way."""
    estimator = learned(*[(400, 100, 20)] * answers)
    assert estimator.estimate_to_reserve(400, max_tokens, 1) == tokens


def test_no_less_is_booked_than_is_expected() -> None:
    assert learned((400, 100, 2000)).estimate_to_reserve(400, None, 1) == 2100
