"""Tables of usage objects: their counts, and their sums over the turns of a conversation."""

from __future__ import annotations

from typing import Any

from chatpipe.response.usage import (
    Usage,
    merge_usage,
    reported_usage,
    spent_usage,
    total_usage,
    usage_of,
)
from support.parametrize import cases

PLAIN = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
OTHER = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@cases(
    "completion, expected",
    {
        "no completion": (None, (0, 0, 0, 0)),
        "no usage": ({}, (0, 0, 0, 0)),
        "null": ({"usage": None}, (0, 0, 0, 0)),
        "no object": ({"usage": [1]}, (0, 0, 0, 0)),
        "all": ({"usage": PLAIN}, (5, 0, 2, 7)),
        "in x_groq": ({"x_groq": {"id": "r", "usage": PLAIN}}, (5, 0, 2, 7)),
        "in the choice": ({"choices": [{"usage": PLAIN}]}, (5, 0, 2, 7)),
        "in the message": ({"choices": [{"message": {"usage": PLAIN}}]}, (5, 0, 2, 7)),
        "in the delta": ({"choices": [{"delta": {"usage": PLAIN}}]}, (5, 0, 2, 7)),
        "zeros at the top": ({"usage": ZEROS, "choices": [{"usage": PLAIN}]}, (5, 0, 2, 7)),
        "in a field of any name": ({"metadata": {"usage": PLAIN}, "model": "m"}, (5, 0, 2, 7)),
        "null at the top": ({"usage": None, "x_groq": {"usage": PLAIN}}, (5, 0, 2, 7)),
        "in two places": ({"usage": PLAIN, "x_groq": {"usage": PLAIN}}, (5, 0, 2, 7)),
        "a name in capitals": ({"Usage": PLAIN}, (5, 0, 2, 7)),
        "token_usage": ({"token_usage": PLAIN}, (5, 0, 2, 7)),
        "usage_info, in the choice": ({"choices": [{"usage_info": PLAIN}]}, (5, 0, 2, 7)),
        "usageMetadata": (
            {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
            (5, 0, 2, 7),
        ),
        "a limit is no usage": ({"usage_limits": PLAIN}, (0, 0, 0, 0)),
        "in a list": ({"usage": [PLAIN]}, (5, 0, 2, 7)),
        "in a list, of several models": ({"usage": [PLAIN, None, OTHER]}, (10, 0, 5, 15)),
        "in a list, repeated": ({"usage": [PLAIN, PLAIN]}, (5, 0, 2, 7)),
        "of all in each choice": ({"choices": [{"usage": PLAIN}, {"usage": PLAIN}]}, (5, 0, 2, 7)),
        "of each choice": ({"choices": [{"usage": PLAIN}, {"usage": OTHER}]}, (10, 0, 5, 15)),
        "odd places": ({"x_groq": [], "choices": [5, {"message": "x", "usage": 1}]}, (0, 0, 0, 0)),
    },
)
def test_usage_is_found_wherever_it_stands(
    completion: dict[str, Any] | None, expected: tuple[int, int, int, int]
) -> None:
    assert usage_of(completion) == Usage(*expected)


@cases(
    "usage, expected",
    {
        "a sum that is not told": ({"prompt_tokens": 5, "completion_tokens": 2}, (5, 0, 2, 7)),
        "a sum that is too small": ({**PLAIN, "total_tokens": 2}, (5, 0, 2, 7)),
        "reasoning counted apart": ({**PLAIN, "total_tokens": 10}, (5, 0, 2, 10)),
        "prompt only, as for an empty answer": ({"prompt_tokens": 5}, (5, 0, 0, 5)),
        "total only": ({"total_tokens": 5}, (0, 0, 0, 5)),
        "cached": ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}, (5, 4, 0, 5)),
        "cached, DeepSeek": ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 4}, (5, 4, 0, 5)),
        "cached, Moonshot": ({"prompt_tokens": 5, "cached_tokens": 4}, (5, 4, 0, 5)),
        "cached, told twice": (
            {"prompt_tokens": 9, "cached_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
            (9, 4, 0, 9),
        ),
        "cached, 0 in the details": (
            {"prompt_tokens": 9, "cached_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}},
            (9, 5, 0, 9),
        ),
        "cached, in another word of the details": (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0, "cachedTokens": 3}},
            (9, 3, 0, 9),
        ),
        "cached, a negative count": (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": -1}},
            (9, 0, 0, 9),
        ),
        "more cached than sent": ({"prompt_tokens": 5, "cached_tokens": 9}, (5, 5, 0, 5)),
        "no details": ({"prompt_tokens": 5, "prompt_tokens_details": None}, (5, 0, 0, 5)),
        "other words": ({"input_tokens": 5, "output_tokens": 2}, (5, 0, 2, 7)),
        "other words beside zeros": ({**ZEROS, "input_tokens": 5, "output_tokens": 2}, (5, 0, 2, 7)),
        "Responses API": ({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}, (5, 4, 0, 5)),
        "Anthropic": (
            {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
            (10, 4, 0, 10),
        ),
        "cached and no answer, Anthropic": ({"input_tokens": 5, "cache_read_input_tokens": 4}, (9, 4, 0, 9)),
        "Gemini": (
            {
                "promptTokenCount": 5,
                "cachedContentTokenCount": 3,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 4,
                "totalTokenCount": 11,
            },
            (5, 3, 6, 11),
        ),
        "camel case": ({"promptTokens": 5, "completionTokens": 2, "totalTokens": 8}, (5, 0, 2, 8)),
        "camel case beside zeros": ({**ZEROS, "inputTokens": "5", "outputTokens": 2}, (5, 0, 2, 7)),
        "one word of each": ({"prompt_tokens": 5, "Completion-Tokens": 2}, (5, 0, 2, 7)),
        "floats": ({"prompt_tokens": 5.0, "completion_tokens": 1.5}, (5, 0, 2, 7)),
        "text": ({"prompt_tokens": "5", "completion_tokens": " 2.0 ", "total_tokens": "7"}, (5, 0, 2, 7)),
        "no counts": ({"prompt_tokens": "five", "completion_tokens": -2, "total_tokens": None}, (0, 0, 0, 0)),
        "nor these": ({"prompt_tokens": float("inf"), "completion_tokens": True}, (0, 0, 0, 0)),
        "more than any answer has": ({**PLAIN, "total_tokens": 10**400}, (5, 0, 2, 7)),
        "the same as a float": ({**PLAIN, "completion_tokens": 1e300}, (5, 0, 0, 7)),
        "and as text": ({"prompt_tokens": "9" * 5000, "total_tokens": "1" + "0" * 15}, (0, 0, 0, 0)),
    },
)
def test_counts_are_read_in_the_words_of_every_server(
    usage: Any, expected: tuple[int, int, int, int]
) -> None:
    assert usage_of({"usage": usage}) == Usage(*expected)


