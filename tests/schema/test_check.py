from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from chatpipe.schema.check import Problem, check
from schema.mutations import SAMPLES, mutated
from support.parametrize import cases
from support.patience import PATIENCE_S

FUNCTION = '{"type": "function", "function": {"name": "f", ...}}'
FUNCTIONS = [{"type": "function", "function": {"name": "f"}}]
SEEDS = "not from -9223372036854775808 to 9223372036854775807"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def console(body: object, **options: bool) -> list[tuple[str, str, str, str]]:
    """What is said of the errors; no warning is expected."""
    problems = check(body, **options)
    assert {problem.severity for problem in problems} <= {"error"}
    return [(problem.pointer, problem.keyword, problem.message, problem.hint) for problem in problems]


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_has_no_problem(name: str) -> None:
    assert [problem for problem in check(SAMPLES[name]) if problem.severity == "error"] == []


PARAMETERS: dict[str, tuple[dict[str, Any], tuple[str, str, str, str]]] = {
    "a number in quotes": (
        {"temperature": "0.2"},
        ("/temperature", "type", "is '0.2', not a number", "write 0.2 without quotes"),
    ),
    "a word for a number": ({"temperature": "warm"}, ("/temperature", "type", "is 'warm', not a number", "")),
    "true for a number": ({"temperature": True}, ("/temperature", "type", "is true, not a number", "")),
    "too high": ({"temperature": 2.1}, ("/temperature", "maximum", "is 2.1, not from 0 to 2", "")),
    "too low": ({"top_p": -0.1}, ("/top_p", "minimum", "is -0.1, not from 0 to 1", "")),
    "a fraction": ({"n": 1.5}, ("/n", "type", "is 1.5, not an integer", "")),
    "a fraction in quotes": ({"n": "1.5"}, ("/n", "type", "is '1.5', not an integer", "")),
    "true in quotes": (
        {"stream": "true"},
        ("/stream", "type", "is 'true', not a boolean", "write true without quotes"),
    ),
    "beyond 64 bits": (
        {"seed": 2**63},
        (
            "/seed",
            "maximum",
            "is 9223372036854775808, not from -9223372036854775808 to 9223372036854775807",
            "",
        ),
    ),
    "an integer as long as a line": (
        {"seed": 10**100},
        (
            "/seed",
            "maximum",
            "is an integer of more than 60 digits, not from -9223372036854775808 to 9223372036854775807",
            "",
        ),
    ),
    "five stops": ({"stop": list("abcde")}, ("/stop", "maxItems", "has 5 items, at most 4 allowed", "")),
    "no stop": ({"stop": []}, ("/stop", "minItems", "is empty", "leave it out, or add one")),
    "a stop that is a number": ({"stop": ["a", 1]}, ("/stop/1", "type", "is 1, not a string", "")),
    "an object for a choice of types": (
        {"stop": {}},
        ("/stop", "type", "is an object, not a string or an array", ""),
    ),
    "no tool": ({"tools": []}, ("/tools", "minItems", "is empty", "leave it out, or add one")),
    "one tool without its array": (
        {"tools": {"type": "function"}},
        ("/tools", "type", "is an object, not an array", "write an array, also for one tool"),
    ),
    "a word that is nearly right": (
        {"verbosity": "hihg"},
        ("/verbosity", "enum", "is 'hihg', not one of low, medium, high, xhigh, max", "did you mean 'high'?"),
    ),
    "a word that is not": (
        {"verbosity": "loud"},
        ("/verbosity", "enum", "is 'loud', not one of low, medium, high, xhigh, max", ""),
    ),
    "a number for a word": (
        {"verbosity": 1},
        ("/verbosity", "enum", "is 1, not one of low, medium, high, xhigh, max", ""),
    ),
    "too long": (
        {"safety_identifier": "x" * 65},
        ("/safety_identifier", "maxLength", "has 65 characters, at most 64 allowed", ""),
    ),
    "a label that is a number": (
        {"metadata": {"a/b~c": 1}},
        ("/metadata/a~1b~0c", "type", "is 1, not a string", ""),
    ),
    "a bias that is a word": (
        {"logit_bias": {"1": "x"}},
        ("/logit_bias/1", "type", "is 'x', not a number or a boolean", ""),
    ),
    "audio without a voice": (
        {"modalities": ["audio"], "audio": {"format": "mp3"}},
        ("/audio", "required", "has no 'voice'", "add 'voice'"),
    ),
    "a schema without a name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        ("/response_format/json_schema", "required", "has no 'name'", "add 'name'"),
    ),
    "a long value is cut": (
        {"n": "123456789-" * 9},
        ("/n", "type", f"is '{'123456789-' * 5}1234567...', not an integer", ""),
    ),
    "a value stays on one line": (
        {"n": "a\nb\x1b\u202e"},
        ("/n", "type", r"is 'a\nb\x1b\u202e', not an integer", ""),
    ),
    "a tool of the Responses API": (
        {"tools": [{"type": "function", "name": "f"}]},
        (
            "/tools/0",
            "required",
            "has no 'function'",
            f"write {FUNCTION}",
        ),
    ),
    "a tool without its wrapper": (
        {"tools": [{"name": "f", "parameters": {}}]},
        (
            "/tools/0",
            "required",
            "has no 'type'",
            f"write {FUNCTION}",
        ),
    ),
    "a custom tool without its wrapper": (
        {"tools": [{"name": "c", "format": {"type": "text"}}]},
        ("/tools/0", "required", "has no 'type'", 'write {"type": "custom", "custom": {"name": "c", ...}}'),
    ),
    "a name for a tool": (
        {"tools": ["f"]},
        (
            "/tools/0",
            "type",
            "is 'f', not an object",
            f"write {FUNCTION}",
        ),
    ),
    "a tool without anything": (
        {"tools": [{}]},
        (
            "/tools/0",
            "required",
            "has no 'type'",
            'write {"type": "function", "function": {"name": ..., ...}}',
        ),
    ),
    "no type of tool": (
        {"tools": [{"type": "", "function": {"name": "f"}}]},
        ("/tools/0/type", "minLength", "is empty", "add it: it says which kind of thing this is"),
    ),
    "a name for a choice": (
        {"tools": FUNCTIONS, "tool_choice": "f"},
        (
            "/tool_choice",
            "enum",
            "is 'f', not one of none, auto, required, any",
            'write {"type": "function", "function": {"name": "f"}}',
        ),
    ),
    "a misspelt choice": (
        {"tools": FUNCTIONS, "tool_choice": "atuo"},
        (
            "/tool_choice",
            "enum",
            "is 'atuo', not one of none, auto, required, any",
            "did you mean 'auto'?",
        ),
    ),
    "a choice of the Responses API": (
        {"tool_choice": {"type": "function", "name": "f"}},
        (
            "/tool_choice",
            "required",
            "has no 'function'",
            'write {"type": "function", "function": {"name": "f"}}',
        ),
    ),
    "a choice of Anthropic's": (
        {"tool_choice": {"type": "tool", "name": "f"}},
        (
            "/tool_choice/type",
            "enum",
            "is 'tool', not one of function, custom, allowed_tools",
            "did you mean 'function'?",
        ),
    ),
    "a choice in an object": (
        {"tool_choice": {"type": "auto"}},
        (
            "/tool_choice/type",
            "enum",
            "is 'auto', not one of function, custom, allowed_tools",
            'write "auto" in place of the object',
        ),
    ),
    "an allowed tool of the Responses API": (
        {
            "tools": FUNCTIONS,
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            },
        },
        (
            "/tool_choice/allowed_tools/tools/0",
            "required",
            "has no 'function'",
            'write {"type": "function", "function": {"name": "f"}}',
        ),
    ),
    "half of a word": (
        {"response_format": {"type": "json"}},
        (
            "/response_format/type",
            "enum",
            "is 'json', not one of text, json_object, json_schema, grammar, structural_tag",
            "did you mean 'json_object'?",
        ),
    ),
    "a name for a function": (
        {"functions": [{"name": "f"}], "function_call": "f"},
        ("/function_call", "enum", "is 'f', not one of none, auto", 'write {"name": "f"}'),
    ),
    "a format of the Responses API": (
        {"response_format": {"type": "json_schema", "name": "a", "schema": {}}},
        (
            "/response_format",
            "required",
            "has no 'json_schema'",
            'write {"type": "json_schema", "json_schema": {"name": ..., "schema": ...}}',
        ),
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_is_refused(name: str) -> None:
    change, problem = PARAMETERS[name]
    assert console(HELLO | change) == [problem]


MESSAGES: dict[str, tuple[object, tuple[str, str, str, str]]] = {
    "a misspelt role": (
        {"role": "sytem", "content": "x"},
        (
            "/role",
            "enum",
            "is 'sytem', not one of developer, system, user, assistant, tool, function",
            "did you mean 'system'?",
        ),
    ),
    "no role": (
        {"content": "x"},
        ("", "required", "has no 'role'", "add one of developer, system, user, assistant, tool, function"),
    ),
    "a string": ("hi", ("", "type", "is 'hi', not an object", 'write {"role": "user", "content": ...}')),
    "a string for a part": (
        {"role": "user", "content": ["hi"]},
        ("/content/0", "type", "is 'hi', not an object", 'write {"type": "text", "text": ...}'),
    ),
    "one call without its array": (
        {"role": "assistant", "tool_calls": {"id": "a"}},
        ("/tool_calls", "type", "is an object, not an array", "write an array, also for one call"),
    ),
    "Gemini's parts": (
        {"role": "user", "parts": [{"text": "x"}]},
        ("", "required", "has no 'content'", "write it in place of 'parts'"),
    ),
    "the Responses API's call": (
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        ("", "required", "has no 'role'", "write it as one of the 'tool_calls' of an assistant message"),
    ),
    "the Responses API's result": (
        {"type": "function_call_output", "call_id": "a", "output": "3"},
        ("", "required", "has no 'role'", "write it as a message with the role tool"),
    ),
    "no content": (
        {"role": "user"},
        ("", "required", "has no 'content'", "add a string, or an array of parts"),
    ),
    "null from a user": (
        {"role": "user", "content": None},
        ("/content", "type", "is null, not a string or an array", "write a string, or an array of parts"),
    ),
    "no part": (
        {"role": "user", "content": []},
        ("/content", "minItems", "is empty", "add a part, or write a string"),
    ),
    "a part without a type": (
        {"role": "user", "content": [{"text": "a"}]},
        ("/content/0", "required", "has no 'type'", "add it: it says which kind of thing this is"),
    ),
    "a text part without text": (
        {"role": "user", "content": [{"type": "text"}]},
        ("/content/0", "required", "has no 'text'", "add 'text'"),
    ),
    "an image without an address": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"detail": "low"}}]},
        ("/content/0/image_url", "required", "has no 'url'", "add the address, http(s): or data:"),
    ),
    "an image with an unknown detail": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https:", "detail": "lwo"}}]},
        (
            "/content/0/image_url/detail",
            "enum",
            "is 'lwo', not one of auto, low, high",
            "did you mean 'low'?",
        ),
    ),
    "an image without anything": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]},
        ("/content/0/image_url/url", "minLength", "is empty", "add the address, http(s): or data:"),
    ),
    "Mistral's audio without anything": (
        {"role": "user", "content": [{"type": "input_audio", "input_audio": ""}]},
        ("/content/0/input_audio", "minLength", "is empty", ""),
    ),
    "no format of audio": (
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": ""}}],
        },
        ("/content/0/input_audio/format", "minLength", "is empty", "add it, such as wav or mp3"),
    ),
    "Gemini's role": (
        {"role": "model", "content": "x"},
        (
            "/role",
            "enum",
            "is 'model', not one of developer, system, user, assistant, tool, function",
            "did you mean 'assistant'?",
        ),
    ),
    "a result without the id of its call": (
        {"role": "tool", "content": "3"},
        ("", "required", "has no 'tool_call_id'", "add the id of the tool call that this answers"),
    ),
    "a function message without a name": (
        {"role": "function", "content": "3"},
        ("", "required", "has no 'name'", "add 'name'"),
    ),
    "a null where only the role forbids it": (
        {"role": "function", "content": "3", "name": None},
        ("/name", "type", "is null, not a string", ""),
    ),
    "a number where the role forbids it too": (
        {"role": "function", "content": "3", "name": 5},
        ("/name", "type", "is 5, not a string", ""),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_message_is_refused(name: str) -> None:
    message, (pointer, *rest) = MESSAGES[name]
    assert console({"model": "m", "messages": [message]}) == [("/messages/0" + pointer, *rest)]


def test_misspelt_content_part_names_every_type_there_is() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "imge_url", "image_url": {"url": "x"}}]}],
    }
    assert console(body) == [
        (
            "/messages/0/content/0/type",
            "enum",
            (
                "is 'imge_url', not one of text, image_url, input_audio, file, refusal, audio_url, "
                "video_url, input_video, image_embeds, audio_embeds, video_embeds, prompt_embeds, thinking, "
                "tool_reference, reference, document_url"
            ),
            "did you mean 'image_url'?",
        )
    ]


