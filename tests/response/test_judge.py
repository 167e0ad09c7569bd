"""Tables of answers: what each is, and which status a completion ends in."""

from __future__ import annotations

from typing import Any

from chatpipe.errors import Status
from chatpipe.options.outcomes import Outcome
from chatpipe.response.judge import Verdict, outcome_of, verdict
from support.parametrize import cases

Json = dict[str, Any]
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def choice(finish: Any = "stop", content: Any = "a", index: int = 0, **fields: Any) -> Json:
    return {
        "index": index,
        "message": {"role": "assistant", "content": content, **fields},
        "finish_reason": finish,
    }


@cases(
    ("answer", "outcome"),
    {
        "stop": (choice(), "ok"),
        "null": (choice(None), "ok"),
        "unknown reason": (choice("eos"), "ok"),
        "reason odd": (choice(5), "ok"),
        "reason a list": (choice(["length"]), "ok"),
        "white space is content": (choice(content=" \n"), "ok"),
        "tool_calls without calls": (choice("tool_calls"), "ok"),
        "audio": (choice(content=None, audio={"id": "a"}), "ok"),
        "images": (choice(content="", images=[{"type": "image_url"}]), "ok"),
        "parts": (choice(content=[{"type": "text", "text": "a"}]), "ok"),
        "fields empty": (choice(tool_calls=[], function_call=None, refusal=None, audio=None), "ok"),
        "no finish_reason, no index": ({"message": {"content": "a"}}, "ok"),
        "length": (choice("length"), "truncated"),
        "length, all spent on reasoning": (choice("length", ""), "truncated"),
        "length inside a call": (choice("length", None, tool_calls=CALLS), "truncated"),
        "the model's own limit": (choice("model_length"), "truncated"),
        "filter": (choice("content_filter"), "refused"),
        "filter, no content": (choice("content_filter", None), "refused"),
        "filter, no message": ({"index": 0, "finish_reason": "content_filter"}, "refused"),
        "filter with its category": (choice("content_filter: RECITATION"), "refused"),
        "refusal": (choice(content=None, refusal="no"), "refused"),
        "refusal cut off": (choice("length", None, refusal="no"), "refused"),
        "content null": (choice(content=None), "empty"),
        "content empty": (choice(content=""), "empty"),
        "no parts": (choice(content=[]), "empty"),
        "null reason, content empty": (choice(None, ""), "empty"),
        "tool_calls without calls or content": (choice("tool_calls", None, tool_calls=[]), "empty"),
        "reasoning alone": (choice(content="", reasoning="hm"), "empty"),
        "all fields empty": (choice(content=None, refusal="", audio={}), "empty"),
        "message empty": ({"index": 0, "message": {}, "finish_reason": "stop"}, "empty"),
        "no call in the list": (choice("tool_calls", None, tool_calls=[None, {}]), "empty"),
        "calls": (choice("tool_calls", None, tool_calls=CALLS), "tool-calls"),
        "calls, finish stop": (choice("stop", "", tool_calls=CALLS), "tool-calls"),
        "calls and content": (choice("tool_calls", "I look", tool_calls=CALLS), "tool-calls"),
        "function_call": (choice("function_call", None, function_call={"name": "f"}), "tool-calls"),
        "error": (choice("error"), "network"),
        "error before refusal": (choice("error", None, refusal="no"), "network"),
        "abort": (choice("abort"), "network"),
        "deepseek out of machines": (choice("insufficient_system_resource"), "network"),
        "no message": ({"index": 0, "finish_reason": "stop"}, "network"),
        "message odd": ({"index": 0, "message": "a", "finish_reason": "stop"}, "network"),
        "no object": (None, "network"),
        "a string": ("stop", "network"),
    },
)
def test_an_answer_has_an_outcome(answer: Any, outcome: str) -> None:
    assert outcome_of(answer) is Outcome(outcome)


def test_outcomes_are_words() -> None:
    words = [str(outcome) for outcome in Outcome]
    judged = ["ok", "truncated", "refused", "empty", "mismatch", "tool-calls"]
    assert words == [*judged, "http", "network", "input", "unsent"]


GOOD = choice()
CUT = choice("length")
FILTERED = choice("content_filter")
EMPTY = choice(content=None)
CALLING = choice("tool_calls", None, tool_calls=CALLS)
BROKEN = choice("error")


def numbered(*choices: Any) -> Json:
    return {"choices": [{**each, "index": index} for index, each in enumerate(choices)]}


