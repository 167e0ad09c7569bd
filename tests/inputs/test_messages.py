"""Files of messages and of requests -> values that know their place."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import BadInput
from chatpipe.inputs.messages import (
    LocatedValue,
    not_json_input,
    parse_document,
    parse_messages,
    parse_request,
)
from chatpipe.inputs.place import MAX_LINE_BYTES, Source
from chatpipe.inputs.values import NotJSON, json_type
from support.parametrize import cases
from support.refusals import refused

USER = {"role": "user", "content": "q"}
BOT = {"role": "assistant", "content": "a"}


def source(text: str, line: int = 1) -> Source:
    return Source("f", text.encode(), line)


@cases(
    ("text", "messages", "places"),
    {
        "array": ('[{"role":"user","content":"q"}]', [USER], ["f:1"]),
        "array, pretty": (
            ' \n[\n{"role":"user",\n"content":"q"},\n{"role":"assistant","content":"a"}]',
            [USER, BOT],
            ["f:3", "f:5"],
        ),
        "empty array": ("[]", [], []),
        "JSONL with a blank line": (
            '{"role":"user","content":"q"}\n\n{"role":"assistant","content":"a"}\n',
            [USER, BOT],
            ["f:1", "f:3"],
        ),
        "CRLF, no final newline": (
            '{"role":"user","content":"q"}\r\n{"role":"assistant","content":"a"}',
            [USER, BOT],
            ["f:1", "f:2"],
        ),
        "one message": ('{"role":"user","content":"q"}', [USER], ["f:1"]),
        "empty file": ("", [], []),
        "what an item is, is for the check": ('["text"]', ["text"], ["f:1"]),
    },
)
def test_a_conversation_is_an_array_or_lines(text: str, messages: list[Any], places: list[str]) -> None:
    found = parse_messages(source(text))
    assert [each.value for each in found] == messages
    assert [each.place() for each in found] == places


def test_a_place_inside_a_message_is_where_it_stands() -> None:
    found = parse_messages(source('[\n {"role": "user",\n  "content": [\n   {"type": "x"}]}]'))
    assert found[0].place("/content/0/type") == "f:4"
    assert found[0].place("/role") == "f:2"
    lines = parse_messages(source('{"role":"user"}\n{"role":"user","content":1}'))
    assert lines[1].place("/content") == "f:2"


@cases(
    ("text", "line"),
    {
        "broken line": ('{"role":"user"}\n{"role":}\n', "f:2: not JSON: expecting value (column 9)"),
        "broken array": (
            '[{"role":"user"},\n{]',
            "f:2: not JSON: expecting property name enclosed in double quotes (column 2)",
        ),
        "a string": ('{"role":"user"}\n"text"\n', "f:2: a message is a JSON object, not a string"),
        "a number": ("5", "f:1: a message is a JSON object, not a number"),
        "null": ("null", "f:1: a message is a JSON object, not null"),
        "two arrays": ("[] []", "f:1: not JSON: extra data (column 4)"),
    },
)
def test_conversation_refused(text: str, line: str) -> None:
    with refused(BadInput, line):
        parse_messages(source(text))


def test_a_line_that_was_cut_is_called_long() -> None:
    line = Source("f", bytes(MAX_LINE_BYTES + 1), 3)
    assert str(not_json_input(line, NotJSON("a NUL", 1, 1))) == "f:3: longer than 256 MiB"


def test_a_request_is_an_object() -> None:
    found = parse_request(source('\n{"model":"m",\n"messages":[]}'))
    assert found.value == {"model": "m", "messages": []}
    assert found.place("/messages") == "f:3"


@cases(
    ("text", "line"),
    {
        "empty": ("", "f:1: not JSON: nothing there (column 1)"),
        "array": (
            "[]",
            "f:1: a request is a JSON object, not an array: send its elements with chatpipe batch f",
        ),
        "array of requests": (
            '[{"messages":[]}]',
            "f:1: a request is a JSON object, not an array: send its elements with chatpipe batch f",
        ),
        "array of messages": (
            '[\n{"role":"user","content":"x"}]',
            "f:2: this is a message, not a request: send it with chatpipe ask --messages f",
        ),
        "boolean, placed": ("\n\n true", "f:3: a request is a JSON object, not a boolean"),
        "JSONL": (
            '{"model":"m"}\n{"model":"n"}\n',
            "f: several JSON values, where one request is expected: send them with chatpipe batch f",
        ),
        "Batch line": (
            '{"custom_id":"a","body":{}}',
            (
                "f:1: this is a Batch line, not a request: "
                "send it with chatpipe batch f, or get the request with jq .body f"
            ),
        ),
        "a row": (
            '{"prompt":"a"}',
            "f:1: this is a row with a prompt, not a request: send it with chatpipe batch f",
        ),
        "an answer": ('{"choices":[]}', "f:1: this is an answer, not a request: chatpipe show f prints it"),
        "a message": (
            '\n{"role":"user"}',
            "f:2: this is a message, not a request: send it with chatpipe ask --messages f",
        ),
        "results of a run": (
            '{"custom_id":"a","response":null}\n{"custom_id":"b","response":null}\n',
            "f:1: this is a result of a run, not a request: chatpipe show f prints it",
        ),
        "a journal": (
            '{"chatpipe_journal":1}\n{"custom_id":"b","response":null}\n',
            "f:1: this is the head of a journal, not a request: chatpipe show f prints its answers",
        ),
        "a recording": (
            '{"request":{},"response":{}}',
            "f:1: this is a recorded exchange, not a request: chatpipe ask --replay f answers its request",
        ),
        "a report": (
            '{"outcomes":{},"requests_per_s":1}',
            "f:1: this is the report of a run, not a request",
        ),
        "a value and rubbish": ('{"a":1}\n{b\n', "f:2: not JSON: extra data (column 1)"),
        "text": ("\nHi\n", "f:2: plain text, not JSON: send it as a message with --user-file f"),
        "broken": ('{\n"a":\n}', "f:3: not JSON: expecting value (column 1)"),
    },
)
def test_request_refused(text: str, line: str) -> None:
    with refused(BadInput, line):
        parse_request(source(text))


@pytest.mark.parametrize("name", ["body", "prompt", "choices", "role"])
def test_request_with_messages_may_have_any_field(name: str) -> None:
    assert parse_request(source(f'{{"messages":[],"{name}":1}}')).value == {"messages": [], name: 1}


@cases(
    ("text", "what"),
    {
        "a request": (
            '{"role":"user"}\n{"messages":[]}',
            "f:2: this is a request, not a message: send it with -r f",
        ),
        "a row": (
            '{"prompt":"a"}',
            "f:1: this is a row with a prompt, not a message: send it with chatpipe batch f",
        ),
        "an answer": (
            '{"choices":[]}',
            "f:1: this is an answer, not a message: get the message with chatpipe show -f message f",
        ),
    },
)
def test_other_objects_are_no_messages(text: str, what: str) -> None:
    with refused(BadInput, what):
        parse_messages(source(text))


def test_message_may_have_any_field() -> None:
    line = '{"role":"user","messages":1,"prompt":2,"choices":3}'
    assert len(parse_messages(source(line))) == 1


def test_document_inside_a_longer_file_is_placed_there() -> None:
    assert parse_document(source("5", 7)) == LocatedValue(5, source("5", 7))
    with refused(BadInput, "f:8: not JSON: a comma that nothing follows (column 2)"):
        parse_document(source("[\n1,]", 7))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "a boolean"),
        (0, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_each_type_of_json_has_a_name(value: Any, name: str) -> None:
    assert json_type(value) == name
