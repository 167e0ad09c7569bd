"""The rules of text/event-stream, one by one, and as a property over any bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.response import sse
from response.streams import decode
from support.parametrize import cases

MARK = b"\xef\xbb\xbf"


def fed(*pieces: bytes) -> list[bytes]:
    """The payloads before the end of the body is known."""
    decoder = sse.EventDecoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)]


@cases(
    ("data", "payloads"),
    {
        "one event": (b"data: a\n\n", [b"a"]),
        "two events": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        "CRLF": (b"data: a\r\n\r\n", [b"a"]),
        "CR": (b"data: a\r\r", [b"a"]),
        "line ends mixed": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"]),
        "LF CR are two line ends": (b"data: a\n\rdata: b\n\n", [b"a", b"b"]),
        "no space": (b"data:a\n\n", [b"a"]),
        "only one space goes": (b"data:  a \n\n", [b" a "]),
        "a tab stays": (b"data:\ta\n\n", [b"\ta"]),
        "data lines join": (b"data: a\ndata: b\n\n", [b"a\nb"]),
        "empty data lines count": (b"data: a\r\ndata\r\ndata:\r\ndata: b\r\n\r\n", [b"a\n\n\nb"]),
        "comments": (b": hi\n\n:\n\n:data: a\n\n", []),
        "comment inside an event": (b"data: a\n: hi\ndata: b\n\n", [b"a\nb"]),
        "no data, no event": (b"event: x\nid: 1\nretry: 5\n\n", []),
        "other fields": (b"event: x\nid\nfoo: y\ndata: a\nbar\n\n", [b"a"]),
        "empty data is a keep-alive": (b"data: \n\ndata\n\ndata:\n\n", []),
        "names that are not data": (b"datax: a\nDATA: a\n\n", []),
        "blank lines": (b"\n\n\r\n\r\rdata: a\n\n\n\n", [b"a"]),
        "byte order mark": (MARK + b"data: a\n\n", [b"a"]),
        "a byte order mark too many": (MARK + MARK + b"data: a\n\n", [b"a"]),
        "a byte order mark after a blank line": (b"\n" + MARK + b"data: a\n\n", [b"a"]),
        "white space before a field": (b" \t data: a\n  data:b\n\n", [b"a\nb"]),
        "objects, one a line": (b'{"a":1}\n{"b": 2}\r\n\n [DONE]\n', [b'{"a":1}', b'{"b": 2}', b"[DONE]"]),
        "no blank lines": (
            b'data: {"a":1}\ndata:{"b":2}\n data: {"c":3}\ndata: [DONE]\n\n',
            [b'{"a":1}', b'{"b":2}', b'{"c":3}', b"[DONE]"],
        ),
        "lines of one object": (b'data: {"a":\ndata: {}\ndata: }\n\n', [b'{"a":\n{}\n}']),
        "an object after an event without its end": (b'data: a\n{"error":1}\n', [b"a", b'{"error":1}']),
        "objects that are cut, and other JSON": (b'{"a":\n}\n[1]\n"a"\n1\n{\n\n', []),
        "an array of objects": (b'[{"error":1}]\n[]\n', [b'[{"error":1}]']),
        "an object of several lines": (
            b'data: a\n\n{\n  "error": {\n    "details": [\n      {}\n    ]\n  }\n}\ndata: b\n\n',
            [b"a", b'{\n  "error": {\n    "details": [\n      {}\n    ]\n  }\n}', b"b"],
        ),
        "an object behind one that is cut": (b'{ "a":\n{"error":1}\ndata: a\n\n', [b'{"error":1}', b"a"]),
        "data that says nothing": (b'data: null\n\ndata: " "\n\ndata:"\\n"\n\ndata: []\n\ndata:   \n\n', []),
        "an error event of text": (b"event: error\ndata: too busy\n\n", [b'{"error":"too busy"}']),
        "its name last": (b"data: too busy\nevent:error\n\ndata: a\n\n", [b'{"error":"too busy"}', b"a"]),
        "an error event of a string": (b'event: Server_Error\ndata: "busy"\n\n', [b'{"error":"busy"}']),
        "an error event of an object": (b'event: error\ndata: {"code": 1}\n\n', [b'{"error":{"code": 1}}']),
        "an error event in its wrapper": (b'event: error\ndata: {"error": 1}\n\n', [b'{"error": 1}']),
        "an error event without data": (b"event: error\n\n", [b'{"error":"an error event without data"}']),
        "an error event that is done": (b"event: error\ndata: [DONE]\n\n", [b"[DONE]"]),
        "the end in other forms": (
            b'data: "[DONE]"\n\ndata: [done] \n\ndata: DONE\n\ndata: done it\n\n',
            [b"[DONE]", b"[DONE]", b"[DONE]", b"done it"],
        ),
        "an event that ends": (b"event: done\ndata: {}\n\nevent:end\n\n", [b"[DONE]", b"[DONE]"]),
        "an event of this name with data": (b'event: complete\ndata: {"a":1}\n\n', [b'{"a":1}']),
        "a sign of life": (b"event: ping\ndata: 12:00:05\n\nevent: ping\ndata: {}\n\n", []),
        "the place in a queue": (b"event: queue\ndata: 3\n\n", []),
        "an object under such a name": (b'event: status\ndata: {"message": "soon"}\n\n', []),
        "words like those of an error": (b'event: status\ndata: {"message": "decoder"}\n\n', []),
        "an answer under such a name": (b'event: shopping\ndata: {"choices": []}\n\n', [b'{"choices": []}']),
        "a failure under such a name": (
            b'event: status\ndata: {"status": "failed"}\n\n',
            [b'{"status": "failed"}'],
        ),
        "an error as text": (b"error: too busy\n\n", [b'{"error":"too busy"}']),
        "an error as an object": (b'error: {"code": 429}\n\n', [b'{"error":{"code": 429}}']),
        "an error in its wrapper": (b'error:{"error":{"code":429}}\n', [b'{"error":{"code":429}}']),
        "no error": (b"error:\nerror: \nerrors: a\nerror\n\n", []),
        "a mark inside stays": (b"data: " + MARK + b"a\n\n", [MARK + b"a"]),
        "no other line ends": (
            b"data: a\xe2\x80\xa8b\xc2\x85c\x0bd\x0ce\x1cf\n\n",
            [b"a\xe2\x80\xa8b\xc2\x85c\x0bd\x0ce\x1cf"],
        ),
        "not UTF-8": (b"data: \xff\xfe\x00\n\n", [b"\xff\xfe\x00"]),
        "colon in the value": (b"data: a: b\n\n", [b"a: b"]),
        "nothing": (b"", []),
    },
)
def test_stream_gives_these_events(data: bytes, payloads: list[bytes]) -> None:
    assert fed(data) == payloads
    assert fed(*(data[at : at + 1] for at in range(len(data)))) == payloads


@cases(
    ("pieces", "payloads"),
    {
        "CRLF cut inside": ((b"data: a\r", b"\n\r", b"\n"), [b"a"]),
        "CR CR are two": ((b"data: a\r", b"\r"), [b"a"]),
        "an empty read between CR and LF": ((b"data: a\r", b"", b"\ndata: b\n\n"), [b"a\nb"]),
        "LF of the last read's CR": ((b"data: a\r\n\r", b"\ndata: b\r\n\r", b"\n"), [b"a", b"b"]),
        "byte order mark cut": ((MARK[:1], MARK[1:2], MARK[2:] + b"da", b"ta: a\n\n"), [b"a"]),
        "half a mark is none": ((b"\xef\xbbdata: a\n\n",), []),
        "the name cut": ((b"da", b"ta", b":", b" ", b"a", b"\n", b"\n"), [b"a"]),
    },
)
def test_pieces_give_these_events(pieces: tuple[bytes, ...], payloads: list[bytes]) -> None:
    assert fed(*pieces) == payloads


def test_event_is_given_as_soon_as_its_last_byte_is_there() -> None:
    decoder = sse.EventDecoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [b"a"], "not held back for the LF that may follow"
    assert decoder.feed(b"\ndata: b\n\n") == [b"b"]


@cases(
    ("data", "payloads", "pending"),
    {
        "done": (b"data: [DONE]", [b"[DONE]"], False),
        "done, its line ended": (b"data: [DONE]\n", [b"[DONE]"], False),
        "done, CR": (b"data:[DONE]\r", [b"[DONE]"], False),
        "object": (b'data: {"a":1}', [b'{"a":1}'], False),
        "object, its line ended": (b'data: {"a":1}\n', [b'{"a":1}'], False),
        "object of two lines": (b'data: {"a":\ndata: 1}', [b'{"a":\n1}'], False),
        "byte order mark": (MARK + b"data: {}", [b"{}"], False),
        "object, then half a name": (b'data: {"a":1}\nda', [b'{"a":1}'], False),
        "object with a lone surrogate": (b'data: {"a":"\\ud83d"}', [b'{"a":"\\ud83d"}'], False),
        "an error event of text": (b"event: error\ndata: too busy", [b'{"error":"too busy"}'], False),
        "an object of several lines": (b'{\n"error": 1\n}', [b'{\n"error": 1\n}'], False),
        "done in quotes": (b'data: "[DONE]"', [b"[DONE]"], False),
        "half of done": (b"data: [DONE", [], True),
        "half an object": (b'data: {"a":1', [], True),
        "more than an object": (b'data: {"a":1}}', [], True),
        "object that is not UTF-8": (b'data: {"a":"\xff"}', [], True),
        "a number may go on": (b"data: 1", [], True),
        "object that was to go on": (b'data: {"a":\n', [], True),
        "no data yet": (b"data:", [], True),
        "half a name": (b"dat", [], True),
        "half a comment": (b": comm", [], False),
        "other field": (b"event: x\n", [], False),
        "nothing left": (b"data: {}\n\n", [], False),
        "nothing at all": (b"", [], False),
    },
)
def test_end_of_the_body_keeps_what_is_whole(data: bytes, payloads: list[bytes], pending: bool) -> None:
    decoder = sse.EventDecoder()
    decoder.feed(data)
    assert decoder.end() == payloads
    assert decoder.is_incomplete is pending


def test_second_end_gives_nothing() -> None:
    decoder = sse.EventDecoder()
    decoder.feed(b"data: [DONE]")
    assert (decoder.end(), decoder.end(), decoder.is_incomplete) == ([b"[DONE]"], [], False)


@pytest.mark.parametrize(
    ("payload", "done"),
    [(b"[DONE]", True), (b"[DONE] bye", True), (b'"[DONE]"', False), (b"{}", False), (b"[DON", False)],
)
def test_done_is_recognised(payload: bytes, done: bool) -> None:
    assert sse.is_done(payload) is done


def plainly(body: bytes) -> list[bytes]:
    """The events of a whole body, as the standard's grammar reads; the slow and obvious way."""
    *lines, _ = re.split(rb"\r\n|\r|\n", body.removeprefix(MARK))
    events: list[bytes] = []
    data: list[bytes] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if name == b"data":
            if colon and data == [b"{}"]:
                events.append(data.pop())  # also an event without its blank line
            data.append(value.removeprefix(b" "))
        elif not line:
            events.append(b"\n".join(data))
            data = []
        else:  # what the standard would ignore
            odd = line.lstrip().removeprefix(MARK)
            if odd.startswith(b"data:"):
                if data == [b"{}"]:
                    events.append(data.pop())
                data.append(odd[5:].removeprefix(b" "))
            elif odd.rstrip() in (b"{}", b"[DONE]"):
                events += [b"\n".join(data), odd]
                data = []
    return [event for event in events if event.strip()]