@cases(
    ("kind", "hint"),
    {
        "the Responses API's text": ("input_text", "did you mean 'text'?"),
        "its answer": ("output_text", "did you mean 'text'?"),
        "its image": ("input_image", "did you mean 'image_url'?"),
        "its file": ("input_file", "did you mean 'file'?"),
        "Anthropic's image": ("image", "did you mean 'image_url'?"),
        "Anthropic's document": ("document", "did you mean 'file'?"),
        "Anthropic's result": ("tool_result", "write it as a message with the role tool"),
        "audio": ("audio", "did you mean 'input_audio'?"),
        "none of them": ("hologram", ""),
    },
)
def test_a_part_of_another_api_is_refused_with_the_name_that_it_has_here(kind: str, hint: str) -> None:
    [(pointer, keyword, _, found)] = console(
        {"model": "m", "messages": [{"role": "user", "content": [{"type": kind}]}]}
    )
    assert (pointer, keyword, found) == ("/messages/0/content/0/type", "enum", hint)


def test_arguments_that_are_an_object_are_refused() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}
    history = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]
    assert console({"model": "m", "messages": history}) == [
        (
            "/messages/0/tool_calls/0/function/arguments",
            "type",
            "is an object, not a string",
            "write the arguments as a JSON string",
        )
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [([], "is an array, not an object"), ("hi", "is 'hi', not an object"), (None, "is null, not an object")],
    ids=["array", "string", "null"],
)
def test_body_that_is_no_object_is_refused(body: object, message: str) -> None:
    assert console(body) == [("", "type", message, "")]


