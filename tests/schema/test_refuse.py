"""A request that was just built -> warnings, or all problems at once, each in its place."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import Problems, Status
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.request.build import BuiltRequest
from chatpipe.schema.check import Problem
from chatpipe.schema.refuse import describe, refuse
from support.parametrize import cases

GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
ORIGINS = {"/messages/0": "PROMPT", "/temperature": "--temperature"}


def test_good_request_has_no_warnings() -> None:
    assert refuse(BuiltRequest(GOOD, ORIGINS)) == []


def test_warnings_are_lines_with_their_places() -> None:
    body = {**GOOD, "max_tokens": 1, "max_completion_tokens": 1}
    [line] = refuse(BuiltRequest(body, {**ORIGINS, "/max_tokens": "--max-tokens"}))
    assert line.startswith("--max-tokens: is set together with ")


def test_all_errors_are_reported_at_once_without_the_warnings() -> None:
    body = {**GOOD, "temperature": 9, "n": 0, "max_tokens": 1, "max_completion_tokens": 1}
    source = Source("r.json", b'{"model":"m",\n"n":0}')
    origins: dict[str, LocatedValue | str] = {**ORIGINS, "": LocatedValue({}, source)}
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest(body, origins))
    assert raised.value.status == Status.BAD_INPUT
    assert [str(fault) for fault in raised.value.faults] == [
        "--temperature: is 9, not from 0 to 2",
        "r.json:2: /n: is 0, not from 1 to 128",
    ]


def test_strict_makes_errors_of_warnings() -> None:
    body = {**GOOD, "max_tokens": 1, "max_completion_tokens": 1}
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest(body, ORIGINS), strict=True)
    assert len(raised.value.faults) == 1


def test_model_may_come_later() -> None:
    body = {"messages": GOOD["messages"]}
    assert refuse(BuiltRequest(body, ORIGINS), without_model=True) == []
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest(body, ORIGINS))
    [fault] = raised.value.faults
    assert "has no 'model'" in fault.what
    assert fault.fix == "pass -m MODEL or set CHATPIPE_MODEL"


SET = dict.fromkeys(("/temperature", "/tools", "/a/b", "/messages/0/content", "/n"), "--set")


@cases(
    ("change", "fix"),
    {
        "a number": ({"temperature": "0.5"}, "--set temperature:=0.5"),
        "an integer": ({"n": "2"}, "--set n:=2"),
        "an array": ({"tools": "[]"}, "--set 'tools:=[]'"),
        "no JSON": ({"temperature": "hot"}, ""),
        "no text": ({"temperature": True}, ""),
    },
)
def test_a_text_that_set_made_becomes_json_with_another_set(change: dict[str, object], fix: str) -> None:
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest({**GOOD, **change}, {**ORIGINS, **SET}))
    assert [fault.fix for fault in raised.value.faults] == [fix]


@cases(
    ("field", "value", "fix"),
    {
        "a tool": ("tool_choice", "f", "--tool-choice f"),
        "a function": ("function_call", "a b", "--function-call 'a b'"),
        "a form": ("response_format", "json_object", "--response-format json_object"),
        "a form with a schema": ("response_format", "json_schema", "give the schema with --schema FILE in"),
        "tools": ("tools", "weather", "--tool FILE"),
        "a text for an object": ("prediction", "x", "--prediction-file FILE"),
        "pairs": ("metadata", "x", "--metadata KEY=VALUE"),
        "words": ("modalities", "text", "--modality text"),
        "a part of an object": ("audio", "alloy", "--audio-voice alloy"),
        "a switch": ("store", "yes", "--store or --no-store"),
        "a switch in an object": ("stream_options", "x", "--include-usage"),
        "an object that is a switch": ("web_search_options", "low", "--web-search"),
        "a number for a text": ("user", 3, "--set user=3"),
        "a number that is none": ("seed", "x", ""),
        "a field without an option": ("moderation", "x", ""),
        "a word that no list has": ("verbosity", "x", ""),
        "an object": ("stop", {}, ""),
    },
)
def test_set_with_a_word_names_the_option_that_takes_it(field: str, value: object, fix: str) -> None:
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest({**GOOD, field: value}, {**ORIGINS, f"/{field}": "--set"}))
    given = next(fault.fix for fault in raised.value.faults if fault.what.startswith(f"/{field}: is "))
    assert (given.startswith(fix), bool(given)) == (True, bool(fix))


def test_set_names_the_way_into_arrays() -> None:
    body = {**GOOD, "stop": ["a"], "metadata": {"x.y": "5"}, "tools": [{"type": "function", "function": "1"}]}
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest(body, {**ORIGINS, "/tools/0/function": "--set"}))
    assert [fault.fix for fault in raised.value.faults] == ["--set 'tools[0].function:=1'"]


@cases(
    ("change", "fix"),
    {
        "no messages": ({"messages": None}, "give a prompt, -u TEXT or --messages FILE"),
        "empty messages": ({"messages": []}, "give a prompt, -u TEXT or --messages FILE"),
        "probabilities": ({"top_logprobs": 2}, "add --logprobs"),
    },
)
def test_a_call_is_told_of_options(change: dict[str, object], fix: str) -> None:
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(Problems) as raised:
        refuse(BuiltRequest(body, ORIGINS))
    assert [fault.fix for fault in raised.value.faults] == [fix]


def test_request_is_not_changed() -> None:
    body = {**GOOD, "messages": [{"role": "user", "content": "q"}]}
    refuse(BuiltRequest(body, ORIGINS), without_model=True)
    assert body == {"model": "m", "messages": [{"role": "user", "content": "q"}]}


def test_pointer_stands_before_the_message() -> None:
    assert describe(Problem("/a/0", "type", "is 5, not a string", "", "error")) == "/a/0: is 5, not a string"
