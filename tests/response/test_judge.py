"""Tables of answers: what each is, and which status a completion ends in."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import Status
from chatpipe.response.judge import Outcome, Verdict, judge, verdict

Json = dict[str, Any]
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def choice(finish: Any = "stop", content: Any = "a", index: int = 0, **fields: Any) -> Json:
    return {
        "index": index,
        "message": {"role": "assistant", "content": content, **fields},
        "finish_reason": finish,
    }


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        pytest.param(choice(), "ok", id="stop"),
        pytest.param(choice(None), "ok", id="null"),
        pytest.param(choice("eos"), "ok", id="unknown reason"),
        pytest.param(choice(5), "ok", id="reason odd"),
        pytest.param(choice(["length"]), "ok", id="reason a list"),
        pytest.param(choice(content=" \n"), "ok", id="white space is content"),
        pytest.param(choice("tool_calls"), "ok", id="tool_calls without calls"),
        pytest.param(choice(content=None, audio={"id": "a"}), "ok", id="audio"),
        pytest.param(choice(content="", images=[{"type": "image_url"}]), "ok", id="images"),
        pytest.param(choice(content=[{"type": "text", "text": "a"}]), "ok", id="parts"),
        pytest.param(
            choice(tool_calls=[], function_call=None, refusal=None, audio=None), "ok", id="fields empty"
        ),
        pytest.param({"message": {"content": "a"}}, "ok", id="no finish_reason, no index"),
        pytest.param(choice("length"), "truncated", id="length"),
        pytest.param(choice("length", ""), "truncated", id="length, all spent on reasoning"),
        pytest.param(choice("length", None, tool_calls=CALLS), "truncated", id="length inside a call"),
        pytest.param(choice("model_length"), "truncated", id="the model's own limit"),
        pytest.param(choice("content_filter"), "refused", id="filter"),
        pytest.param(choice("content_filter", None), "refused", id="filter, no content"),
        pytest.param({"index": 0, "finish_reason": "content_filter"}, "refused", id="filter, no message"),
        pytest.param(choice("content_filter: RECITATION"), "refused", id="filter with its category"),
        pytest.param(choice(content=None, refusal="no"), "refused", id="refusal"),
        pytest.param(choice("length", None, refusal="no"), "refused", id="refusal cut off"),
        pytest.param(choice(content=None), "empty", id="content null"),
        pytest.param(choice(content=""), "empty", id="content empty"),
        pytest.param(choice(content=[]), "empty", id="no parts"),
        pytest.param(choice(None, ""), "empty", id="null reason, content empty"),
        pytest.param(
            choice("tool_calls", None, tool_calls=[]), "empty", id="tool_calls without calls or content"
        ),
        pytest.param(choice(content="", reasoning="hm"), "empty", id="reasoning alone"),
        pytest.param(choice(content=None, refusal="", audio={}), "empty", id="all fields empty"),
        pytest.param({"index": 0, "message": {}, "finish_reason": "stop"}, "empty", id="message empty"),
        pytest.param(choice("tool_calls", None, tool_calls=CALLS), "tool-calls", id="calls"),
        pytest.param(choice("stop", "", tool_calls=CALLS), "tool-calls", id="calls, finish stop"),
        pytest.param(choice("tool_calls", "I look", tool_calls=CALLS), "tool-calls", id="calls and content"),
        pytest.param(
            choice("function_call", None, function_call={"name": "f"}), "tool-calls", id="function_call"
        ),
        pytest.param(choice("error"), "broken", id="error"),
        pytest.param(choice("error", None, refusal="no"), "broken", id="error before refusal"),
        pytest.param(choice("abort"), "broken", id="abort"),
        pytest.param(choice("insufficient_system_resource"), "broken", id="deepseek out of machines"),
        pytest.param({"index": 0, "finish_reason": "stop"}, "broken", id="no message"),
        pytest.param({"index": 0, "message": "a", "finish_reason": "stop"}, "broken", id="message odd"),
        pytest.param(None, "broken", id="no object"),
        pytest.param("stop", "broken", id="a string"),
    ],
)
def test_outcome(answer: Any, outcome: str) -> None:
    assert judge(answer) is Outcome(outcome)


def test_outcomes_are_words() -> None:
    words = [str(outcome) for outcome in Outcome]
    assert words == ["ok", "truncated", "refused", "empty", "mismatch", "tool-calls", "broken"]


GOOD = choice()
CUT = choice("length")
FILTERED = choice("content_filter")
EMPTY = choice(content=None)
CALLING = choice("tool_calls", None, tool_calls=CALLS)
BROKEN = choice("error")


def numbered(*choices: Any) -> Json:
    return {"choices": [{**each, "index": index} for index, each in enumerate(choices)]}


@pytest.mark.parametrize(
    ("choices", "allow", "status", "index"),
    [
        pytest.param([GOOD], "", None, None, id="good"),
        pytest.param([GOOD, GOOD], "", None, None, id="all good"),
        pytest.param([CUT], "", 3, 0, id="truncated"),
        pytest.param([FILTERED], "", 4, 0, id="refused"),
        pytest.param([EMPTY], "", 4, 0, id="empty"),
        pytest.param([CALLING], "", 6, 0, id="tool calls"),
        pytest.param([BROKEN], "", 76, 0, id="broken"),
        pytest.param([GOOD, CUT, GOOD], "", 3, 1, id="one of three"),
        pytest.param([CALLING, CUT, FILTERED, BROKEN], "", 76, 3, id="broken first"),
        pytest.param([CALLING, CUT, FILTERED], "", 4, 2, id="then refused"),
        pytest.param([CALLING, CUT, EMPTY], "", 4, 2, id="or empty"),
        pytest.param([EMPTY, FILTERED], "", 4, 0, id="of the same status the first"),
        pytest.param([CALLING, CUT], "", 3, 1, id="then truncated"),
        pytest.param([GOOD, CALLING], "", 6, 1, id="then tool calls"),
        pytest.param([CUT], "truncated", None, None, id="truncated allowed"),
        pytest.param([FILTERED, EMPTY], "refused empty", None, None, id="refused and empty allowed"),
        pytest.param([FILTERED, EMPTY], "refused", 4, 1, id="refused alone allowed"),
        pytest.param([CALLING], "tool-calls", None, None, id="tool calls allowed"),
        pytest.param([CUT, CALLING], "truncated mismatch", 6, 1, id="the next that is not allowed"),
        pytest.param([BROKEN], "broken", 76, 0, id="broken cannot be allowed"),
        pytest.param([CUT], "ok refused", 3, 0, id="another allowed"),
    ],
)
def test_status_of_a_completion(
    choices: list[Json], allow: str, status: int | None, index: int | None
) -> None:
    found = verdict(numbered(*choices), allow=frozenset(allow.split()), text_format=True)
    assert (found and found.status, found and found.choice) == (status, index)


def test_tool_calls_are_a_fault_only_where_text_is_written() -> None:
    for answer in (CALLING, choice("function_call", None, function_call={"name": "f", "arguments": "{}"})):
        found = verdict(numbered(answer), allow=frozenset(), text_format=True)
        assert found
        assert found.outcome is Outcome.tool_calls
        assert verdict(numbered(answer), allow=frozenset(), text_format=False) is None


def test_other_faults_hold_in_every_format() -> None:
    found = verdict(numbered(CALLING, CUT), allow=frozenset(), text_format=False)
    assert found
    assert found.status is Status.TRUNCATED


@pytest.mark.parametrize(
    ("completion", "outcome", "index", "what", "fix"),
    [
        ({}, "broken", None, "the answer has no choices", "try again"),
        ({"choices": []}, "broken", None, "the answer has no choices", "try again"),
        ({"choices": {"0": GOOD}}, "broken", None, "the answer has no choices", "try again"),
        ({"choices": [None]}, "broken", 0, "the answer has no message", "try again"),
        (
            {"error": {"message": "too busy"}},
            "broken",
            None,
            "the server reports an error: too busy",
            "try again",
        ),
        (
            {"error": {"message": "too busy"}, "choices": [GOOD]},
            "broken",
            None,
            "the server reports an error: too busy",
            "try again",
        ),
        ({"choices": [BROKEN]}, "broken", 0, "the server gave up (finish_reason 'error')", "try again"),
        (
            {"choices": [{**BROKEN, "error": {"code": 502, "message": "gone"}}]},
            "broken",
            0,
            "the server gave up (finish_reason 'error'): gone",
            "try again",
        ),
        (
            {"choices": [CUT]},
            "truncated",
            0,
            "the answer was cut off (finish_reason 'length')",
            "raise --max-completion-tokens or --max-tokens, or --allow truncated",
        ),
        (
            {"choices": [FILTERED]},
            "refused",
            0,
            "the answer was filtered (finish_reason 'content_filter')",
            "change the prompt, or --allow refused",
        ),
        (
            {"choices": [choice(content=None, refusal="I\nwon't. " + "x" * 600)]},
            "refused",
            0,
            "the model refused",
            "change the prompt, or --allow refused",
        ),
        (
            {"choices": [choice(content=None, refusal={"why": 1})]},
            "refused",
            0,
            "the model refused",
            "change the prompt, or --allow refused",
        ),
        ({"choices": [EMPTY]}, "empty", 0, "the answer is empty", "change the prompt, or --allow empty"),
        (
            {"choices": [CALLING]},
            "tool-calls",
            0,
            "tool calls are waiting for an answer",
            "take them with -f tool-calls, answer with --tool-result",
        ),
        (
            {"choices": [GOOD, choice(content="", index=5)]},
            "empty",
            5,
            "choice 5: the answer is empty",
            "change the prompt, or --allow empty",
        ),
        (
            {"choices": [GOOD, {"message": {}, "index": "x"}]},
            "empty",
            1,
            "choice 1: the answer is empty",
            "change the prompt, or --allow empty",
        ),
    ],
)
def test_words(completion: Json, outcome: str, index: int | None, what: str, fix: str) -> None:
    found = verdict(completion, allow=frozenset(), text_format=True)
    assert isinstance(found, Verdict)
    assert (found.outcome, found.choice, found.what, found.fix) == (outcome, index, what, fix)


def bad(content: Any) -> str | None:
    """As the check against a schema says it: None for what fits."""
    return "/a: 5 is not a string" if content == "bad" else None


BAD = choice(content="bad")


@pytest.mark.parametrize(
    ("choices", "allow", "status", "index"),
    [
        pytest.param([GOOD], "", None, None, id="fits"),
        pytest.param([BAD], "", 5, 0, id="does not fit"),
        pytest.param([GOOD, BAD, BAD], "", 5, 1, id="the first that does not"),
        pytest.param([BAD, CALLING], "", 5, 0, id="before tool calls"),
        pytest.param([CALLING, BAD], "", 5, 1, id="before tool calls that come first"),
        pytest.param([BAD, CUT], "", 3, 1, id="after truncated"),
        pytest.param([BAD, EMPTY], "", 4, 1, id="after empty"),
        pytest.param([BAD, FILTERED], "", 4, 1, id="after refused"),
        pytest.param([BAD, BROKEN], "", 76, 1, id="after broken"),
        pytest.param([BAD], "mismatch", None, None, id="allowed"),
        pytest.param([BAD, CALLING], "mismatch", 6, 1, id="allowed, the next is not"),
        pytest.param(
            [choice("length", "bad")], "truncated", None, None, id="cut off and allowed: not checked"
        ),
        pytest.param([choice("tool_calls", "bad", tool_calls=CALLS)], "tool-calls", None, None, id="calls"),
    ],
)
def test_answer_that_does_not_fit_its_schema(
    choices: list[Json], allow: str, status: int | None, index: int | None
) -> None:
    found = verdict(numbered(*choices), allow=frozenset(allow.split()), text_format=True, fits=bad)
    assert (found and found.status, found and found.choice) == (status, index)


def test_schema_is_asked_only_about_what_is_good_otherwise() -> None:
    asked: list[Any] = []
    parts = [{"type": "text", "text": "a"}]
    answers = [
        GOOD,
        CUT,
        FILTERED,
        EMPTY,
        CALLING,
        BROKEN,
        choice(content=parts),
        choice(None, None, audio={"id": "a"}),
    ]
    verdict(numbered(*answers), allow=frozenset(), text_format=True, fits=asked.append)
    assert asked == ["a", parts, None]


def test_words_of_a_mismatch() -> None:
    found = verdict(numbered(GOOD, BAD), allow=frozenset(), text_format=True, fits=bad)
    assert found
    assert found.outcome is Outcome.mismatch
    assert found.what == "choice 1: the answer does not fit the schema: /a: 5 is not a string"
    assert found.fix == "--reask, or --allow mismatch"