def test_all_problems_are_listed_in_document_order() -> None:
    body = {
        "top_k": 3,
        "max_token": 5,
        "messages": [
            {"role": "assistant", "content": "x", "tool_calls": [{"id": "c", "type": "function"}]},
            {"role": "bot", "content": []},
        ],
        "n": 0,
    }
    assert [(problem.pointer, problem.keyword, problem.severity) for problem in check(body)] == [
        ("", "required", "error"),
        ("/max_token", "unknown-key", "error"),
        ("/messages/0/tool_calls/0", "required", "error"),
        ("/messages/0/tool_calls/0", "tool-call-without-answer", "warning"),
        ("/messages/1/role", "enum", "error"),
        ("/messages/1/content", "minItems", "error"),
        ("/n", "minimum", "error"),
    ]


def test_every_missing_key_is_reported() -> None:
    assert console({}) == [
        ("", "required", "has no 'model'", "add it"),
        (
            "",
            "required",
            "has no 'messages'",
            "add them or a 'prompt', or fill a template with chatpipe map",
        ),
    ]


@pytest.mark.parametrize("row", [{"promt": "x"}, {"Prompt": "x", "model": "m"}, {"propmt": "x", "user": 5}])
def test_a_row_with_a_misspelt_prompt_has_no_other_problem(row: dict[str, Any]) -> None:
    (problem,) = check(row)
    assert (problem.pointer, problem.hint) == (f"/{next(iter(row))}", "did you mean 'prompt'?")


