"""A line of the input becomes the request it asks for, or the reason why it does not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatpipe.batch.items import Item, RequestReader, in_shard
from chatpipe.batch.line_template import LineTemplate
from chatpipe.inputs.place import Source
from chatpipe.options.request import CheckOptions
from chatpipe.request.build import BuiltRequest
from chatpipe.request.edits import parse_unset
from support.parametrize import cases


def said(*pairs: str) -> list[dict[str, str]]:
    """Messages, from `role:content`."""
    return [dict(zip(("role", "content"), pair.split(":"), strict=True)) for pair in pairs]


def template_of(body: dict[str, Any], **options: Any) -> LineTemplate:
    return LineTemplate(BuiltRequest(body, {}), **options)


def reader(
    template: dict[str, Any] | None = None,
    *,
    plain: bool = False,
    strict: bool = False,
    unchecked: bool = False,
    override: bool = False,
) -> RequestReader:
    made = template_of({"model": "m"} if template is None else template, override=override)
    return RequestReader(made, plain=plain, check=CheckOptions(strict, unchecked))


def read(data: bytes, using: RequestReader | None = None) -> Item:
    item = (using or reader()).item(Source("in.jsonl", data, 3))
    assert item is not None
    return item


def fault_of(item: Item) -> str:
    assert item.body is None
    return str(item.fault)


# Template

SYSTEM, DEVELOPER = "system:S", "developer:D"


@cases(
    "options, line, expected",
    {
        "nothing to add": ([], ["user:q"], ["user:q"]),
        "a system message": ([SYSTEM], ["user:q"], [SYSTEM, "user:q"]),
        "the line has its own": ([SYSTEM], ["system:own", "user:q"], ["system:own", "user:q"]),
        "of another role": ([SYSTEM], ["developer:own", "user:q"], [SYSTEM, "developer:own", "user:q"]),
        "one of two is replaced": (
            [SYSTEM, DEVELOPER],
            ["system:own", "user:q"],
            [DEVELOPER, "system:own", "user:q"],
        ),
        "examples": (["user:Q", "assistant:A"], ["user:q"], ["user:Q", "assistant:A", "user:q"]),
        "examples stand behind the line's system message": (
            [SYSTEM, "user:Q", "assistant:A"],
            ["system:own", "user:q", "assistant:a", "user:r"],
            ["system:own", "user:Q", "assistant:A", "user:q", "assistant:a", "user:r"],
        ),
        "a system message in the middle is no head": (
            [SYSTEM],
            ["user:q", "system:later", "user:r"],
            [SYSTEM, "user:q", "system:later", "user:r"],
        ),
        "a line that is all head": ([SYSTEM], ["system:own"], ["system:own"]),
        "a line without messages in its array": ([SYSTEM], [], [SYSTEM]),
    },
)
def test_messages_of_options_and_line(options: list[str], line: list[str], expected: list[str]) -> None:
    template = template_of({"messages": said(*options)})
    assert template.apply({"messages": said(*line)}) == {"messages": said(*expected)}


@cases(
    "options, line, expected",
    {
        "the system message": ([SYSTEM], ["system:own", "user:q"], [SYSTEM, "user:q"]),
        "another role's stays": ([SYSTEM], ["developer:own", "user:q"], ["developer:own", SYSTEM, "user:q"]),
        "nothing to override with": ([], ["system:own", "user:q"], ["system:own", "user:q"]),
        "examples only": (
            ["user:Q", "assistant:A"],
            ["system:own", "user:q"],
            ["system:own", "user:Q", "assistant:A", "user:q"],
        ),
    },
)
def test_override_lets_the_options_messages_win(
    options: list[str], line: list[str], expected: list[str]
) -> None:
    template = template_of({"messages": said(*options)}, override=True)
    assert template.apply({"messages": said(*line)}) == {"messages": said(*expected)}


@cases(
    "override, expected",
    {
        "the line wins": (False, {"model": "own", "n": 1, "seed": 2, "temperature": None}),
        "override": (True, {"model": "m", "n": 1, "seed": 2, "temperature": 0.5}),
    },
)
def test_fields_of_options_and_line(override: bool, expected: dict[str, Any]) -> None:
    """A null is a value like another."""
    template = template_of({"model": "m", "temperature": 0.5, "seed": 2}, override=override)
    assert template.apply({"model": "own", "n": 1, "temperature": None}) == expected


@cases(
    "override, options, typed, expected",
    {
        "a field of the line": (True, {}, ["store"], {"n": {"a": 1, "b": 2}}),
        "inside a field": (True, {}, ["n.a"], {"store": True, "n": {"b": 2}}),
        "a field that no line has": (True, {}, ["seed", "n.c.d"], {"store": True, "n": {"a": 1, "b": 2}}),
        "several": (True, {}, ["store", "n"], {}),
        "set again later": (True, {"store": False}, ["store"], {"store": False, "n": {"a": 1, "b": 2}}),
        "the line wins": (False, {}, ["store"], {"store": True, "n": {"a": 1, "b": 2}}),
    },
)
def test_unset_with_override_removes_a_field_from_each_line(
    override: bool, options: dict[str, Any], typed: list[str], expected: dict[str, Any]
) -> None:
    removals = [parse_unset(path) for path in typed]
    template = template_of(options, override=override, removals=removals)
    line = {"store": True, "n": {"a": 1, "b": 2}}
    assert template.apply(line) == expected
    assert line == {"store": True, "n": {"a": 1, "b": 2}}


@cases(
    "line, typed, place",
    {
        "a prompt": ('{"prompt":5}', "messages[0].x", "/prompt"),
        "a prompt below a system message": ('{"prompt":5,"system":"s"}', "messages[1].name", "/prompt"),
        "a message": (
            '{"messages":[{"role":"user","content":5,"x":1}]}',
            "messages[0].x",
            "/messages/0/content",
        ),
        "behind a message that is removed": (
            '{"body":{"messages":[{"role":"user","content":"q"},{"role":"user","content":5}]}}',
            "messages[0]",
            "/body/messages/1/content",
        ),
        "before a message that is removed": (
            '{"messages":[{"role":"user","content":5},{"role":"user","content":"q"}]}',
            "messages[1]",
            "/messages/0/content",
        ),
    },
)
def test_a_wrong_message_keeps_its_place_if_unset_reaches_the_messages(
    line: str, typed: str, place: str
) -> None:
    for messages in ([], said(SYSTEM, "user:Q")):
        removals = [parse_unset(typed)]
        made = template_of({"model": "m", "messages": messages}, override=True, removals=removals)
        using = RequestReader(made, plain=False, check=CheckOptions())
        assert fault_of(read(line.encode(), using)).startswith(f"in.jsonl:3: {place}: is 5, ")


def test_a_line_does_not_change_the_next_one() -> None:
    template = template_of({"messages": said(SYSTEM)})
    line = {"messages": said("user:q")}
    first = template.apply(line)
    first["messages"].append({"role": "user", "content": "more"})

    assert line == {"messages": said("user:q")}
    assert template.apply(line) == {"messages": said(SYSTEM, "user:q")}


@pytest.mark.parametrize("messages", [None, "text", {"role": "user"}, 7])
def test_messages_that_are_no_array_are_left_to_the_check(messages: object) -> None:
    assert template_of({"messages": said(SYSTEM)}).apply({"messages": messages}) == {"messages": messages}


# Reader


@cases(
    "data, custom_id, body",
    {
        "a string": (b'"hi"', "line-3", {"messages": said("user:hi")}),
        "white space around": (b'  "hi"\t', "line-3", {"messages": said("user:hi")}),
        "a byte order mark": (b'\xef\xbb\xbf"hi"', "line-3", {"messages": said("user:hi")}),
        "a row": (b'{"prompt":"hi"}', "line-3", {"messages": said("user:hi")}),
        "a row with everything": (
            b'{"prompt":"hi","system":"S","custom_id":"a","n":2}',
            "a",
            {"messages": said("system:S", "user:hi"), "n": 2},
        ),
        "no system after all": (b'{"prompt":"hi","system":null}', "line-3", {"messages": said("user:hi")}),
        "a body": (b'{"messages":[{"role":"user","content":"hi"}]}', "line-3", {"messages": said("user:hi")}),
        "a Batch line": (
            (
                b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
                b'"body":{"messages":[{"role":"user","content":"hi"}]}}'
            ),
            "a",
            {"messages": said("user:hi")},
        ),
        "a Batch line without its names": (
            b'{"body":{"messages":[{"role":"user","content":"hi"}]}}',
            "line-3",
            {"messages": said("user:hi")},
        ),
        "an id of null": (b'{"custom_id":null,"prompt":"hi"}', "line-3", {"messages": said("user:hi")}),
    },
)
def test_shapes_of_a_line(data: bytes, custom_id: str, body: dict[str, Any]) -> None:
    item = read(data)
    assert (item.line, item.custom_id, item.fault, item.warnings) == (3, custom_id, None, ())
    assert item.body == {"model": "m", **body}


@pytest.mark.parametrize("data", [b"", b"  ", b"\t", b"\r"])
@cases("plain", {"JSONL": False, "plain lines": True})
def test_a_blank_line_is_none(data: bytes, plain: bool) -> None:
    assert reader(plain=plain).item(Source("in.jsonl", data, 3)) is None


@cases(
    "data, message",
    {
        "a number": (b"7", "in.jsonl:3: is a number, not a request"),
        "null": (b"null", "in.jsonl:3: is null, not a request"),
        "an array": (b"[]", "in.jsonl:3: is an array, not a request"),
        "an id that is a number": (
            b'{"custom_id":7,"prompt":"x"}',
            "in.jsonl:3: /custom_id: is a number, not a string",
        ),
        "no object": (b'{"custom_id":"a","body":"x"}', "in.jsonl:3: /body: is a string, not an object"),
        "another endpoint": (
            b'{"url":"/v1/responses","body":{"messages":[]}}',
            "in.jsonl:3: /url: '/v1/responses' is another endpoint, not /v1/chat/completions",
        ),
    },
)
def test_a_line_that_is_no_request_says_why(data: bytes, message: str) -> None:
    assert fault_of(read(data)) == message


@cases(
    "data, words",
    {
        "half an object": (b"{", []),
        "two values": (b'"a" "b"', []),
        "not UTF-8": (b'"caf\xe9"', ["byte 0xe9 is not UTF-8"]),
        "NaN": (b'{"prompt":NaN}', []),
        "words": (b"plain words", []),
        "too deep": (b"[" * 2000 + b"]" * 2000, ["nested too deeply"]),
        "a range": (b'{"prompt":"x","temperature":9}', [": ", "/temperature", "not from 0 to 2"]),
        "a slip": (b'{"prompt":"x","max_token":9}', [": ", "max_token", "'max_tokens'"]),
        "all at once": (b'{"prompt":"x","n":0,"seed":"y"}', [": ", "/n", "/seed"]),
        "a prompt that is none": (b'{"prompt":["x"]}', [": ", "/prompt/0"]),
        "a prompt without text": (b'{"prompt":""}', [": ", "/prompt: is empty"]),
        "a string without text": (b'""', [": ", "the request is empty"]),
        "messages that are none": (b'{"messages":"x"}', [": ", "/messages"]),
    },
)
def test_a_wrong_line_says_where(data: bytes, words: list[str]) -> None:
    """On one line: the place, and for a request that the check refuses a colon behind it."""
    fault = fault_of(read(data))
    assert fault.startswith("in.jsonl:3" + ": " * (": " in words))
    assert "\n" not in fault
    assert all(word in fault for word in words)


@cases(
    "data, message",
    {
        "one": (b'{"prompt":"x","n":0}', "in.jsonl:3: /n: is 0, not from 1 to 128"),
        "one with its fix": (
            b'{"prompt":"x","tool":[]}',
            "in.jsonl:3: /tool: is not a key that any server is known to take: did you mean 'tools'?",
        ),
        "two": (
            b'{"prompt":"x","n":0,"top_p":2}',
            "in.jsonl:3: /n: is 0, not from 1 to 128; /top_p: is 2, not from 0 to 1",
        ),
    },
)
def test_the_problems_of_a_line_are_one_message(data: bytes, message: str) -> None:
    assert fault_of(read(data)) == message


def test_a_bad_line_keeps_the_name_it_has() -> None:
    """So that its result line can be found, as far as there is a name to read."""
    assert read(b'{"custom_id":"a","body":[]}').custom_id == "a"
    assert read(b'{"custom_id":"a","url":"/v1/responses","body":{}}').custom_id == "a"
    assert read(b'{"custom_id":"a","prompt":"x","n":0}').custom_id == "a"
    assert read(b'{"custom_id":"a","prompt":""}').custom_id == "a"
    assert read(b"{").custom_id == "line-3"


def batch_line(custom_id: str, **fields: Any) -> bytes:
    body = {"messages": said("user:hi"), "model": "own", **fields}
    return orjson.dumps({"custom_id": custom_id, "url": "/v1/chat/completions", "body": body})


@cases(
    "odd",
    {
        "none": batch_line("c"),
        "a row": b'{"prompt":"hi"}',
        "a body": b'{"messages":[{"role":"user","content":"hi"}],"body":{},"custom_id":"c","url":"x"}',
        "messages beside a body": b'{"messages":[],' + batch_line("c")[1:],
        "a number": b"7",
        "a text": b'"hi"',
        "no JSON": b"{",
        "a blank line": b"  ",
        "an id of null": batch_line("").replace(b'""', b"null"),
        "an id that is a number": batch_line("").replace(b'""', b"7"),
        "an empty id": batch_line(""),
        "no id": batch_line("c").replace(b"custom_id", b"id"),
        "no url": batch_line("c").replace(b'"url"', b'"x"'),
        "another endpoint": batch_line("c").replace(b"chat/completions", b"responses"),
        "a url that is no text": batch_line("c").replace(b'"/v1/chat/completions"', b"[]"),
        "a body that is a text": b'{"custom_id":"c","url":"/v1/chat/completions","body":"x"}',
        "other keys": batch_line("c", n=2),
        "an error": batch_line("c", n=0),
        "a warning": batch_line("c", max_tokens=1, max_completion_tokens=2),
        "a model that is no name": batch_line("c", model=True),
        "a blank model": batch_line("c", model=" "),
        "a message that is a text": batch_line("c", messages=["hi"]),
        "messages that are none": batch_line("c", messages="hi"),
        "no messages in one": batch_line("c", messages=[]),
        "a long integer": batch_line("c").replace(b'"own"', b'"own","seed":123456789012345678901'),
        "a long line": batch_line("c", messages=said("user:" + "long " * 300)),
        "a deep line": b"[" * 2000 + b"]" * 2000,
    },
)
@pytest.mark.parametrize(
    "how",
    [{}, {"template": {}}, {"strict": True}, {"unchecked": True}, {"override": True}, {"plain": True}],
    ids=str,
)
def test_a_block_has_the_items_that_its_lines_have_one_by_one(odd: bytes, how: dict[str, Any]) -> None:
    for lines in ([odd], [batch_line("a"), odd], [odd, batch_line("a"), batch_line("b")]):
        sources = [Source("in.jsonl", line, number) for number, line in enumerate(lines, 3)]
        alone = [reader(**how).item(source) for source in sources]
        assert [*map(repr, reader(**how).items(sources))] == [*map(repr, alone)]


def test_a_block_of_good_lines_is_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestReader, "_item_of_value", None)
    sources = [Source("in.jsonl", batch_line(name), number) for number, name in enumerate("abc", 3)]
    assert [*reader().items(sources)] == [
        Item(number, name, {"messages": said("user:hi"), "model": "own"}, has_own_id=True)
        for number, name in enumerate("abc", 3)
    ]


WARNED = b'{"prompt":"x","max_tokens":1,"max_completion_tokens":2}'


def test_a_warning_is_reported_and_the_line_is_sent() -> None:
    item = read(WARNED)
    assert item.fault is None
    assert item.body is not None
    [warning] = item.warnings
    assert str(warning) == "/max_tokens: is set together with 'max_completion_tokens': keep one of them"


def test_strict_makes_it_an_error() -> None:
    assert "max_tokens" in fault_of(read(WARNED, reader(strict=True)))


def test_unchecked_lines_are_sent_as_they_are() -> None:
    item = read(b'{"prompt":"x","temperature":9,"max_token":1}', reader(unchecked=True))
    assert item.fault is None
    assert item.body == {"model": "m", "messages": said("user:x"), "temperature": 9, "max_token": 1}
    assert read(b'""', reader(unchecked=True)).body == {"model": "m", "messages": said("user:")}


def test_large_integers_stay_exact() -> None:
    item = read(b'{"prompt":"x","extra":12345678901234567890123}', reader(unchecked=True))
    assert item.body is not None
    assert item.body["extra"] == 12345678901234567890123


@cases(
    "data, prompt",
    {
        "words": (b"hello", "hello"),
        "no JSON is seen in it": (b'{"prompt": "x"}', '{"prompt": "x"}'),
        "every character is kept": ("  caf\u00e9 \u2028 ".encode(), "  caf\u00e9 \u2028 "),
    },
)
def test_a_plain_line_is_a_prompt(data: bytes, prompt: str) -> None:
    item = read(data, reader(plain=True))
    assert item.body == {"model": "m", "messages": [{"role": "user", "content": prompt}]}


@cases(
    "data, message",
    {
        "not UTF-8": (
            b"caf\xe9",
            (
                "in.jsonl:3: byte 0xe9 is not UTF-8: "
                "convert it first, for example with iconv -f WINDOWS-1252 -t UTF-8 in.jsonl"
            ),
        ),
        "a NUL": (b"a\0b", "in.jsonl:3: binary data, a NUL"),
    },
)
def test_a_plain_line_that_is_no_text(data: bytes, message: str) -> None:
    assert fault_of(read(data, reader(plain=True))) == message


# Which lines


@cases(
    "shard, expected",
    {
        "all": (None, [1, 2, 3, 4, 5, 6, 7]),
        "one of one": ((1, 1), [1, 2, 3, 4, 5, 6, 7]),
        "the first of three": ((1, 3), [1, 4, 7]),
        "the last of three": ((3, 3), [3, 6]),
        "more than there are lines": ((7, 9), [7]),
    },
)
def test_a_shard_takes_every_nth_line(shard: tuple[int, int] | None, expected: list[int]) -> None:
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
