"""A script of `serve`: which rule admits a request, what it answers, and lines that are no rules."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadInput, Problems
from chatpipe.inputs.place import Source
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import Reply
from chatpipe.options.serve import FaultRule, ServeOptions
from chatpipe.serve.planner import Planner
from chatpipe.serve.reply_faults import apply_faults
from chatpipe.serve.reply_steps import Close, ReplyPlan, TimedReply
from chatpipe.serve.script import Script, parse_script
from chatpipe.serve.served_request import ServedRequest
from serve.client import chat_body, chat_request, get, post, serving, statuses
from serve.test_planner import NOW
from support.parametrize import cases
from support.process import run

Value = Any


def script(*rules: Value) -> Script:
    return parse_script(Source("s.jsonl", b"\n".join(json.dumps(rule).encode() for rule in rules)))


def rule(text: str = "yes", **match: Value) -> Value:
    return {"match": match, "answer": {"content": text}}


def chat(*messages: Value, **fields: Value) -> ChatBody:
    """A request: a text is a message of the user."""
    listed = [{"role": "user", "content": each} if isinstance(each, str) else each for each in messages]
    return ChatBody(json.dumps({"model": "m-1", "messages": listed, **fields}).encode())


def body_of(reply: Reply | None) -> Value:
    assert reply is not None
    return json.loads(b"".join(reply.pieces))


def text_of(reply: Reply | None) -> str | None:
    return None if reply is None else body_of(reply)["choices"][0]["message"]["content"]


def events_of(reply: Reply | None) -> list[Value]:
    """The JSON of all events but [DONE], which has to be the last one."""
    assert reply is not None
    data = b"".join(reply.pieces).decode().split("\n\n")
    assert data[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in data[:-2]]


SYSTEM = {"role": "system", "content": "be kind"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ODD = {"choices": [1, {}, {"message": 1}, {"message": {"tool_calls": [2, {"function": 3}, {}]}}]}
COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "x", "annotations": [{"type": "url_citation"}]},
            "logprobs": {"content": []},
            "finish_reason": "stop",
        }
    ],
    "service_tier": "flex",
    "system_fingerprint": "fp_1",
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "in parts"}, {"type": "image_url"}]}
TOOLS = {"tools": [{"type": "function", "function": {"name": "weather"}}, 3]}
SHAPE = {"response_format": {"type": "json_schema"}, "stop": ["a", "b"], "seed": 1, "a/b": {"~": True}}

# match, request
ADMITTED: list[tuple[Value, ChatBody]] = [
    ({}, chat("a")),
    ({"model": "m-1"}, chat("a")),
    ({"model": {"regex": "^m"}}, chat("a")),
    ({"model": {"contains": "-"}}, chat("a")),
    ({"user": "wor"}, chat("one", "two words")),
    ({"user": {"equals": "two words"}}, chat("one", "two words")),
    ({"user": {"regex": "(?i)^TWO"}}, chat("one", "two words")),
    ({"user": ["two", {"regex": "s$"}]}, chat("one", "two words")),
    ({"user": "parts"}, chat(PARTS)),
    ({"system": "kind"}, chat(SYSTEM, "a")),
    ({"system": "kind"}, chat({**SYSTEM, "role": "developer"}, "a")),
    ({"any": "one"}, chat("one", "two")),
    ({"last": "12"}, chat("a", ASKED, RESULT)),
    ({"tool": "12", "tool_results": True, "turn": 1}, chat("a", ASKED, RESULT)),
    ({"tool_call_id": "c1", "user": "a"}, chat("a", ASKED, RESULT)),
    ({"tool_name": "weather", "turn": 0, "tool_results": False}, chat("a", **TOOLS)),
    ({"stream": False}, chat("a")),
    ({"body": {"/seed": 1, "/stop/1": "b"}}, chat("a", **SHAPE)),
    ({"body": {"/response_format/type": {"regex": "^json"}}}, chat("a", **SHAPE)),
    ({"body": {"/a~1b/~0": True, "/user": {"exists": False}, "/seed": {"exists": True}}}, chat("a", **SHAPE)),
]
REFUSED: list[tuple[Value, ChatBody]] = [
    ({"model": "m"}, chat("a")),
    ({"user": "one"}, chat("one", "two")),
    ({"any": ["one", "two"]}, chat("one", "two")),
    ({"user": "a", "system": "b"}, chat("a")),
    ({"last": "a"}, chat("a", ASKED, RESULT)),
    ({"tool": "12"}, chat("a", ASKED, RESULT, {"role": "assistant", "content": "ok"}, "b")),
    ({"tool_call_id": "c"}, chat("a", ASKED, RESULT)),
    ({"tool_name": "weather"}, chat("a")),
    ({"turn": 1}, chat("a")),
    ({"stream": True}, chat("a")),
    ({"body": {"/seed": True}}, chat("a", **SHAPE)),
    ({"body": {"/stop/2": "b"}}, chat("a", **SHAPE)),
    ({"body": {"/seed/x": 1}}, chat("a", **SHAPE)),
    ({"body": {"/seed": {"regex": "1"}}}, chat("a", **SHAPE)),
    ({}, ChatBody(b"no JSON")),
    ({}, ChatBody(b"[1]")),
    ({"user": "a"}, ChatBody(b'{"messages": "a"}')),
]


@pytest.mark.parametrize(("match", "sent"), ADMITTED)
def test_a_rule_admits_what_its_conditions_describe(match: Value, sent: ChatBody) -> None:
    assert text_of(script(rule(**match)).reply_to(sent)) == "yes"


@pytest.mark.parametrize(("match", "sent"), REFUSED)
def test_left_to_the_model(match: Value, sent: ChatBody) -> None:
    assert script(rule(**match)).reply_to(sent) is None


def test_a_malformed_request_is_refused_as_the_model_refuses_it() -> None:
    reply = script(rule()).reply_to(ChatBody(b'{"messages": []}'))
    assert (reply and reply.status, body_of(reply)["error"]["code"]) == (400, "empty_array")


# Which rule


def test_first_rule_counts() -> None:
    found = script(rule("a", user="x"), rule("b"), rule("c", user="y"))
    assert [text_of(found.reply_to(chat(text))) for text in "xyx"] == ["a", "b", "a"]


def test_occurrences_follow_one_another_and_then_the_next_rule() -> None:
    rules = [rule("first", user="x", occurrence=1), rule("then", user="x", occurrence=[2, 3]), rule("later")]
    found = script(*rules)
    assert [text_of(found.reply_to(chat(text))) for text in ("x1", "x2", "y", "x1", "x4")] == [
        *("first", "then", "later", "then", "later")
    ]


def test_attempts_are_those_of_one_body() -> None:
    found = script(rule("first", attempt=1), rule("again"))
    assert [text_of(found.reply_to(chat(text))) for text in "xyxy"] == ["first", "first", "again", "again"]


def test_rules_that_answered_nothing_are_reported() -> None:
    found = script(rule(user="x"), rule(user="y"), rule(user="z"))
    found.reply_to(chat("y"))
    assert list(found.unused()) == ["s.jsonl:1: it answered nothing", "s.jsonl:3: it answered nothing"]


# earlier, later
SHADOWED: list[tuple[Value, Value]] = [
    ({}, {"user": "a"}),
    ({"user": "a"}, {"user": "a"}),
    ({"user": "a"}, {"user": "cat", "model": "m"}),
    ({"user": "a"}, {"user": {"equals": "cat"}}),
    ({"user": ["a", "c"]}, {"user": ["x", {"equals": "cat"}]}),
    ({"user": {"regex": "^c"}}, {"user": {"equals": "cat"}}),
    ({"body": {"/n": 1}}, {"body": {"/n": 1, "/seed": 2}}),
    ({"body": {"/n": {"exists": True}}}, {"body": {"/n": 1}}),
    ({"turn": 1}, {"turn": 1, "stream": True}),
    ({"user": "a", "occurrence": [1, 2]}, {"user": "a", "occurrence": 2}),
    ({"attempt": [1, 2]}, {"attempt": 1, "user": "a"}),
]
NOT_SHADOWED: list[tuple[Value, Value]] = [
    ({"user": "a"}, {}),
    ({"user": "a"}, {"system": "a"}),
    ({"user": "cat"}, {"user": "a"}),
    ({"user": ["a", "b"]}, {"user": "a"}),
    ({"user": {"equals": "a"}}, {"user": "a"}),
    ({"user": {"regex": "a"}}, {"user": "a"}),
    ({"turn": 1}, {"turn": 2}),
    ({"body": {"/n": 1}}, {"body": {"/n": 2}}),
    ({"occurrence": 1}, {}),
    ({"occurrence": 1}, {"occurrence": 2}),
    ({"occurrence": 1}, {"occurrence": 1, "user": "a"}),
    ({"attempt": 1}, {"user": "a"}),
]


@pytest.mark.parametrize(("earlier", "later"), SHADOWED)
def test_a_rule_behind_a_wider_one_is_reported(earlier: Value, later: Value) -> None:
    found = script(rule("a", user="other"), rule("b", **earlier), rule("c", **later))
    assert list(found.warnings()) == ["s.jsonl:3: it never answers: s.jsonl:2 admits all that it does"]


@pytest.mark.parametrize(("earlier", "later"), NOT_SHADOWED)
def test_not_shadowed(earlier: Value, later: Value) -> None:
    assert list(script(rule("a", **earlier), rule("b", **later)).warnings()) == []


# What it answers


def answered(answer: Value, **fields: Value) -> Reply | None:
    return script({"answer": answer}).reply_to(chat("a b", **fields))


def test_parallel_calls_have_their_indexes_in_a_stream() -> None:
    calls = [{"name": "f", "arguments": {"a": "x" * 20}}, {"name": "g", "arguments": "{", "id": "c-2"}]
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    events = events_of(answered({"content": "Let me", "tool_calls": calls}, **fields))
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    found: dict[int, dict[str, str]] = {}
    for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
        kept = found.setdefault(call["index"], {"arguments": ""})
        kept.update({name: call[name] for name in ("id", "type") if name in call})
        kept["arguments"] += call["function"]["arguments"]
        kept["name"] = call["function"].get("name", kept.get("name", ""))
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me"
    assert [call["name"] for call in found.values()] == ["f", "g"]
    assert found[0]["arguments"] == '{"a":"xxxxxxxxxxxxxxxxxxxx"}'
    assert (found[1]["arguments"], found[1]["id"]) == ("{", "c-2")
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert events[-1]["usage"]["total_tokens"] == 8


def test_whole_answer() -> None:
    call = {"name": "f", "arguments": {"a": 1}}
    reply = answered({"tool_calls": [call, {"name": "g", "input": "text"}], "finish_reason": "stop"}, n=2)
    for choice in body_of(reply)["choices"]:
        assert choice["finish_reason"] == "stop"
        message = choice["message"]
        assert message["content"] is None
        assert [call["type"] for call in message["tool_calls"]] == ["function", "custom"]
        assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
        assert message["tool_calls"][1]["custom"] == {"name": "g", "input": "text"}
        assert len({call["id"] for call in message["tool_calls"]}) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"content": "x y"}, {"content": "x y", "refusal": None}),
        ({"content": ""}, {"content": "", "refusal": None}),
        ({"content": {"a": [1]}}, {"content": '{"a":[1]}', "refusal": None}),
        ({"content": 3}, {"content": "3", "refusal": None}),
        ({"refusal": "I can't"}, {"content": None, "refusal": "I can't"}),
        ({"content": "x", "reasoning": "a b"}, {"content": "x", "reasoning_content": "a b"}),
        ({"finish_reason": "length"}, {"content": "", "refusal": None}),
        ({"echo": True}, {"content": "a b", "refusal": None}),
    ],
)
def test_message_whole_and_streamed(answer: Value, message: Value) -> None:
    whole = body_of(answered(answer))["choices"][0]["message"]
    assert {name: whole[name] for name in message} == message
    deltas = [event["choices"][0]["delta"] for event in events_of(answered(answer, stream=True))]
    for name, text in message.items():
        assert "".join(delta.get(name) or "" for delta in deltas) == (text or "")


@pytest.mark.parametrize(
    ("chunks", "pieces"), [(2, ["ab", "cd", "e"]), (["abc", "", "de"], ["abc", "", "de"]), (None, ["abcde"])]
)
def test_cuts_of_a_stream(chunks: Value, pieces: list[str]) -> None:
    answer = {"content": "abcde", **({} if chunks is None else {"chunks": chunks})}
    deltas = [event["choices"][0]["delta"] for event in events_of(answered(answer, stream=True))]
    assert [delta["content"] for delta in deltas[1:] if "content" in delta] == pieces


def test_usage_and_model_are_replaced() -> None:
    body = body_of(
        answered({"content": "x y", "model": "other", "usage": {"prompt_tokens": 70, "cost": 0.5}})
    )
    usage = body["usage"]
    assert (body["model"], usage["prompt_tokens"], usage["completion_tokens"]) == ("other", 70, 2)
    assert (usage["total_tokens"], usage["cost"]) == (72, 0.5)


def test_a_rule_answers_with_an_error() -> None:
    reply = answered({"error": {"status": 429, "message": "slow", "code": "c", "retry_after": "1500ms"}})
    assert reply is not None
    assert (reply.status, body_of(reply)) == (
        429,
        {"error": {"message": "slow", "type": "requests", "param": None, "code": "c"}},
    )
    assert {("retry-after", "2"), ("retry-after-ms", "1500")} <= set(reply.headers)
    reply = answered({"error": {}})
    assert (reply and reply.status, body_of(reply)["error"]["type"]) == (500, "server_error")


def test_headers_replace_those_of_the_reply() -> None:
    reply = answered({"echo": True, "headers": {"X-Request-Id": "r-1", "Content-Type": "text/plain", "a": 1}})
    assert reply is not None
    assert reply.headers == (("x-request-id", "r-1"), ("content-type", "text/plain"), ("a", "1"))


def test_raw_events() -> None:
    reply = answered({"events": [{"a": 1}, "two\nlines", "[DONE]"]})
    assert reply is not None
    assert b"".join(reply.pieces) == b'data: {"a":1}\n\ndata: two\ndata: lines\n\ndata: [DONE]\n\n'


@cases(
    ("answer", "status"),
    {
        "a completion": ({"body": COMPLETION}, 200),
        "an error of one's own shape": ({"body": {"detail": "no"}, "status": 422}, 422),
        "no fields": ({"body": {}, "status": 599}, 599),
    },
)
def test_a_raw_body(answer: Value, status: int) -> None:
    """It is the same to a request for a stream."""
    for fields in ({}, {"stream": True}):
        reply = answered({**answer, "headers": {"x-a": "b"}}, **fields)
        assert reply is not None
        assert (reply.status, body_of(reply)) == (status, answer["body"])
        assert [name for name, _ in reply.headers] == ["content-type", "x-request-id", "x-a"]


def test_times_headers_and_faults() -> None:
    answer = {"echo": True, "delay": "50ms", "chunk_delay": 2, "headers": {"X-A": "b"}, "fault": "cut=2"}
    reply = answered(answer)
    assert isinstance(reply, TimedReply)
    assert (reply.latency_s, reply.chunk_delay_s, reply.headers[-1]) == (0.05, 2.0, ("x-a", "b"))
    assert [(fault.kind, fault.value) for fault in reply.faults] == [("cut", 2)]


# What is no rule

# A line, or the match or the answer of a rule; then its pointer and what is wrong with it.
BAD_LINES: list[tuple[str, str]] = [
    (
        "{",
        "not JSON: expecting property name enclosed in double quotes (column 2): write each rule on one line",
    ),
    ('{"a": NaN}', "not JSON: 'NaN' is not JSON (column 7)"),
    ("[1]", "a rule is [1], not an object"),
    ('{"match": {}}', 'a rule has no \'answer\': add "answer": {"content": TEXT}'),
    ('{"match": 1, "answer": {}}', "/match: 'match' is 1, not an object"),
    (
        '{"match_": {}, "answer": {"echo": true}}',
        "/match_: 'match_' is not a part of a rule: did you mean 'match'?",
    ),
    (
        '{"match": {"user": "a", "user": "b"}, "answer": {"echo": true}}',
        "/match/user: this name comes twice in one object: leave one of the two out",
    ),
    (
        '{"answer": {"tool_calls": [{"name": "f", "arguments": {"a": 1, "a": 2}}]}}',
        "/answer/tool_calls/0/arguments/a: this name comes twice in one object: leave one of the two out",
    ),
]
BAD_MATCHES: list[tuple[Value, str]] = [
    ({"usr": "a"}, "/usr: 'usr' is not a condition: did you mean 'user'?"),
    ({"user": 1}, '/user: it is 1, not a text or an object such as {"regex": PATTERN}'),
    ({"user": {"regexp": "a"}}, "/user/regexp: 'regexp' is not a test of a text: did you mean 'regex'?"),
    ({"user": ["a", 1]}, "/user/1: it is 1, not a text"),
    ({"user": []}, "/user: it is [], not a text"),
    ({"user": {}}, "/user: 0 tests in one object: use one of contains, equals or regex"),
    ({"user": {"equals": 1}}, "/user/equals: it is 1, not a text"),
    ({"user": {"regex": "("}}, "/user/regex: '(' is not a regular expression: missing ), "),
    ({"turn": -1}, "/turn: 'turn' is -1, not a whole number (0 or more)"),
    ({"turn": True}, "/turn: 'turn' is true, not a whole number (0 or more)"),
    ({"stream": 1}, "/stream: 'stream' is 1, not true or false"),
    ({"occurrence": 0}, "/occurrence: 'occurrence' is 0, not a whole number (1 or more)"),
    ({"attempt": []}, "/attempt: 'attempt' is [], not a whole number (1 or more)"),
    ({"body": []}, "/body: 'body' is [], not an object of JSON Pointers"),
    ({"body": {"seed": 1}}, "/body/seed: 'seed' is not a JSON Pointer: begin with a slash, as '/seed'"),
    ({"body": {"/~2": 1}}, "/body/~1~02: '/~2' is not a JSON Pointer: write ~0 for ~ and ~1 for /"),
    ({"body": {"/a": {"exists": 1}}}, "/body/~1a: 'exists' is 1, not true or false"),
]
EITHER = "an answer has either 'content' or 'refusal': leave one of them out"
BAD_ANSWERS: list[tuple[Value, str]] = [
    ("x", ": 'answer' is \"x\", not an object"),
    ({}, ': there is nothing to answer: add "content": TEXT, or "echo": true'),
    ({"contents": "x"}, "/contents: 'contents' is not a part of an answer: did you mean 'content'?"),
    ({"content": "x", "error": {}}, ": an answer has either 'error' or 'content': leave one of them out"),
    ({"content": "x", "refusal": "y"}, f"/refusal: {EITHER}"),
    ({"content": "x", "model": 3}, "/model: 'model' is 3, not a text"),
    ({"content": "ab", "chunks": ["a"]}, "/chunks: the chunks are not the content: cut the same text into"),
    ({"refusal": "ab", "chunks": 1}, "/chunks: there is no content to cut: leave it out"),
    ({"tool_calls": {}}, "/tool_calls: 'tool_calls' is {}, not an array"),
    (
        {"tool_calls": [{"nam": "f"}]},
        "/tool_calls/0/nam: 'nam' is not a part of a call: did you mean 'name'?",
    ),
    ({"tool_calls": [{}]}, '/tool_calls/0: a call has no name: add "name": NAME'),
    ({"tool_calls": [{"name": "f", "id": 1}]}, "/tool_calls/0/id: 'id' is 1, not a text"),
    *(
        (
            {"error": {"status": status}},
            f"/error/status: {words} is not the status of an error: use 400 to 599",
        )
        for status, words in ((200, "200"), (399, "399"), (600, "600"), (True, "true"), ("429", '"429"'))
    ),
    ({"error": {"stat": 600}}, "/error/stat: 'stat' is not a part of an error: use "),
    ({"echo": True, "delay": "soon"}, "/delay: 'soon' is not a time such as 50ms, of at most a day"),
    ({"echo": True, "fault": "cutt"}, "/fault: 'cutt' is not a kind of fault: did you mean cut?"),
    (
        {"echo": True, "fault": "cut:times=1"},
        "/fault: 'cut:times=1' has a condition, and those of a rule are",
    ),
    (
        {"echo": True, "headers": {"Connection": "close"}},
        "/headers/Connection: 'Connection' is written by the",
    ),
    ({"echo": True, "headers": {"a b": "c"}}, "/headers/a b: 'a b' is not the name of a header"),
    (
        {"echo": True, "headers": {"a": 0.5}},
        "/headers/a: 'a' is the number 0.5: write it as a text: \"0.5\"",
    ),
    (
        {"echo": True, "headers": {"a": True}},
        "/headers/a: 'a' is true, not a text in ASCII or a whole number",
    ),
    ({"echo": True, "headers": {"a": "\u00e9"}}, "/headers/a: 'a' is \"\u00e9\", not a text in ASCII or a"),
    ({"echo": False}, "/echo: 'echo' is false, not true"),
    *(
        ({kind: {}, "chunk_delay": 1}, f"/chunk_delay: it has no effect: the reply of '{kind}' has no chunks")
        for kind in ("body", "error")
    ),
    *(
        ({kind: {}, "fault": fault}, f"/fault: '{fault}' has no effect: the reply of '{kind}' has no {part}")
        for kind, fault, part in (
            ("body", "no-done", "chunks"),
            ("body", "comment", "chunks"),
            ("error", "length", "choices"),
            ("error", "refuse", "choices"),
            ("error", "filter", "choices"),
        )
    ),
    ({"content": "a", "fault": "tool=unknown"}, "/fault: 'tool' has no effect: the reply of 'content' has"),
    ({"error": {}, "fault": ["cut", "itl=1s"]}, "/fault: 'itl' has no effect: the reply of 'error' has no"),
    ({"events": []}, "/events: 'events' is not an array with events"),
    ({"body": []}, "/body: 'body' is [], not an object"),
    ({"body": "{}"}, "/body: 'body' is \"{}\", not an object"),
    ({"body": {}, "content": "x"}, ": an answer has either 'body' or 'content': leave one of them out"),
    *(
        ({"body": {}, "status": status}, f"/status: {words} is not the status of a reply: use 200 to 599")
        for status, words in ((199, "199"), (600, "600"), (True, "true"), ("200", '"200"'))
    ),
    ({"body": {}, "status": 204}, "/status: a reply with the status 204 has no body: use another one"),
    ({"content": "x", "status": 202}, "/status: only 'body' has a 'status' beside it: leave it out"),
    ({"error": {}, "status": 429}, "/status: only 'body' has a 'status' beside it: leave it out"),
    (
        {"usage": {"prompt_tokens": "1"}},
        "/usage/prompt_tokens: 'prompt_tokens' is \"1\", not a whole number (0 or more)",
    ),
]


def fault_of(line: str) -> str:
    with pytest.raises(Problems) as raised:
        parse_script(Source("s.jsonl", line.encode()))
    (fault,) = raised.value.faults
    return str(fault).removeprefix("s.jsonl:1: ")


@pytest.mark.parametrize(("line", "words"), BAD_LINES)
def test_what_is_no_rule(line: str, words: str) -> None:
    assert fault_of(line) == words


@pytest.mark.parametrize(("match", "words"), BAD_MATCHES)
def test_what_is_no_match(match: Value, words: str) -> None:
    assert fault_of(json.dumps(rule(**match))).startswith(f"/match{words}")


@pytest.mark.parametrize(("answer", "words"), BAD_ANSWERS)
def test_what_is_no_answer(answer: Value, words: str) -> None:
    assert fault_of(json.dumps({"answer": answer})).startswith(f"/answer{words}")


def test_all_lines_are_reported_at_once_and_blank_ones_are_skipped() -> None:
    with pytest.raises(Problems) as raised:
        parse_script(Source("s.jsonl", b'\n{"answer": 1}\r\n \n{"answer": {"echo": true}}\n{}\n'))
    assert [fault.place for fault in raised.value.faults] == ["s.jsonl:2: /answer", "s.jsonl:5"]


def test_all_faults_of_a_line_are_reported_at_once() -> None:
    match = {"turn": "one", "usr": "a", "occurrence": 0}
    answer = {"content": "a", "usage": [1], "delay": "soon", "fault": "cutt", "contents": 1}
    with pytest.raises(Problems) as raised:
        parse_script(Source("s.jsonl", json.dumps({"match": match, "answer": answer, "x": 1}).encode()))
    assert [str(fault.place) for fault in raised.value.faults] == [
        f"s.jsonl:1: {pointer}"
        for pointer in (
            *("/x", "/match/turn", "/match/usr", "/match/occurrence", "/answer/contents"),
            *("/answer/usage", "/answer/delay", "/answer/fault"),
        )
    ]


def test_all_faults_of_a_part_are_reported_at_once() -> None:
    match = {
        "user": [{"regex": "("}, "a", 1],
        "body": {"seed": 1, "/~2": 1, "/b": {"exists": 1}},
        "occurrence": [0, 1, "x"],
    }
    call = {"id": 1, "arguments": {}, "input": "x"}
    content = {
        "tool_calls": [call, {"nam": "f"}, 3],
        "model": 1,
        "reasoning": 2,
        "usage": {"prompt_tokens": -1, "total_tokens": "x"},
        "headers": {"(a)": "c", "Connection": "close"},
        "fault": ["cutt", "cut:times=1", "delay=1s", 5, "no-range"],
    }
    error = {"error": {"stat": 1, "msg": "a", "status": 200, "retry_after": "soon"}}
    lines = [{"match": match, "answer": content}, {"answer": error}]
    with pytest.raises(Problems) as raised:
        parse_script(Source("s", b"\n".join(json.dumps(line).encode() for line in lines)))
    places = [str(fault.place) for fault in raised.value.faults]
    assert places == [
        f"s:{line}: /{pointer}"
        for line, pointers in (
            (1, "match/user/0/regex match/user/2 match/body/seed match/body/~1~02 match/body/~1b"),
            (1, "match/occurrence/0 match/occurrence/2 answer/reasoning answer/model answer/tool_calls/0/id"),
            (1, "answer/tool_calls/0 answer/tool_calls/0 answer/tool_calls/1/nam answer/tool_calls/2"),
            (1, "answer/usage/prompt_tokens answer/usage/total_tokens answer/headers/(a)"),
            (1, "answer/headers/Connection answer/fault/0 answer/fault/1 answer/fault/3 answer/fault/4"),
            (2, "answer/error/stat answer/error/msg answer/error/status answer/error/retry_after"),
        )
        for pointer in pointers.split()
    ]


def test_a_file_without_rules_is_refused() -> None:
    with pytest.raises(BadInput, match="there are no rules in it"):
        parse_script(Source("s.jsonl", b"\n"))


# The server


def test_a_server_with_a_script_and_its_end(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    rules = [rule("first", user="a", occurrence=1), rule("late", user="b"), rule("never", user="bc")]
    file.write_bytes(b"\n".join(json.dumps(each).encode() for each in rules))
    with serving("--script", str(file)) as server:
        assert [text in server.chat("a") for text in (b'"first"', b'"a"')] == [True, True]
        server.process.send_signal(signal.SIGTERM)
        _, errors = server.process.communicate()
    lines = errors.decode().replace(f"{file}:", "").splitlines()
    assert lines[:3] == [
        "chatpipe: warning: 3: it never answers: 2 admits all that it does",
        "chatpipe: 2: it answered nothing",
        "chatpipe: 3: it answered nothing",
    ]


def test_faults_and_times_of_a_rule_are_those_of_its_reply(tmp_path: Path) -> None:
    """A script from standard input. The other request has none of them."""
    file = tmp_path / "s.jsonl"
    answer = {"content": "a b c d", "fault": ["cut=2", "slice=9"], "delay": "1ms", "headers": {"x-a": "b"}}
    file.write_bytes(json.dumps({"match": {"user": "cut"}, "answer": answer}).encode())
    with file.open("rb") as stdin, serving("--script", "-", stdin=stdin) as server:
        cut, whole = server.chat("cut", stream=True), server.chat("other", stream=True)
    assert (b"x-a: b" in cut, b"[DONE]" in cut, cut.count(b"data: ")) == (True, False, 2)
    assert (b"x-a: b" in whole, b"[DONE]" in whole) == (False, True)


def test_a_raw_body_has_faults_and_is_the_answer_of_a_client_and_of_a_batch(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    rules = [
        {"match": {"user": "cut"}, "answer": {"body": COMPLETION, "fault": "cut"}},
        {
            "match": {"user": "odd"},
            "answer": {"body": ODD, "fault": ["length", "tool=unknown", "slice=1"]},
        },
        {"answer": {"body": COMPLETION}},
    ]
    file.write_bytes(b"\n".join(json.dumps(each).encode() for each in rules))
    with serving("--script", str(file)) as server:
        whole, cut, odd = (server.chat(text).partition(b"\r\n\r\n")[2] for text in ("whole", "cut", "odd"))
        model = ("-m", "m", "--base-url", server.url)
        done = run("ask", *model, "-f", "json", "whole")
        output = tmp_path / "out"
        job = ("--engine", "batch-api", "--poll", "0.05", "-q", "-o", str(output))
        assert run("batch", *model, *job, stdin=b'"whole"\n').status == 0
    assert json.loads(whole) == json.loads(done.stdout) == COMPLETION
    assert (whole.startswith(cut), 0 < len(cut) < len(whole), json.loads(odd)) == (True, True, ODD)
    assert json.loads(output.read_bytes())["response"]["body"] == COMPLETION


@cases(
    ("fault", "data"),
    {
        "cut": ("cut", [b"{", Close(), b"}"]),
        "an early cut": ("cut=0", [b"", Close(), b"{}"]),
        "truncate": ("truncate", [b"{"]),
        "blank": ("blank=2", [b"\n\n", b"{}"]),
    },
)
def test_a_fault_of_a_rule_has_the_whole_answer(fault: str, data: list[object]) -> None:
    """The answer of a rule comes in steps, which can be taken once."""
    scripted = script({"answer": {"body": {}, "fault": fault}})
    sent = ServedRequest("POST", "/v1/chat/completions", {}, chat_body())
    assert list(Planner(ServeOptions(), script=scripted).plan(sent, NOW).pieces) == data


@cases(
    "answer",
    {
        "no JSON": b"<html>",
        "JSON that is cut": b'{"choices":[',
        "another value": b"[]",
        "choices that are none": b'{"choices":7}',
    },
)
@pytest.mark.parametrize("is_stream", [True, False])
def test_what_is_no_completion_has_no_choices_to_change(answer: bytes, is_stream: bool) -> None:
    kind = "text/event-stream" if is_stream else "application/json"
    piece = b"data: " + answer + b"\n\n" if is_stream else answer
    plan = ReplyPlan(200, (("content-type", kind),), (piece,))
    apply_faults(plan, [FaultRule("length"), FaultRule("refuse"), FaultRule("tool", "bad-json")])
    assert (list(plan.pieces), plan.faults) == ([piece], ())


def test_arguments_that_are_null_are_spoilt() -> None:
    call = {"function": {"name": "f", "arguments": None}}
    scripted = script(
        {"answer": {"body": {"choices": [{"message": {"tool_calls": [call]}}]}, "fault": "tool=bad-json"}}
    )
    sent = ServedRequest("POST", "/v1/chat/completions", {}, chat_body())
    [body] = Planner(ServeOptions(), script=scripted).plan(sent, NOW).pieces
    assert isinstance(body, bytes)
    [choice] = json.loads(body)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == "{"


def test_raw_events_without_an_end_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(b'{"answer": {"events": [{"choices": [{"delta": {"content": "half"}}]}]}}')
    with serving("--script", str(file)) as server:
        assert b"half" in server.chat(stream=True)
        assert b'"took-cut-for-whole"' in server.exchange(get("/_chatpipe/verdict"))


def test_a_scripted_401_is_told_from_a_wrong_key(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(b'{"answer": {"error": {"status": 401, "code": "revoked"}}}')
    with serving(
        "--script", str(file), "--slots", "1", "--require-key-env", "KEY", env={"KEY": "k"}
    ) as server:
        refused = server.chat()
        scripted = server.exchange(chat_request(headers=b"Authorization: Bearer k\r\nConnection: close\r\n"))
    assert [statuses(reply) for reply in (refused, scripted)] == [[401], [401]]
    assert (b"invalid_api_key" in refused, b"revoked" in scripted) == (True, True)


def test_script_in_front_of_another_server(tmp_path: Path) -> None:
    """The other one gets what no rule admits, and echoes it."""
    file = tmp_path / "s.jsonl"
    file.write_bytes(json.dumps(rule("scripted", user="mine")).encode())
    with serving() as behind, serving("--script", str(file), "--upstream", behind.url) as server:
        assert b'"scripted"' in server.chat("mine")
        assert b'"yours"' in server.chat("yours")
        log = behind.exchange(get("/metrics"))
    assert re.search(rb"request_success_total\S* 1\.0", log)


def test_lines_of_a_batch_are_answered_by_the_script(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(json.dumps(rule("scripted", user="mine")).encode())
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": chat("mine").value,
    }
    form = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\n'
        b'Content-Disposition: form-data; name="file"; filename="f.jsonl"\r\n\r\n'
        + json.dumps(line).encode()
        + b"\n\r\n--x--\r\n"
    )
    with serving("--script", str(file), "--batch-life", "1") as server:
        sent = _request("files", form, b"multipart/form-data; boundary=x")
        created = {"input_file_id": _json(server.exchange(sent))["id"], "completion_window": "24h"}
        order = json.dumps({**created, "endpoint": "/v1/chat/completions"}).encode()
        job = _json(server.exchange(_request("batches", order, b"application/json")))
        while not job.get("output_file_id"):
            job = _json(server.exchange(get(f"/v1/batches/{job['id']}")))
        assert b'"scripted"' in server.exchange(get(f"/v1/files/{job['output_file_id']}/content"))


def _request(path: str, body: bytes, kind: bytes) -> bytes:
    headers = b"Connection: close\r\nContent-Type: " + kind + b"\r\n"
    return post(body, headers).replace(b"/v1/chat/completions", b"/v1/" + path.encode(), 1)


def _json(reply: bytes) -> Value:
    return json.loads(reply.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b'{"answer": {}}\n{}\n', 65, b"s.jsonl:1: /answer: there is nothing to answer"),
        (b"", 65, b"s.jsonl: there are no rules in it"),
        (None, 66, b"--script: cannot read 's.jsonl'"),
    ],
)
def test_a_bad_file_ends_it_before_it_listens(
    content: bytes | None, status: int, words: bytes, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "s.jsonl").write_bytes(content)
    done = run("serve", "--script", "s.jsonl", cwd=tmp_path)
    assert (done.status, done.stdout) == (status, b"")
    assert words in done.stderr
