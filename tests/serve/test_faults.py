"""fault_grammar.py, fault_rules.py and reply_faults.py: who has a fault, and what it makes of a reply."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chatpipe.options.serve import FaultRule, ServeOptions, StatusValue
from chatpipe.serve.fault_grammar import API_KINDS, KINDS, NoFault, parse_fault
from chatpipe.serve.planner import Planner
from chatpipe.serve.reply_faults import EFFECTS
from chatpipe.serve.reply_steps import Close, Pause, Reset, Step, steps_of_reply
from serve.client import WEATHER
from serve.test_planner import NOW, chat

ONCE = FaultRule("cut")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("cut", ONCE),
        ("cut=3", ONCE._replace(value=3)),
        ("cut:times=2", ONCE._replace(times=2)),
        ("cut:after=1:every=3:times=2", ONCE._replace(after=1, every=3, times=2)),
        ("cut:p=0.25", ONCE._replace(chance=0.25)),
        ("cut:of=all", ONCE._replace(of_all=True)),
        ("cut:of=body:times=1", ONCE._replace(times=1)),
        ("cut:times=1:match=a:b=c: on=hold:on=hold", ONCE._replace(times=1, match="a:b=c: on=hold:on=hold")),
        ("cut:model=^gpt-[45]:x", ONCE._replace(model="^gpt-[45]:x")),
        ("status=503", FaultRule("status", StatusValue(503))),
        ("status=429,retry_after=2", FaultRule("status", StatusValue(429, 2.0))),
        ("status=429,retry_after=1m", FaultRule("status", StatusValue(429, 60.0))),
        ("stall", FaultRule("stall")),
        ("stall=30s", FaultRule("stall", 30.0)),
        ("tool=bad-json:p=1", FaultRule("tool", "bad-json")),
        ("slice=1", FaultRule("slice", 1)),
        ("cut:on=content:times=1", ONCE._replace(place="content", times=1)),
        ("status=400:on=line:match=a", FaultRule("status", StatusValue(400), place="line", match="a")),
        ("batch-lose", FaultRule("batch-lose", place="create")),
        ("batch-expire=0:of=all", FaultRule("batch-expire", 0, of_all=True, place="create")),
    ],
)
def test_a_fault_is_parsed_into_its_rule(text: str, rule: FaultRule) -> None:
    assert parse_fault(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a kind of fault: use one of status, "),
        ("sttatus=500", "'sttatus' is not a kind of fault: did you mean status?"),
        ("429", "'429' is not a kind of fault: did you mean status=429?"),
        (
            "503,retry_after=2:times=1",
            "'503,retry_after' is not a kind of fault: did you mean status=503,retry_after=2?",
        ),
        ("status", "status needs a value, such as status=429,retry_after=2"),
        (
            "status=200",
            "'200' is not a value of status: use a status from 400 to 599, and ,retry_after=TIME after",
        ),
        ("status=600", "'600' is not a value of status"),
        ("status=429,retry=2", "'429,retry=2' is not a value of status"),
        ("status=429,", "'429,' is not a value of status"),
        ("empty=1", "empty takes no value"),
        ("slice=0", "'0' is not a value of slice: use a whole number from 1, such as slice=7"),
        ("cut=-1", "'-1' is not a value of cut: use a whole number from 0, such as cut=3"),
        ("stall=soon", "'soon' is not a value of stall: use a time of a day at most, such as stall=30s"),
        ("delay=90000", "'90000' is not a value of delay"),
        ("tool=x", "'x' is not a value of tool: use one of bad-json, unknown, missing-index, such as tool="),
        ("cut:times=0", "'0' is not a value of times: use a whole number from 1"),
        ("cut:after=-1", "'-1' is not a value of after: use a whole number from 0"),
        ("cut:p=0", "'0' is not a value of p: use a probability above 0, 1 at most"),
        ("cut:p=1.1", "'1.1' is not a value of p"),
        ("cut:of=some", "'some' is not a value of of: use all or body"),
        ("cut:sometimes", "'sometimes' is not a condition: use times=N"),
        ("cut:times=1:times=2", "'times' twice"),
        ("cut::times=1", "'' is not a condition"),
        ("cut:match=", "match is empty"),
        ("cut:match=a:times=1", "'times=1' is after match, which takes the rest: put match last"),
        ("cut:model=m:p=0.5:of=all", "'p=0.5' is after model, which takes the rest: put model last"),
        ("cut:model=m:match=a", "'match=a' is after model"),
        ("cut:model=(", "'(' is not a pattern: "),
        ("cut:on=files", "'files' is not a value of on: use one of chat, line"),
        ("cut:on=line", "cut is not a fault of a line: use one of status, length"),
        ("batch-lose:on=poll", "batch-lose is for on=create only"),
        ("status=500:on=poll:match=a", "match and model are for on=chat and on=line only"),
        ("batch-cancel:model=a", "match and model are for on=chat and on=line only"),
        (
            "batch-fail=soon",
            "'soon' is not a value of batch-fail: use one of token_limit_exceeded, invalid_json_line",
        ),
    ],
)
def test_what_is_no_fault_says_why(text: str, words: str) -> None:
    with pytest.raises(NoFault, match=f"^{re.escape(words)}"):
        parse_fault(text)


def test_every_kind_has_an_effect_and_an_example_that_it_takes() -> None:
    assert list(KINDS) == list(EFFECTS)
    for kind, form in {**KINDS, **API_KINDS}.items():
        assert bool(form.example) == (form.values is not None)
        if form.example:
            assert parse_fault(f"{kind}={form.example}").value is not None


# Who has the fault


def faulty(faults: str, bodies: str, *, stream: bool = False, **options: Any) -> str:
    """The bodies in the order of their requests: in upper case those that have the fault."""
    rules = tuple(parse_fault(text) for text in faults.split(" "))
    planner = Planner(ServeOptions(faults=rules, **options))
    fields = {"stream": stream, "tools": [WEATHER] if faults.startswith("tool") else []}
    plans = [planner.plan(chat(body, model=f"m-{body}", **fields), NOW) for body in bodies]
    return "".join(body.upper() if plan.faults else body for body, plan in zip(bodies, plans, strict=True))


# Of the requests `aaababa`, those that have a fault with these conditions.
SELECTED = {
    "": "AAABABA",
    ":times=2": "AAaBaBa",
    ":after=1": "aAAbABA",
    ":every=2": "aAabABa",
    ":after=1:every=2:times=1": "aaAbaba",
    ":p=1:times=1": "AaaBaba",
    ":of=all:times=2": "AAababa",
    ":of=all:every=3": "aaAbaBa",
    ":match=b": "aaaBaBa",
    ":times=1:match=b": "aaaBaba",
    ":of=all:after=1:match=b": "aaabaBa",
    ":model=-b$": "aaaBaBa",
    ":times=1:model=-b$": "aaaBaba",
    ":match=c": "aaababa",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_condition_selects_for_each_kind(kind: str, stream: bool) -> None:
    form = KINDS[kind]
    fault = f"{kind}={form.example}" if form.is_needed else kind
    found = {text: faulty(f"{fault}{text}", "aaababa", stream=stream) for text in SELECTED}
    has_effect = stream or kind not in ("no-done", "comment")
    assert found == (SELECTED if has_effect else dict.fromkeys(SELECTED, "aaababa"))


def test_several_faults_select_each_for_itself() -> None:
    assert faulty("cut:times=1 stall:after=4", "aaababa") == "AaaBabA"


def test_chances_are_those_of_the_seed_and_the_body_in_any_order() -> None:
    """As with 64 requests in flight, whose order is another one in each run."""
    bodies = "abcdefghijklmnopqrstuvwxyz" * 8
    found = sorted(faulty("cut:p=0.3", bodies, seed=3))
    assert found == sorted(faulty("cut:p=0.3", "".join(sorted(bodies, reverse=True)), seed=3))
    assert found != sorted(faulty("cut:p=0.3", bodies, seed=4))
    assert 0.2 < sum(each.isupper() for each in found) / len(bodies) < 0.4


def test_only_good_answers_have_faults() -> None:
    planner = Planner(ServeOptions(faults=(parse_fault("cut:times=1"),), rpm=2))
    plans = [planner.plan(chat(n=0), NOW), planner.plan(chat(), NOW), planner.plan(chat(), NOW)]
    assert [(plan.status, plan.faults) for plan in plans] == [(400, ()), (200, ("cut",)), (429, ())]


# What it makes of a reply


def replied(faults: str, **fields: Any) -> tuple[bytes, list[Step]]:
    """The bytes up to a step that ends the connection, and the steps that are no bytes."""
    asked = chat("one two three", **fields)
    rules = tuple(parse_fault(text) for text in faults.split(" "))
    data = b""
    steps: list[Step] = []
    for step in steps_of_reply(Planner(ServeOptions(faults=rules)).plan(asked, NOW), asked):
        if isinstance(step, bytes):
            data += step
        else:
            steps.append(step)
        if isinstance(step, Close | Reset):
            break
    return data, steps


CHUNK = rb'data: \{"id":"chatcmpl-\w+","object":"chat\.completion\.chunk".*\}\n\n'
FINISH = rb'data: .*"finish_reason":"stop".*\}\n\n'
DONE = rb"data: \[DONE\]\n\n"
FIRST = CHUNK * 4
FOREVER = Pause(1e9)


def _chunks(data: bytes) -> bytes:
    """The body of a chunked reply, as far as it goes."""
    body, left = b"", data.partition(b"\r\n\r\n")[2]
    while left:
        size, _, left = left.partition(b"\r\n")
        body += left[: int(size, 16)]
        left = left[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize(
    ("faults", "body", "steps"),
    [
        ("no-done", FIRST + FINISH, []),
        ("truncate", FIRST, []),
        ("truncate cut=1", CHUNK, [Close()]),
        ("cut", CHUNK * 3, [Close()]),
        ("cut=0", b"", [Close()]),
        ("cut=99", FIRST + FINISH + DONE, [Close()]),
        ("stall", CHUNK * 3 + CHUNK + FINISH + DONE, [FOREVER]),
        ("stall=2s cut", CHUNK * 3, [Pause(2.0), Close()]),
        ("garbage=1", CHUNK + rb'data: \{"id":"chatcmpl-\x00\xff\n\n' + CHUNK * 3 + FINISH + DONE, []),
        ("error-event=1", CHUNK + rb'data: \{"error":\{"message":.*\}\}\n\n', []),
        ("blank=2", (CHUNK + rb"\n\n") * 4 + FINISH + rb"\n\n" + DONE, []),
        ("comment", (CHUNK + rb": keep-alive\n\n") * 4 + FINISH + rb": keep-alive\n\n" + DONE, []),
        ("ttft=2s", FIRST + FINISH + DONE, [Pause(2.0)]),
        ("itl=2s", FIRST + FINISH + DONE, [Pause(2.0)] * 3),
        ("delay=1s", FIRST + FINISH + DONE, [Pause(1.0)]),
        ("reset", b"", [Reset()]),
        ("reset=2", CHUNK * 2, [Reset()]),
        ("empty", b"", [Close()]),
        ("length", FIRST + FINISH.replace(b"stop", b"length") + DONE, []),
        ("filter", FIRST + FINISH.replace(b"stop", b"content_filter") + DONE, []),
    ],
)
def test_faults_of_a_stream(faults: str, body: bytes, steps: list[Step]) -> None:
    data, others = replied(faults, stream=True)
    assert re.fullmatch(body, _chunks(data))
    assert others == steps
    ends_itself = not any(isinstance(step, Close | Reset) for step in steps)
    assert data.endswith(b"0\r\n\r\n") == ends_itself


WHOLE = rb'\{"id":"chatcmpl-.*\}'


@pytest.mark.parametrize(
    ("faults", "status", "body", "steps"),
    [
        ("status=503", 503, rb'\{"error":\{"message":.*"type":"server_error".*\}\}', []),
        ("status=429,retry_after=1.5", 429, rb'\{"error":.*"code":"rate_limit_exceeded"\}\}', []),
        ("html", 502, rb"<html>.*502 Bad Gateway.*</html>\r\n", []),
        ("status=500 delay=1s", 500, rb'\{"error":.*', [Pause(1.0)]),
        ("status=500 length", 500, rb'\{"error":.*', []),
        ("error-event", 200, rb'\{"error":\{"message":.*', []),
        ("garbage", 200, rb'\{"id".*\{"id":"chatcmpl-\x00\xff.*\}', []),
        ("truncate", 200, rb'\{"id":"chatcmpl-.*[^}]', []),
        ("cut", 200, rb'\{"id":"chatcmpl-.*[^}]', [Close()]),
        ("cut=0", 200, b"", [Close()]),
        ("stall=2s", 200, WHOLE, [Pause(2.0)]),
        ("stall=2s cut", 200, rb'\{"id":"chatcmpl-.*[^}]', [Pause(2.0), Close()]),
        ("blank", 200, rb"\n\n\n" + WHOLE, []),
        ("comment", 200, WHOLE, []),
        ("ttft=2s", 200, WHOLE, [Pause(2.0)]),
        ("length", 200, WHOLE.replace(b".*", b'.*"finish_reason":"length".*'), []),
        ("refuse", 200, WHOLE.replace(b".*", b'.*"content":null,"refusal":"I\'m sorry.*'), []),
    ],
)
def test_whole_answers(faults: str, status: int, body: bytes, steps: list[Step]) -> None:
    data, others = replied(faults)
    head, _, found = data.partition(b"\r\n\r\n")
    assert re.fullmatch(body, found, re.DOTALL)
    assert others == steps
    assert head.startswith(b"HTTP/1.1 %d " % status)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert (int(length[1]) == len(found)) != (Close() in steps)


def test_status_has_its_retry_after_in_whole_seconds() -> None:
    assert b"\r\nretry-after: 2\r\n" in replied("status=429,retry_after=1.5")[0]
    assert b"retry-after" not in replied("status=429")[0]


def test_slices_are_a_few_bytes_each_with_a_turn_between_them() -> None:
    asked = chat("näïve", stream=True)
    plan = Planner(ServeOptions(faults=(parse_fault("slice=3"),))).plan(asked, NOW)
    steps = list(steps_of_reply(plan, asked))
    assert {len(step) for step in steps[::2] if isinstance(step, bytes)} <= {1, 2, 3}
    assert set(steps[1::2]) == {Pause(0.0)}
    whole = steps_of_reply(Planner(ServeOptions()).plan(asked, NOW), asked)
    assert b"".join(steps[::2]) == b"".join(whole)  # type: ignore[arg-type]


def calls(fault: str, *, stream: bool) -> list[dict[str, Any]]:
    """The tool calls of the answer, those of a stream as they come."""
    if stream:
        return [call for delta in deltas(fault, tools=[WEATHER]) for call in delta.get("tool_calls", [])]
    body = json.loads(replied(fault, tools=[WEATHER])[0].partition(b"\r\n\r\n")[2])
    return list(body["choices"][0]["message"]["tool_calls"])


def deltas(fault: str, **fields: Any) -> list[dict[str, Any]]:
    body = _chunks(replied(fault, stream=True, **fields)[0])
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    return [event["choices"][0]["delta"] for event in events]


@pytest.mark.parametrize("stream", [True, False])
def test_spoilt_calls(stream: bool) -> None:
    arguments = "".join(
        call["function"].get("arguments", "") for call in calls("tool=bad-json", stream=stream)
    )
    with pytest.raises(json.JSONDecodeError):
        json.loads(arguments)
    assert calls("tool=unknown", stream=stream)[0]["function"]["name"] == "no_such_tool"
    assert all("index" not in call for call in calls("tool=missing-index", stream=stream))
    assert ("index" in calls("comment", stream=stream)[0]) == stream


def test_a_refusal_in_a_stream_is_text_of_its_own() -> None:
    found = deltas("refuse")
    assert "".join(delta.get("refusal") or "" for delta in found) == "I'm sorry, I can't assist with that."
    assert not any(delta.get("content") for delta in found)