def test_the_input_of_another_api_is_named_as_messages() -> None:
    problems = {problem.pointer: problem.hint for problem in check({"model": "m", "input": "x"})}
    assert problems["/input"] == "did you mean 'messages'?"


def test_model_may_come_later() -> None:
    row = {"messages": HELLO["messages"]}
    assert console(row, without_model=True) == []
    assert row == {"messages": HELLO["messages"]}


def test_model_that_came_is_checked_all_the_same() -> None:
    assert console(HELLO | {"model": 5}, without_model=True) == [("/model", "type", "is 5, not a string", "")]


def test_everything_else_is_checked_without_a_model() -> None:
    assert console({"messages": HELLO["messages"], "n": 0}, without_model=True) == [
        ("/n", "minimum", "is 0, not from 1 to 128", "")
    ]


def test_strict_makes_errors_of_warnings() -> None:
    body = HELLO | {"stream_options": {"include_usage": True}}
    hint = "set 'stream' to true, or leave it out"
    assert check(body) == [
        Problem(
            "/stream_options",
            "stream-options-without-stream",
            "is set without 'stream': true",
            hint,
            "warning",
        )
    ]
    assert check(body, strict=True) == [
        Problem(
            "/stream_options", "stream-options-without-stream", "is set without 'stream': true", hint, "error"
        )
    ]


