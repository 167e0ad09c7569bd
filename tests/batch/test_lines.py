"""A line of the input becomes the request it asks for, or the reason why it does not."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.batch.lines import Item, Requests, Template, in_shard
from chatpipe.inputs.place import Source


def said(*pairs: str) -> list[dict[str, str]]:
    """Messages, from `role:content`."""
    return [dict(zip(("role", "content"), pair.split(":"), strict=True)) for pair in pairs]


def reader(
    template: dict[str, Any] | None = None,
    *,
    plain: bool = False,
    strict: bool = False,
    unchecked: bool = False,
    override: bool = False,
) -> Requests:
    made = Template({"model": "m"} if template is None else template, override=override)
    return Requests(made, plain=plain, strict=strict, unchecked=unchecked)


def read(data: bytes, using: Requests | None = None) -> Item:
    item = (using or reader()).item(Source("in.jsonl", data, 3))
    assert item is not None
    return item


def fault_of(item: Item) -> str:
    assert item.body is None
    return str(item.fault)


# Template

SYSTEM, DEVELOPER = "system:S", "developer:D"


@pytest.mark.parametrize(
    ("options", "line", "expected"),
    [
        pytest.param([], ["user:q"], ["user:q"], id="nothing to add"),
        pytest.param([SYSTEM], ["user:q"], [SYSTEM, "user:q"], id="a system message"),
        pytest.param([SYSTEM], ["system:own", "user:q"], ["system:own", "user:q"], id="the line has its own"),
        pytest.param(
            [SYSTEM], ["developer:own", "user:q"], [SYSTEM, "developer:own", "user:q"], id="of another role"
        ),
        pytest.param(
            [SYSTEM, DEVELOPER],
            ["system:own", "user:q"],
            [DEVELOPER, "system:own", "user:q"],
            id="one of two is replaced",
        ),
        pytest.param(
            ["user:Q", "assistant:A"], ["user:q"], ["user:Q", "assistant:A", "user:q"], id="examples"
        ),
        pytest.param(
            [SYSTEM, "user:Q", "assistant:A"],
            ["system:own", "user:q", "assistant:a", "user:r"],
            ["system:own", "user:Q", "assistant:A", "user:q", "assistant:a", "user:r"],
            id="examples stand behind the line's system message",
        ),
        pytest.param(
            [SYSTEM],
            ["user:q", "system:later", "user:r"],
            [SYSTEM, "user:q", "system:later", "user:r"],
            id="a system message in the middle is no head",
        ),
        pytest.param([SYSTEM], ["system:own"], ["system:own"], id="a line that is all head"),
        pytest.param([SYSTEM], [], [SYSTEM], id="a line without messages in its array"),
    ],
)
def test_messages_of_options_and_line(options: list[str], line: list[str], expected: list[str]) -> None:
    template = Template({"messages": said(*options)})
    assert template.apply({"messages": said(*line)}) == {"messages": said(*expected)}


@pytest.mark.parametrize(
    ("options", "line", "expected"),
    [
        pytest.param([SYSTEM], ["system:own", "user:q"], [SYSTEM, "user:q"], id="the system message"),
        pytest.param(
            [SYSTEM],
            ["developer:own", "user:q"],
            ["developer:own", SYSTEM, "user:q"],
            id="another role's stays",
        ),
        pytest.param([], ["system:own", "user:q"], ["system:own", "user:q"], id="nothing to override with"),
        pytest.param(
            ["user:Q", "assistant:A"],
            ["system:own", "user:q"],
            ["system:own", "user:Q", "assistant:A", "user:q"],
            id="examples only",
        ),
    ],
)
def test_override_lets_the_options_messages_win(
    options: list[str], line: list[str], expected: list[str]
) -> None:
    template = Template({"messages": said(*options)}, override=True)
    assert template.apply({"messages": said(*line)}) == {"messages": said(*expected)}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param(False, {"model": "own", "n": 1, "seed": 2, "temperature": None}, id="the line wins"),
        pytest.param(True, {"model": "m", "n": 1, "seed": 2, "temperature": 0.5}, id="override"),
    ],
)
def test_fields_of_options_and_line(override: bool, expected: dict[str, Any]) -> None:
    """A null is a value like another."""
    template = Template({"model": "m", "temperature": 0.5, "seed": 2}, override=override)
    assert template.apply({"model": "own", "n": 1, "temperature": None}) == expected


def test_a_line_does_not_change_the_next_one() -> None:
    template = Template({"messages": said(SYSTEM)})
    line = {"messages": said("user:q")}
    first = template.apply(line)
    first["messages"].append({"role": "user", "content": "more"})

    assert line == {"messages": said("user:q")}
    assert template.apply(line) == {"messages": said(SYSTEM, "user:q")}


@pytest.mark.parametrize("messages", [None, "text", {"role": "user"}, 7])
def test_messages_that_are_no_array_are_left_to_the_check(messages: object) -> None:
    assert Template({"messages": said(SYSTEM)}).apply({"messages": messages}) == {"messages": messages}


# Reader


@pytest.mark.parametrize(
    ("data", "custom_id", "body"),
    [
        pytest.param(b'"hi"', "line-3", {"messages": said("user:hi")}, id="a string"),
        pytest.param(b'  "hi"\t', "line-3", {"messages": said("user:hi")}, id="white space around"),
        pytest.param(b'\xef\xbb\xbf"hi"', "line-3", {"messages": said("user:hi")}, id="a byte order mark"),
        pytest.param(b'""', "line-3", {"messages": said("user:")}, id="an empty string"),
        pytest.param(b'{"prompt":"hi"}', "line-3", {"messages": said("user:hi")}, id="a row"),
        pytest.param(
            b'{"prompt":"hi","system":"S","custom_id":"a","n":2}',
            "a",
            {"messages": said("system:S", "user:hi"), "n": 2},
            id="a row with everything",
        ),
        pytest.param(
            b'{"prompt":"hi","system":null}',
            "line-3",
            {"messages": said("user:hi")},
            id="no system after all",
        ),
        pytest.param(
            b'{"messages":[{"role":"user","content":"hi"}]}',
            "line-3",
            {"messages": said("user:hi")},
            id="a body",
        ),
        pytest.param(
            b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
            b'"body":{"messages":[{"role":"user","content":"hi"}]}}',
            "a",
            {"messages": said("user:hi")},
            id="a Batch line",
        ),
        pytest.param(
            b'{"body":{"messages":[{"role":"user","content":"hi"}]}}',
            "line-3",
            {"messages": said("user:hi")},
            id="a Batch line without its names",
        ),
        pytest.param(
            b'{"custom_id":null,"prompt":"hi"}', "line-3", {"messages": said("user:hi")}, id="an id of null"
        ),
    ],
)
def test_shapes_of_a_line(data: bytes, custom_id: str, body: dict[str, Any]) -> None:
    item = read(data)
    assert (item.line, item.custom_id, item.fault, item.warnings) == (3, custom_id, None, ())
    assert item.body == {"model": "m", **body}


@pytest.mark.parametrize("data", [b"", b"  ", b"\t", b"\r"])
@pytest.mark.parametrize("plain", [False, True], ids=["JSONL", "plain lines"])
def test_a_blank_line_is_none(data: bytes, plain: bool) -> None:
    assert reader(plain=plain).item(Source("in.jsonl", data, 3)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"7", "in.jsonl:3: is a number, not a request", id="a number"),
        pytest.param(b"null", "in.jsonl:3: is null, not a request", id="null"),
        pytest.param(b"[]", "in.jsonl:3: is an array, not a request", id="an array"),
        pytest.param(
            b'{"custom_id":7,"prompt":"x"}',
            "in.jsonl:3: /custom_id: is a number, not a string",
            id="an id that is a number",
        ),
        pytest.param(
            b'{"custom_id":"a","body":"x"}', "in.jsonl:3: /body: is a string, not an object", id="no object"
        ),
    ],
)
def test_what_is_no_request_says_so(data: bytes, message: str) -> None:
    assert fault_of(read(data)) == message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"{", "in.jsonl:3", id="half an object"),
        pytest.param(b'"a" "b"', "in.jsonl:3", id="two values"),
        pytest.param(b'"caf\xe9"', "byte 0xe9 is not UTF-8", id="not UTF-8"),
        pytest.param(b'{"prompt":NaN}', "in.jsonl:3", id="NaN"),
        pytest.param(b"plain words", "in.jsonl:3", id="words"),
        pytest.param(b"[" * 2000 + b"]" * 2000, "nested too deeply", id="too deep"),
    ],
)
def test_what_is_no_json_says_where(data: bytes, words: str) -> None:
    fault = fault_of(read(data))
    assert fault.startswith("in.jsonl:3")
    assert words in fault


def test_a_bad_line_keeps_the_name_it_has() -> None:
    """So that its result line can be found, as far as there is a name to read."""
    assert read(b'{"custom_id":"a","body":[]}').custom_id == "a"
    assert read(b'{"custom_id":"a","prompt":"x","n":0}').custom_id == "a"
    assert read(b"{").custom_id == "line-3"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b'{"prompt":"x","temperature":9}', ["/temperature", "more than 2"], id="a range"),
        pytest.param(b'{"prompt":"x","max_token":9}', ["max_token", "'max_tokens'"], id="a slip"),
        pytest.param(b'{"prompt":"x","n":0,"seed":"y"}', ["/n", "/seed"], id="all at once"),
        pytest.param(b'{"prompt":["x"]}', ["/messages/0/content"], id="a prompt that is none"),
        pytest.param(b'{"messages":"x"}', ["/messages"], id="messages that are none"),
    ],
)
def test_a_line_is_checked_as_a_request(data: bytes, words: list[str]) -> None:
    fault = fault_of(read(data))
    assert fault.startswith("in.jsonl:3: ")
    assert "\n" not in fault
    assert all(word in fault for word in words)


WARNED = b'{"prompt":"x","max_tokens":1,"max_completion_tokens":2}'


def test_a_warning_is_told_and_the_line_is_sent() -> None:
    item = read(WARNED)
    assert item.fault is None
    assert item.body is not None
    [warning] = item.warnings
    assert warning.startswith("in.jsonl:3: ")


def test_strict_makes_it_an_error() -> None:
    assert "max_tokens" in fault_of(read(WARNED, reader(strict=True)))


def test_unchecked_lines_are_sent_as_they_are() -> None:
    item = read(b'{"prompt":"x","temperature":9,"max_token":1}', reader(unchecked=True))
    assert item.fault is None
    assert item.body == {"model": "m", "messages": said("user:x"), "temperature": 9, "max_token": 1}


def test_integers_stay_what_they_are() -> None:
    item = read(b'{"prompt":"x","extra":12345678901234567890123}', reader(unchecked=True))
    assert item.body is not None
    assert item.body["extra"] == 12345678901234567890123


@pytest.mark.parametrize(
    ("data", "prompt"),
    [
        pytest.param(b"hello", "hello", id="words"),
        pytest.param(b'{"prompt": "x"}', '{"prompt": "x"}', id="no JSON is seen in it"),
        pytest.param("  caf\u00e9 \u2028 ".encode(), "  caf\u00e9 \u2028 ", id="every character is kept"),
    ],
)
def test_a_plain_line_is_a_prompt(data: bytes, prompt: str) -> None:
    item = read(data, reader(plain=True))
    assert item.body == {"model": "m", "messages": [{"role": "user", "content": prompt}]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"caf\xe9", "in.jsonl:3: byte 0xe9 is not UTF-8", id="not UTF-8"),
        pytest.param(b"a\0b", "in.jsonl:3: binary data, a NUL", id="a NUL"),
    ],
)
def test_a_plain_line_that_is_no_text(data: bytes, message: str) -> None:
    assert fault_of(read(data, reader(plain=True))) == message


# Which lines


@pytest.mark.parametrize(
    ("shard", "expected"),
    [
        pytest.param(None, [1, 2, 3, 4, 5, 6, 7], id="all"),
        pytest.param((1, 1), [1, 2, 3, 4, 5, 6, 7], id="one of one"),
        pytest.param((1, 3), [1, 4, 7], id="the first of three"),
        pytest.param((3, 3), [3, 6], id="the last of three"),
        pytest.param((7, 9), [7], id="more than there are lines"),
    ],
)
def test_shards(shard: tuple[int, int] | None, expected: list[int]) -> None:
    assert [line for line in range(1, 8) if in_shard(line, shard)] == expected


def test_blank_lines_are_no_items_and_are_counted() -> None:
    sources = [Source("in", data, line) for line, data in enumerate((b'"a"', b"", b"oops", b'"b"'), 1)]
    items = [reader().item(source) for source in sources]
    assert [item and (item.line, item.fault is None) for item in items] == [
        (1, True),
        None,
        (3, False),
        (4, True),
    ]