# bytes that mean something, more often than chance would have them
bodies = st.lists(
    st.sampled_from(
        [
            b"data",
            b"data: ",
            b":",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            MARK,
            b"{}",
            b"[DONE]",
            b"\xe2\x80\xa8",
        ]
    )
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


@given(bodies)
def test_any_bytes_give_the_events_of_the_standard(body: bytes) -> None:
    assert fed(body) == plainly(body)


@given(bodies, st.data())
def test_any_split_gives_the_events_of_the_whole(body: bytes, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    assert decode(pieces) == decode([body])


# Where time grows with the square of the size, these take minutes instead of a fraction of a second.


@pytest.mark.timeout(60)
def test_time_is_linear_in_one_huge_event() -> None:
    pieces = [b'data: {"data":"', *[b"A" * 1024] * 20_480, b'"}\n\n']
    [payload] = fed(*pieces)
    assert len(payload) == 20 * 1024 * 1024 + 11


@pytest.mark.timeout(60)
def test_time_is_linear_in_tiny_events_of_one_read() -> None:
    assert len(fed(b"data: x\n\n" * 1_000_000)) == 1_000_000


@pytest.mark.timeout(60)
def test_time_is_linear_in_the_lines_of_one_event() -> None:
    [payload] = fed(b"data: x\n" * 500_000 + b"\n")
    assert len(payload) == 999_999


LAST_EVENTS = {
    "usual": ([b'data: {"a":1}\n\n', b"data: [DONE]\n\n"], True),
    "cut anywhere": ([b"\n\nda", b"ta:[DO", b"NE]"], True),
    "byte by byte": ([bytes([each]) for each in b"data: {}\r\n\r\ndata: [DONE]\r\n\r\n"], True),
    "a comment behind it": ([b"data: {}\n\ndata: [DONE]\n\n: bye\n\n"], True),
    "objects, one a line": ([b'{"a":1}\n', b" [DONE]\n"], True),
    "alone": ([b"data: [DONE]"], True),
    "text of an answer": ([b'data: {"content":"write data: [DONE]"}\n\n'], False),
    "not yet": ([b"data: {}\n\ndata: [DON"], False),
    "nothing": ([], False),
}


@pytest.mark.parametrize(("pieces", "is_last"), LAST_EVENTS.values(), ids=LAST_EVENTS)
def test_the_last_event_of_a_stream(pieces: list[bytes], is_last: bool) -> None:
    assert sse.has_last_event(pieces) is is_last