@cases(
    ("choices", "allow", "status", "index"),
    {
        "good": ([GOOD], "", None, None),
        "all good": ([GOOD, GOOD], "", None, None),
        "truncated": ([CUT], "", 3, 0),
        "refused": ([FILTERED], "", 4, 0),
        "empty": ([EMPTY], "", 4, 0),
        "tool calls": ([CALLING], "", 6, 0),
        "broken": ([BROKEN], "", 76, 0),
        "one of three": ([GOOD, CUT, GOOD], "", 3, 1),
        "broken first": ([CALLING, CUT, FILTERED, BROKEN], "", 76, 3),
        "then refused": ([CALLING, CUT, FILTERED], "", 4, 2),
        "or empty": ([CALLING, CUT, EMPTY], "", 4, 2),
        "of the same status the first": ([EMPTY, FILTERED], "", 4, 0),
        "then truncated": ([CALLING, CUT], "", 3, 1),
        "then tool calls": ([GOOD, CALLING], "", 6, 1),
        "truncated allowed": ([CUT], "truncated", None, None),
        "refused and empty allowed": ([FILTERED, EMPTY], "refused empty", None, None),
        "refused alone allowed": ([FILTERED, EMPTY], "refused", 4, 1),
        "tool calls allowed": ([CALLING], "tool-calls", None, None),
        "the next that is not allowed": ([CUT, CALLING], "truncated mismatch", 6, 1),
        "broken cannot be allowed": ([BROKEN], "network", 76, 0),
        "another allowed": ([CUT], "ok refused", 3, 0),
    },
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


NO_CHOICES = ("network", None, "the answer has no choices", "try again")
REPORTED = ("network", None, "the server reports an error: too busy", "try again")
MODEL_REFUSED = ("refused", 0, "the model refused", "change the prompt, or --allow refused")
BE_FULLER = "change the prompt, or --allow empty"


@cases(
    ("completion", "outcome", "index", "what", "fix"),
    {
        "nothing": ({}, *NO_CHOICES),
        "no choices": ({"choices": []}, *NO_CHOICES),
        "choices an object": ({"choices": {"0": GOOD}}, *NO_CHOICES),
        "no message": ({"choices": [None]}, "network", 0, "the answer has no message", "try again"),
        "an error": ({"error": {"message": "too busy"}}, *REPORTED),
        "an error beside an answer": ({"error": {"message": "too busy"}, "choices": [GOOD]}, *REPORTED),
        "given up": (
            {"choices": [BROKEN]},
            "network",
            0,
            "the server gave up (finish_reason 'error')",
            "try again",
        ),
        "given up, with a reason": (
            {"choices": [{**BROKEN, "error": {"code": 502, "message": "gone"}}]},
            "network",
            0,
            "the server gave up (finish_reason 'error'): gone",
            "try again",
        ),
        "cut off": (
            {"choices": [CUT]},
            "truncated",
            0,
            "the answer was cut off (finish_reason 'length')",
            "raise --max-completion-tokens or --max-tokens, or --allow truncated",
        ),
        "the context is full": (
            {"choices": [{**CUT, "finish_reason": "model_length"}]},
            "truncated",
            0,
            "the answer was cut off (finish_reason 'model_length')",
            "shorten the messages, which fill the context of the model, or --allow truncated",
        ),
        "filtered": (
            {"choices": [FILTERED]},
            "refused",
            0,
            "the answer was filtered (finish_reason 'content_filter')",
            "change the prompt, or --allow refused",
        ),
        "a long refusal": (
            {"choices": [choice(content=None, refusal="I\nwon't. " + "x" * 600)]},
            *MODEL_REFUSED,
        ),
        "an odd refusal": ({"choices": [choice(content=None, refusal={"why": 1})]}, *MODEL_REFUSED),
        "empty": ({"choices": [EMPTY]}, "empty", 0, "the answer is empty", BE_FULLER),
        "tool calls": (
            {"choices": [CALLING]},
            "tool-calls",
            0,
            "tool calls are waiting for an answer",
            "get them with -f tool-calls, answer them with --tool-result",
        ),
        "empty, by its index": (
            {"choices": [GOOD, choice(content="", index=5)]},
            "empty",
            5,
            "choice 5: the answer is empty",
            BE_FULLER,
        ),
        "empty, by its position": (
            {"choices": [GOOD, {"message": {}, "index": "x"}]},
            "empty",
            1,
            "choice 1: the answer is empty",
            BE_FULLER,
        ),
    },
)
def test_a_verdict_is_put_into_words(
    completion: Json, outcome: str, index: int | None, what: str, fix: str
) -> None:
    found = verdict(completion, allow=frozenset(), text_format=True)
    assert isinstance(found, Verdict)
    assert (found.outcome, found.choice, found.what, found.fix) == (outcome, index, what, fix)


def bad(content: Any) -> str | None:
    """As the check against a schema says it: None for what fits."""
    return "/a: 5 is not a string" if content == "bad" else None


BAD = choice(content="bad")


@cases(
    ("choices", "allow", "status", "index"),
    {
        "fits": ([GOOD], "", None, None),
        "does not fit": ([BAD], "", 5, 0),
        "the first that does not": ([GOOD, BAD, BAD], "", 5, 1),
        "before tool calls": ([BAD, CALLING], "", 5, 0),
        "before tool calls that come first": ([CALLING, BAD], "", 5, 1),
        "after truncated": ([BAD, CUT], "", 3, 1),
        "after empty": ([BAD, EMPTY], "", 4, 1),
        "after refused": ([BAD, FILTERED], "", 4, 1),
        "after broken": ([BAD, BROKEN], "", 76, 1),
        "allowed": ([BAD], "mismatch", None, None),
        "allowed, the next is not": ([BAD, CALLING], "mismatch", 6, 1),
        "cut off and allowed: not checked": ([choice("length", "bad")], "truncated", None, None),
        "calls": ([choice("tool_calls", "bad", tool_calls=CALLS)], "tool-calls", None, None),
    },
)
def test_answer_that_does_not_fit_its_schema(
    choices: list[Json], allow: str, status: int | None, index: int | None
) -> None:
    found = verdict(numbered(*choices), allow=frozenset(allow.split()), text_format=True, violation_of=bad)
    assert (found and found.status, found and found.choice) == (status, index)


def test_schema_is_asked_only_about_what_is_good_otherwise() -> None:
    asked: list[Any] = []
    parts = [{"type": "text", "text": "a"}]
    spoken = choice(None, None, audio={"id": "a"})
    answers = [GOOD, CUT, FILTERED, EMPTY, CALLING, BROKEN, choice(content=parts), spoken]
    verdict(numbered(*answers), allow=frozenset(), text_format=True, violation_of=asked.append)
    assert asked == ["a", parts, None]


def test_a_mismatch_is_put_into_words() -> None:
    found = verdict(numbered(GOOD, BAD), allow=frozenset(), text_format=True, violation_of=bad)
    assert found
    assert found.outcome is Outcome.mismatch
    assert found.what == "choice 1: the answer does not fit the schema: /a: 5 is not a string"
    assert found.fix == "--reask N, or --allow mismatch"


FENCED = choice(content="a\n```\nb\n```")


@cases(
    ("choices", "allow", "expected"),
    {
        "code": ([FENCED], "", None),
        "open": ([choice(content="```py\nb")], "", None),
        "none": ([choice(content="a `b`")], "", (Status.MISMATCH, 0)),
        "none, allowed": ([choice(content="a")], "mismatch", None),
        "none in the second": ([FENCED, choice(index=1)], "", (Status.MISMATCH, 1)),
        "cut off": ([choice("length")], "", (Status.TRUNCATED, 0)),
        "cut off in the code": ([choice("length", "```\nb")], "", (Status.TRUNCATED, 0)),
        "cut off in the code, allowed": ([choice("length", "```\nb")], "truncated", None),
        "cut off before the code, allowed": ([choice("length")], "truncated", (Status.MISMATCH, 0)),
        "calls, allowed": ([choice(content=None, tool_calls=CALLS)], "tool-calls", None),
        "empty": ([choice(content="")], "", (Status.REFUSED, 0)),
        "empty, allowed": ([choice(content="")], "empty", None),
        "in parts": ([choice(content=[{"type": "text", "text": "```\nb"}])], "", None),
    },
)
def test_a_format_needs_code(choices: list[Json], allow: str, expected: tuple[Status, int] | None) -> None:
    found = verdict(numbered(*choices), allow=frozenset(allow.split()), text_format=True, needs_code=True)
    assert (None if found is None else (found.status, found.choice)) == expected


def test_missing_code_is_put_into_words() -> None:
    found = verdict(numbered(choice()), allow=frozenset(), text_format=True, needs_code=True)
    assert found is not None
    assert found.what == "there is no fenced code block in the answer"
    assert found.fix == "ask for one, or --allow mismatch"