def test_strict_refuses_keys_that_no_server_takes() -> None:
    body = HELLO | {"top_k": 40, "flavour": "sour"}
    assert console(body) == []
    assert console(body, strict=True) == [
        (
            "/flavour",
            "unlisted-key",
            "is not a key that any server is known to take",
            "leave it out, or check without --strict",
        )
    ]


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_strict_takes_the_same_keys_in_tools_of_both_types(kind: str) -> None:
    extra = {"cache_control": {"type": "ephemeral"}}
    tool = {"type": kind, kind: {"name": "f", "defer_loading": True, **extra}, **extra}
    assert check(HELLO | {"tools": [tool]}, strict=True) == []
    [problem] = check(HELLO | {"tools": [{**tool, "flavour": 1}]}, strict=True)
    assert problem.pointer == "/tools/0/flavour"


def test_strict_names_each_key_of_another_api_once_and_refuses_columns_too() -> None:
    body = HELLO | {"text": "a column", "input": "another", "instructions": "Be brief."}
    assert [problem.keyword for problem in check(body)] == ["key-of-another-api"]
    found = [(problem.pointer, problem.keyword) for problem in check(body, strict=True)]
    assert found == [
        ("/text", "unlisted-key"),
        ("/input", "unlisted-key"),
        ("/instructions", "key-of-another-api"),
    ]


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("place", "value"),
    [("temperature", _nested(1000)), ("temperature", 10**5000), ("messages", _nested(1000))],
    ids=["deep", "many digits", "deep messages"],
)
def test_value_too_big_to_write_out_is_refused_too(place: str, value: object) -> None:
    assert [problem.severity for problem in check(HELLO | {place: value})] == ["error"]


def test_deep_schema_is_none_of_our_business() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"x": _nested(1000)}}}
    assert console(HELLO | {"tools": [tool]}) == []


def test_check_never_raises_and_changes_nothing() -> None:
    for body in mutated(800, seed=3):
        before = copy.deepcopy(body)
        for options in ({}, {"strict": True}, {"without_model": True}):
            check(body, **options)
        assert body == before


def test_good_request_is_checked_without_jsonschema() -> None:
    """A first byte must not wait for what only refusals need."""
    code = f"""
import sys
before = set(sys.modules)
from chatpipe.schema import check
assert check.check({HELLO!r}) == []
slow = {{"jsonschema", "decimal", "difflib", "importlib.resources"}}
assert not slow & (set(sys.modules) - before)
assert check.check({{}})
assert "jsonschema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


def test_problem_is_one_line_and_short() -> None:
    for body in mutated(500, seed=4):
        for problem in check(body, strict=True):
            assert "\n" not in problem.message + problem.hint
            assert len(problem.message) < 300
            json.dumps(problem.pointer).encode()


@cases(
    ("body", "message", "hint"),
    {
        "an answer": ({"choices": [], "model": "m"}, "is an answer", "chatpipe show FILE prints it"),
        "a result": (
            {"custom_id": "a", "response": {}},
            "is a result of a run",
            "chatpipe show FILE prints it",
        ),
        "a message": (
            {"role": "user", "content": "x"},
            "is a message",
            "send it with chatpipe ask --messages FILE",
        ),
        "a recording": (
            {"request": {}, "response": {}},
            "is a recorded exchange",
            "chatpipe ask --replay FILE answers its request",
        ),
        "a report": ({"outcomes": {}, "requests_per_s": 1.0}, "is the report of a run", ""),
    },
)
def test_what_is_no_request_is_one_problem(body: dict[str, Any], message: str, hint: str) -> None:
    assert check(body) == [Problem("", "required", message, hint)]
    assert check({**body, "messages": []})[0].message != message


def test_each_problem_says_what_is_allowed() -> None:
    """In its message, or in its hint."""
    found = {problem for body in mutated(2_000, seed=3) for problem in check(body)}
    silent = [each for each in found if not each.hint and not re.search(", not |at most", each.message)]
    assert silent == []