@cases(
    "completion, reported",
    {
        "as it came": ({"usage": {**PLAIN, "cost": 0.5}}, {**PLAIN, "cost": 0.5}),
        "none": ({"usage": [1]}, None),
        "nothing in it": ({"usage": {}}, {}),
        "from elsewhere": ({"choices": [{"usage": {**PLAIN, "x": 1}}]}, {**PLAIN, "x": 1}),
        "a total": ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, PLAIN),
        "numbers": ({"usage": {"prompt_tokens": "5", "completion_tokens": 2.0}}, PLAIN),
        "a 0 stays": (
            {"usage": {"prompt_tokens": 5, "completion_tokens": 0}},
            {**PLAIN, "completion_tokens": 0, "total_tokens": 5},
        ),
        "a 0 in other words": (
            {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 0}},
            {
                "prompt_tokens": 5,
                "completion_tokens": 0,
                "total_tokens": 5,
                "promptTokenCount": 5,
                "candidatesTokenCount": 0,
            },
        ),
        "other words": (
            {"usage": {"input_tokens": 5, "output_tokens": 2}},
            {**PLAIN, "input_tokens": 5, "output_tokens": 2},
        ),
    },
)
def test_reported_usage_has_the_counts_of_the_api(completion: dict[str, Any], reported: Any) -> None:
    assert reported_usage(completion) == reported


@cases(
    "pieces, merged",
    {
        "cumulative": ([{"completion_tokens": 1}, {"completion_tokens": 2}], {"completion_tokens": 2}),
        "prompt first, completion last": (
            [
                {"prompt_tokens": 5, "completion_tokens": 1, "d": {"c": 4}},
                {"prompt_tokens": 0, "completion_tokens": 2, "d": {"c": 0}},
            ],
            {"prompt_tokens": 5, "completion_tokens": 2, "d": {"c": 4}},
        ),
        "null": ([PLAIN, None], PLAIN),
        "empty": ([PLAIN, {}], PLAIN),
        "zeros last": ([PLAIN, ZEROS], PLAIN),
        "zeros first": ([ZEROS, PLAIN], PLAIN),
    },
)
def test_usage_of_a_stream_grows(pieces: list[Any], merged: Any) -> None:
    made: Any = None
    for piece in pieces:
        made = merge_usage(made, piece)
    assert made == merged


def test_spent_usage_counts_every_turn() -> None:
    turn = {"prompt_tokens": 3, "completion_tokens": 1}
    assert spent_usage({"usage": turn}, [turn, None, {"total_tokens": 5}]) == Usage(6, 0, 2, 13)
    assert spent_usage(None, [turn]) == Usage(3, 0, 1, 4)


@cases(
    "last, earlier, total",
    {
        "one turn": ({"a": 1}, [], {"a": 1}),
        "counts": ({"a": 1}, [{"a": 2}, {"a": 3}], {"a": 6}),
        "details": ({"d": {"c": 1}}, [{"d": {"c": 2, "x": 5}}], {"d": {"c": 3, "x": 5}}),
        "the last is silent": (None, [{"a": 2}], {"a": 2}),
        "an earlier one is silent": ({"a": 2}, [None], {"a": 2}),
        "an integer that no float holds": ({"a": 10**400}, [{"a": 1.5}], {"a": 10**400}),
        "no counts": ({"cost": 0.5, "ok": True}, [{"cost": 0.25, "ok": True}], {"cost": 0.75, "ok": True}),
    },
)
def test_usage_of_all_turns(last: Any, earlier: list[Any], total: Any) -> None:
    assert total_usage(last, earlier) == total


def test_usage_that_is_nested_deeply_is_no_endless_sum() -> None:
    def nested(count: int) -> Any:
        usage: Any = {**PLAIN, "a": count}
        for _ in range(1_000):
            usage = {**PLAIN, "a": usage}
        return usage

    for usage in (total_usage(nested(1), [nested(2)]), merge_usage(nested(1), nested(2))):
        assert usage_of({"usage": usage}).prompt in (5, 10)
