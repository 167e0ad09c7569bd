"""Lines of a recording -> what was recorded, each line telling by itself what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from chatpipe.errors import BadInput, ChatpipeError
from chatpipe.inputs.place import Source
from chatpipe.inputs.values import loads_exact
from chatpipe.response import capture
from chatpipe.response.capture import (
    CapturedAnswer,
    CapturedFailure,
    CaptureItem,
    Chunk,
    RawBytes,
    StreamEnd,
    read_capture,
)
from support.parametrize import cases
from support.refusals import refused

CHUNK = '{"id":"a","choices":[{"index":0,"delta":{"content":"hi"}}]}'
CHUNK_VALUE: dict[str, Any] = {"id": "a", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
WHOLE = '{"id":"w","choices":[{"index":0,"message":{"content":"hi"}}]}'
WHOLE_VALUE: dict[str, Any] = {"id": "w", "choices": [{"index": 0, "message": {"content": "hi"}}]}


def lines(text: str | bytes) -> Iterator[Source]:
    """The lines of a file as inputs/sources.py gives them."""
    data = text.encode() if isinstance(text, str) else text
    pieces = data.split(b"\n")
    last = pieces.pop()
    ended = [piece.removesuffix(b"\r") for piece in pieces]
    for number, line in enumerate(ended + ([last] if last else []), 1):
        yield Source("f", line, number)


def played(text: str | bytes) -> list[CaptureItem]:
    return list(read_capture(lines(text)))


def console(text: str | bytes) -> list[str]:
    """The kinds of the steps, raw bytes left out."""
    return [type(step).__name__ for step in played(text) if not isinstance(step, RawBytes)]


def test_a_line_may_be_a_chunk() -> None:
    source = Source("f", CHUNK.encode(), 1)
    assert played(CHUNK + "\n") == [Chunk(CHUNK.encode(), CHUNK_VALUE, source)]


def test_of_a_journal_the_results_count() -> None:
    result = '{"custom_id":"a","response":{"body":' + WHOLE + "}}"
    steps = played('{"chatpipe_journal":1}\n{"chatpipe_job":"planned"}\n' + result + "\n")
    assert [type(step) for step in steps] == [CapturedAnswer]


def test_a_line_may_be_a_completion() -> None:
    assert played(WHOLE) == [CapturedAnswer("f:1", WHOLE.encode(), WHOLE_VALUE)]


def test_lines_may_be_an_event_stream() -> None:
    first, second, chunk, *rest = played(f"data: {CHUNK}\n\ndata: [DONE]\n\n")
    assert (first, second) == (RawBytes(f"data: {CHUNK}\n".encode()), RawBytes(b"\n"))
    assert isinstance(chunk, Chunk)
    assert (chunk.payload, chunk.chunk) == (CHUNK.encode(), CHUNK_VALUE)
    assert rest == [RawBytes(b"data: [DONE]\n"), RawBytes(b"\n"), StreamEnd()]


@cases(
    ("text", "kinds"),
    {
        "empty": ("", []),
        "blank lines": ("\n\n \n", []),
        "chunks": (f"{CHUNK}\n\n{CHUNK}\n", ["Chunk", "Chunk"]),
        "CRLF": (f"{CHUNK}\r\n{CHUNK}\r\n", ["Chunk", "Chunk"]),
        "byte order mark": (f"\ufeff{CHUNK}\n", ["Chunk"]),
        "byte order mark before an event": (f"\ufeffdata: {CHUNK}\n\n", ["Chunk"]),
        "mixed": (f"{CHUNK}\n{WHOLE}\n{CHUNK}\n", ["Chunk", "CapturedAnswer", "Chunk"]),
        "several on a line": (f"{WHOLE} {WHOLE}{CHUNK}\n", ["CapturedAnswer", "CapturedAnswer", "Chunk"]),
        "events and JSON": (
            f"data: {CHUNK}\n\n{WHOLE}\ndata: [DONE]\n\n",
            ["Chunk", "CapturedAnswer", "StreamEnd"],
        ),
        "an open event before JSON": (f"data: {CHUNK}\n{WHOLE}\n", ["Chunk", "CapturedAnswer"]),
        "no blank behind the colon": (f"data:{CHUNK}\n\n", ["Chunk"]),
        "comments": (f": ping\n\n: ping\n\ndata: {CHUNK}\n\n", ["Chunk"]),
        "other fields": (f"event: x\nid: 1\nretry: 5\ndata: {CHUNK}\n\n", ["Chunk"]),
        "unknown fields": (
            f"data: {CHUNK}\n\nfoo: bar\nbaz\ndata\n\ndata: [DONE]\n\n",
            ["Chunk", "StreamEnd"],
        ),
        "an event of two lines": ('data: {"id":"a",\ndata: "choices":[]}\n\n', ["Chunk"]),
        "CR alone": (f"data: {CHUNK}\r\rdata: [DONE]\r\r", ["Chunk", "StreamEnd"]),
        "no line end behind [DONE]": (f"data: {CHUNK}\n\ndata: [DONE]", ["Chunk", "StreamEnd"]),
        "no line end behind an event": (f"data: {CHUNK}", ["Chunk"]),
        "cut inside an event": (f"data: {CHUNK[:-3]}", []),
        "blank lines between": (f"data: {CHUNK}\n\n\n\ndata: {CHUNK}\n\n", ["Chunk", "Chunk"]),
        "a chunk without choices": ('{"id":"a","choices":[]}\n', ["Chunk"]),
        "blank lines before, as DeepSeek sends them": (f"\n\n{WHOLE}\n", ["CapturedAnswer"]),
        "chunks in an array": (f"[{CHUNK},{CHUNK}]\n", ["Chunk", "Chunk", "StreamEnd"]),
        "chunks in an array of several lines": (
            f'[\n{CHUNK}\n,\n{CHUNK}, "[DONE]"\n]\n{CHUNK}\n',
            ["Chunk", "Chunk", "StreamEnd", "Chunk"],
        ),
        "chunks in an event": (f"data: [{CHUNK},{CHUNK}]\n\n", ["Chunk", "Chunk"]),
        "completions in an array": (f"[{WHOLE},{WHOLE}]\n", ["CapturedAnswer", "CapturedAnswer"]),
        "an error in an array": ('[{"error":"x"}]', ["CapturedFailure"]),
        "a string": ('"x"\n', ["CapturedText"]),
        "what says nothing": (f'[]\nnull\n""\ndata: {CHUNK}\n\ndata: ""\n\n', ["Chunk"]),
        "a text in place of a message": ('{"choices":[{"text":"x"}]}\n', ["Chunk"]),
        "blanks before": (f"  {WHOLE}\n", ["CapturedAnswer"]),
        "blanks before chunks": (f" {CHUNK}\n\t{CHUNK}\n", ["Chunk", "Chunk"]),
    },
)
def test_each_line_is_recognised_by_itself(text: str, kinds: list[str]) -> None:
    assert console(text) == kinds


PRETTY = """{
  "id": "w",
  "choices": [
    {
      "index": 0,
      "message": {
        "content": "hi"
      }
    }
  ]
}
"""


def test_completion_printed_for_people() -> None:
    [step] = played("\n" + PRETTY)
    assert isinstance(step, CapturedAnswer)
    assert step.completion == WHOLE_VALUE
    assert step.body.startswith(b'{\n  "id"')


def test_pretty_completion_may_begin_on_its_first_line() -> None:
    assert console('{"id": "w",\n "choices": [{"message": {}}]}\n') == ["CapturedAnswer"]


@cases(
    ("line", "body"),
    {
        "of the Batch API": (
            f'{{"id":"b","custom_id":"x","response":{{"status_code":200,"body":{WHOLE}}},"error":null}}',
            WHOLE,
        ),
        "of a run, not good but there": (
            (
                f'{{"custom_id":"x","response":{{"body":{WHOLE}}},"error":{{"code":"truncated","message":"m"}},'
                '"chatpipe":{"line":1}}'
            ),
            WHOLE,
        ),
        "without an id": (f'{{"response":{{"body":{WHOLE}}},"error":null}}', WHOLE),
    },
)
def test_result_line_with_an_answer(line: str, body: str) -> None:
    [answer] = played(line)
    assert isinstance(answer, CapturedAnswer)
    assert (answer.body, answer.completion) == (body.encode(), WHOLE_VALUE)
    assert answer.line is not None
    assert answer.line.record == orjson.loads(line)


@cases(
    ("line", "what"),
    {
        "no response": (
            '{"custom_id":"x","response":null,"error":{"code":"batch_expired","message":"too late"}}',
            "too late",
        ),
        "an error as its body": (
            '{"custom_id":"x","response":{"status_code":400,"body":{"error":{"message":"bad"}}},"error":null}',
            "bad",
        ),
        "nothing said": ('{"custom_id":"x","response":null,"error":null}', "no answer"),
        "body null": ('{"custom_id":"x","response":{"body":null},"error":null}', "no answer"),
        "odd": ('{"custom_id":"x","response":5}', "no answer"),
    },
)
def test_result_line_without_an_answer(line: str, what: str) -> None:
    failure = played(f"{WHOLE}\n{line}\n")[1]
    assert isinstance(failure, CapturedFailure)
    assert failure[:2] == ("f:2: 'x'", what)
    assert failure.line is not None
    assert failure.line.custom_id == "x"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"error":{"message":"overloaded"}}', "an error was recorded: overloaded"),
        ('{"error":"overloaded"}', "an error was recorded: overloaded"),
        ('{"detail":"Not Found"}', "an error was recorded: Not Found"),
    ],
)
def test_an_error_is_a_failed_answer(line: str, what: str) -> None:
    source = Source("f", line.encode(), 2)
    chunk = Chunk(source.data, orjson.loads(line), source)
    assert played(f"\n{line}") == [CapturedFailure("f:2", what, chunk=chunk)]


@cases(
    ("text", "line"),
    {
        "a table": (
            "id,text\n1,a\n",
            "f:1: CSV, not an answer: chatpipe map --csv '{{id}}' f asks about each row",
        ),
        "text": ("hello\n", "f:1: neither an answer nor an event stream: see chatpipe show --help"),
        "behind": (
            f"{CHUNK}\nhello\n",
            "f:2: neither an answer nor an event stream: see chatpipe show --help",
        ),
        "a number": ("1\n", "f:1: neither an answer nor an event stream: see chatpipe show --help"),
        "an array": ("[1]\n", "f:1: neither a chunk, a completion nor a result: see chatpipe show --help"),
        "an array in an array": (
            f"[[{CHUNK}]]\n",
            "f:1: neither a chunk, a completion nor a result: see chatpipe show --help",
        ),
        "a cut array": (f"[\n{CHUNK},\n{CHUNK}\n", "f:3: not JSON: expecting ',' delimiter (column 60)"),
        "another object": (
            '{"a":1}\n',
            "f:1: neither a chunk, a completion nor a result: see chatpipe show --help",
        ),
        "a request": (
            '\n{"messages":[]}\n',
            "f:2: a request body, not an answer: chatpipe ask -r f sends it",
        ),
        "an exchange": (
            '{"v":1,"request":{},"response":{"status":200,"body":{}}}',
            "f:1: a recorded exchange, not an answer: chatpipe ask --replay f answers its request",
        ),
        "an answer of another API": (
            f'[{{"candidates":[]}},{CHUNK}]',
            "f:1: an answer of Gemini's own API: show reads answers of Chat Completions",
        ),
        "an answer whose type is that of a notice": (
            '{"type":"message","role":"assistant","content":[]}',
            "f:1: an answer of Anthropic's Messages API: show reads answers of Chat Completions",
        ),
        "a cut line": (f"{CHUNK}\n{CHUNK[:-3]}\n", "f:2: not JSON: expecting ',' delimiter (column 57)"),
        "a cut page": ("\n" + PRETTY[:-2], "f:11: not JSON: expecting ',' delimiter (column 4)"),
        "cut on its first line": ('{"id":\n', "f:1: not JSON: expecting value (column 7)"),
        "invalid UTF-8": (b'{"a":"\xff"}\n', "f:1: not JSON: byte 0xff is not UTF-8 (column 7)"),
        "binary": (b"\x00\x01\n", "f:1: neither an answer nor an event stream: see chatpipe show --help"),
        "more on a line": (f"{CHUNK}{CHUNK}x\n", "f:1: not JSON: extra data (column 60)"),
    },
)
def test_text_that_is_no_recording_is_65_with_its_place(text: str | bytes, line: str) -> None:
    with refused(BadInput, line):
        played(text)


@pytest.mark.parametrize("data", ["{broken", "5", "[1]"])
def test_event_that_is_no_chunk_has_its_place(data: str) -> None:
    with refused(ChatpipeError, place="f:3"):
        played(f"data: {CHUNK}\n\ndata: {data}\n\n")


@cases(
    "line",
    {"a brace": "}", "an object": "{}", "an open string": '"', "an open object": "{", "a bracket": "],["},
)
def test_a_broken_document_is_parsed_twice_at_most(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its lines are: parsing again at each of them was quadratic."""
    parsed = []

    def parse(data: bytes) -> Any:
        parsed.append(len(data))
        return loads_exact(data)

    monkeypatch.setattr(capture, "loads_exact", parse)
    text = "{\n" + f'"a": {line}\n' * 200
    with pytest.raises(BadInput):
        played(text)
    assert sum(parsed) <= 2 * len(text)


def test_steps_come_as_the_lines_do() -> None:
    """A recording may still be growing: `tail -f`."""

    def endless() -> Iterator[Source]:
        yield Source("f", CHUNK.encode(), 1)
        raise AssertionError("asked for more")

    assert isinstance(next(read_capture(endless())), Chunk)


ODD = {
    "no choices": '{"choices":[5,"x",null]}',
    "a string for a delta": '{"choices":[{"delta":"x"}]}',
    "a number for a message": '{"choices":[{"message":5}]}',
}


@cases("line", ODD)
def test_odd_values_are_no_reason_to_stop(line: str) -> None:
    assert console(line) in (["Chunk"], ["CapturedAnswer"])
    assert console(f"data: {line}\n\n") == ["Chunk"]
