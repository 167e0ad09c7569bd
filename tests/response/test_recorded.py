"""Lines of a recording -> what was recorded, each line telling by itself what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatpipe.errors import BadInput, ChatpipeError
from chatpipe.inputs.place import Source
from chatpipe.response.recorded import Chunk, Done, Failed, Raw, Step, Whole, steps
from refusals import refused

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


def played(text: str | bytes) -> list[Step]:
    return list(steps(lines(text)))


def told(text: str | bytes) -> list[str]:
    """The kinds of the steps, raw bytes left out."""
    return [type(step).__name__ for step in played(text) if not isinstance(step, Raw)]


def test_chunk_line() -> None:
    source = Source("f", CHUNK.encode(), 1)
    assert played(CHUNK + "\n") == [Chunk(CHUNK.encode(), CHUNK_VALUE, source)]


def test_completion_line() -> None:
    assert played(WHOLE) == [Whole(WHOLE.encode(), WHOLE_VALUE)]


def test_event_stream() -> None:
    first, second, chunk, *rest = played(f"data: {CHUNK}\n\ndata: [DONE]\n\n")
    assert (first, second) == (Raw(f"data: {CHUNK}\n".encode()), Raw(b"\n"))
    assert isinstance(chunk, Chunk)
    assert (chunk.payload, chunk.chunk) == (CHUNK.encode(), CHUNK_VALUE)
    assert rest == [Raw(b"data: [DONE]\n"), Raw(b"\n"), Done()]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("\n\n \n", [], id="blank lines"),
        pytest.param(f"{CHUNK}\n\n{CHUNK}\n", ["Chunk", "Chunk"], id="chunks"),
        pytest.param(f"{CHUNK}\r\n{CHUNK}\r\n", ["Chunk", "Chunk"], id="CRLF"),
        pytest.param(f"\ufeff{CHUNK}\n", ["Chunk"], id="byte order mark"),
        pytest.param(f"\ufeffdata: {CHUNK}\n\n", ["Chunk"], id="byte order mark before an event"),
        pytest.param(f"{CHUNK}\n{WHOLE}\n{CHUNK}\n", ["Chunk", "Whole", "Chunk"], id="mixed"),
        pytest.param(
            f"data: {CHUNK}\n\n{WHOLE}\ndata: [DONE]\n\n", ["Chunk", "Whole", "Done"], id="events and JSON"
        ),
        pytest.param(f"data: {CHUNK}\n{WHOLE}\n", ["Chunk", "Whole"], id="an open event before JSON"),
        pytest.param(f"data:{CHUNK}\n\n", ["Chunk"], id="no blank behind the colon"),
        pytest.param(f": ping\n\n: ping\n\ndata: {CHUNK}\n\n", ["Chunk"], id="comments"),
        pytest.param(f"event: x\nid: 1\nretry: 5\ndata: {CHUNK}\n\n", ["Chunk"], id="other fields"),
        pytest.param(
            f"data: {CHUNK}\n\nfoo: bar\nbaz\ndata\n\ndata: [DONE]\n\n",
            ["Chunk", "Done"],
            id="unknown fields",
        ),
        pytest.param('data: {"id":"a",\ndata: "choices":[]}\n\n', ["Chunk"], id="an event of two lines"),
        pytest.param(f"data: {CHUNK}\r\rdata: [DONE]\r\r", ["Chunk", "Done"], id="CR alone"),
        pytest.param(f"data: {CHUNK}\n\ndata: [DONE]", ["Chunk", "Done"], id="no line end behind [DONE]"),
        pytest.param(f"data: {CHUNK}", ["Chunk"], id="no line end behind an event"),
        pytest.param(f"data: {CHUNK[:-3]}", [], id="cut inside an event"),
        pytest.param(f"data: {CHUNK}\n\n\n\ndata: {CHUNK}\n\n", ["Chunk", "Chunk"], id="blank lines between"),
        pytest.param('{"id":"a","choices":[]}\n', ["Chunk"], id="a chunk without choices"),
        pytest.param(f"\n\n{WHOLE}\n", ["Whole"], id="blank lines before, as DeepSeek sends them"),
        pytest.param(f"  {WHOLE}\n", ["Whole"], id="blanks before"),
        pytest.param(f" {CHUNK}\n\t{CHUNK}\n", ["Chunk", "Chunk"], id="blanks before chunks"),
    ],
)
def test_kinds(text: str, kinds: list[str]) -> None:
    assert told(text) == kinds


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
    assert isinstance(step, Whole)
    assert step.completion == WHOLE_VALUE
    assert step.body.startswith(b'{\n  "id"')


def test_pretty_completion_may_begin_on_its_first_line() -> None:
    assert told('{"id": "w",\n "choices": [{"message": {}}]}\n') == ["Whole"]


@pytest.mark.parametrize(
    ("line", "body"),
    [
        pytest.param(
            f'{{"id":"b","custom_id":"x","response":{{"status_code":200,"body":{WHOLE}}},"error":null}}',
            WHOLE,
            id="of the Batch API",
        ),
        pytest.param(
            f'{{"custom_id":"x","response":{{"body":{WHOLE}}},"error":{{"code":"truncated","message":"m"}},'
            '"chatpipe":{"line":1}}',
            WHOLE,
            id="of a run, not good but there",
        ),
        pytest.param(f'{{"response":{{"body":{WHOLE}}},"error":null}}', WHOLE, id="without an id"),
    ],
)
def test_result_line_with_an_answer(line: str, body: str) -> None:
    assert played(line) == [Whole(body.encode(), WHOLE_VALUE)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        pytest.param(
            '{"custom_id":"x","response":null,"error":{"code":"batch_expired","message":"too late"}}',
            "too late",
            id="no response",
        ),
        pytest.param(
            '{"custom_id":"x","response":{"status_code":400,"body":{"error":{"message":"bad"}}},"error":null}',
            "bad",
            id="an error as its body",
        ),
        pytest.param('{"custom_id":"x","response":null,"error":null}', "no answer", id="nothing said"),
        pytest.param('{"custom_id":"x","response":{"body":null},"error":null}', "no answer", id="body null"),
        pytest.param('{"custom_id":"x","response":5}', "no answer", id="odd"),
    ],
)
def test_result_line_without_an_answer(line: str, what: str) -> None:
    assert played(f"{WHOLE}\n{line}\n")[1] == Failed("f:2: 'x'", what)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"error":{"message":"overloaded"}}', "an error was recorded: overloaded"),
        ('{"error":"overloaded"}', "an error was recorded: overloaded"),
        ('{"detail":"Not Found"}', "an error was recorded: Not Found"),
    ],
)
def test_recorded_error(line: str, what: str) -> None:
    assert played(f"\n{line}") == [Failed("f:2", what)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("hello\n", "f:1: neither JSON nor an event stream: see chatpipe show --help", id="text"),
        pytest.param(
            f"{CHUNK}\nhello\n",
            "f:2: neither JSON nor an event stream: see chatpipe show --help",
            id="behind",
        ),
        pytest.param(
            "[1]\n", "f:1: neither JSON nor an event stream: see chatpipe show --help", id="an array"
        ),
        pytest.param(
            '{"a":1}\n',
            "f:1: neither a chunk, a completion nor a result: see chatpipe show --help",
            id="another object",
        ),
        pytest.param(
            '\n{"messages":[]}\n',
            "f:2: neither a chunk, a completion nor a result: see chatpipe show --help",
            id="a request",
        ),
        pytest.param(
            f"{CHUNK}\n{CHUNK[:-3]}\n", "f:2: not JSON: expecting ',' delimiter (column 57)", id="a cut line"
        ),
        pytest.param(
            "\n" + PRETTY[:-2], "f:11: not JSON: expecting ',' delimiter (column 4)", id="a cut page"
        ),
        pytest.param('{"id":\n', "f:1: not JSON: expecting value (column 7)", id="cut on its first line"),
        pytest.param(
            b'{"a":"\xff"}\n', "f:1: not JSON: byte 0xff is not UTF-8 (column 7)", id="invalid UTF-8"
        ),
        pytest.param(
            b"\x00\x01\n", "f:1: neither JSON nor an event stream: see chatpipe show --help", id="binary"
        ),
        pytest.param(f"{CHUNK}{CHUNK}\n", "f:1: not JSON: extra data (column 60)", id="two on a line"),
    ],
)
def test_what_is_no_recording_is_65_with_its_place(text: str | bytes, line: str) -> None:
    with refused(BadInput, line):
        played(text)


@pytest.mark.parametrize("data", ["{broken", "5", "[]"])
def test_event_that_is_no_chunk_has_its_place(data: str) -> None:
    with refused(ChatpipeError, place="f:3"):
        played(f"data: {CHUNK}\n\ndata: {data}\n\n")


def test_steps_come_as_the_lines_do() -> None:
    """A recording may still be growing: `tail -f`."""

    def endless() -> Iterator[Source]:
        yield Source("f", CHUNK.encode(), 1)
        raise AssertionError("asked for more")

    assert isinstance(next(steps(endless())), Chunk)


ODD = [
    pytest.param('{"choices":[5,"x",null]}', id="no choices"),
    pytest.param('{"choices":[{"delta":"x"}]}', id="a string for a delta"),
    pytest.param('{"choices":[{"message":5}]}', id="a number for a message"),
]


@pytest.mark.parametrize("line", ODD)
def test_odd_values_are_no_reason_to_stop(line: str) -> None:
    assert told(line) in (["Chunk"], ["Whole"])
    assert told(f"data: {line}\n\n") == ["Chunk"]
