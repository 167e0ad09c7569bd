"""The rules of text/event-stream, one by one, and as a property over any bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.response import sse
from response.streams import decode

MARK = b"\xef\xbb\xbf"


def fed(*pieces: bytes) -> list[bytes]:
    """The payloads before the end of the body is known."""
    decoder = sse.Decoder()
    return [payload for piece in pieces for payload in decoder.feed(piece)]


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        pytest.param(b"data: a\n\n", [b"a"], id="one event"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two events"),
        pytest.param(b"data: a\r\n\r\n", [b"a"], id="CRLF"),
        pytest.param(b"data: a\r\r", [b"a"], id="CR"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"], id="line ends mixed"),
        pytest.param(b"data: a\n\rdata: b\n\n", [b"a", b"b"], id="LF CR are two line ends"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space"),
        pytest.param(b"data:  a \n\n", [b" a "], id="only one space goes"),
        pytest.param(b"data:\ta\n\n", [b"\ta"], id="a tab stays"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="data lines join"),
        pytest.param(
            b"data: a\r\ndata\r\ndata:\r\ndata: b\r\n\r\n", [b"a\n\n\nb"], id="empty data lines count"
        ),
        pytest.param(b": hi\n\n:\n\n:data: a\n\n", [], id="comments"),
        pytest.param(b"data: a\n: hi\ndata: b\n\n", [b"a\nb"], id="comment inside an event"),
        pytest.param(b"event: x\nid: 1\nretry: 5\n\n", [], id="no data, no event"),
        pytest.param(b"event: x\nid\nfoo: y\ndata: a\nbar\n\n", [b"a"], id="other fields"),
        pytest.param(b"data: \n\ndata\n\ndata:\n\n", [], id="empty data is a keep-alive"),
        pytest.param(b"datax: a\nDATA: a\n data: a\n\n", [], id="names that are not data"),
        pytest.param(b"\n\n\r\n\r\rdata: a\n\n\n\n", [b"a"], id="blank lines"),
        pytest.param(MARK + b"data: a\n\n", [b"a"], id="byte order mark"),
        pytest.param(MARK + MARK + b"data: a\n\n", [], id="a second mark belongs to the name"),
        pytest.param(b"\n" + MARK + b"data: a\n\n", [], id="a later mark belongs to the name"),
        pytest.param(b"data: " + MARK + b"a\n\n", [MARK + b"a"], id="a mark inside stays"),
        pytest.param(
            b"data: a\xe2\x80\xa8b\xc2\x85c\x0bd\x0ce\x1cf\n\n",
            [b"a\xe2\x80\xa8b\xc2\x85c\x0bd\x0ce\x1cf"],
            id="no other line ends",
        ),
        pytest.param(b"data: \xff\xfe\x00\n\n", [b"\xff\xfe\x00"], id="not UTF-8"),
        pytest.param(b"data: a: b\n\n", [b"a: b"], id="colon in the value"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_stream_gives_these_events(data: bytes, payloads: list[bytes]) -> None:
    assert fed(data) == payloads
    assert fed(*(data[at : at + 1] for at in range(len(data)))) == payloads


@pytest.mark.parametrize(
    ("pieces", "payloads"),
    [
        pytest.param((b"data: a\r", b"\n\r", b"\n"), [b"a"], id="CRLF cut inside"),
        pytest.param((b"data: a\r", b"\r"), [b"a"], id="CR CR are two"),
        pytest.param((b"data: a\r", b"", b"\ndata: b\n\n"), [b"a\nb"], id="an empty read between CR and LF"),
        pytest.param(
            (b"data: a\r\n\r", b"\ndata: b\r\n\r", b"\n"), [b"a", b"b"], id="LF of the last read's CR"
        ),
        pytest.param((MARK[:1], MARK[1:2], MARK[2:] + b"da", b"ta: a\n\n"), [b"a"], id="byte order mark cut"),
        pytest.param((b"\xef\xbbdata: a\n\n",), [], id="half a mark is none"),
        pytest.param((b"da", b"ta", b":", b" ", b"a", b"\n", b"\n"), [b"a"], id="the name cut"),
    ],
)
def test_pieces_give_these_events(pieces: tuple[bytes, ...], payloads: list[bytes]) -> None:
    assert fed(*pieces) == payloads


def test_event_is_given_as_soon_as_its_last_byte_is_there() -> None:
    decoder = sse.Decoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [b"a"], "not held back for the LF that may follow"
    assert decoder.feed(b"\ndata: b\n\n") == [b"b"]


@pytest.mark.parametrize(
    ("data", "payloads", "pending"),
    [
        pytest.param(b"data: [DONE]", [b"[DONE]"], False, id="done"),
        pytest.param(b"data: [DONE]\n", [b"[DONE]"], False, id="done, its line ended"),
        pytest.param(b"data:[DONE]\r", [b"[DONE]"], False, id="done, CR"),
        pytest.param(b'data: {"a":1}', [b'{"a":1}'], False, id="object"),
        pytest.param(b'data: {"a":1}\n', [b'{"a":1}'], False, id="object, its line ended"),
        pytest.param(b'data: {"a":\ndata: 1}', [b'{"a":\n1}'], False, id="object of two lines"),
        pytest.param(MARK + b"data: {}", [b"{}"], False, id="byte order mark"),
        pytest.param(b'data: {"a":1}\nda', [b'{"a":1}'], False, id="object, then half a name"),
        pytest.param(
            b'data: {"a":"\\ud83d"}', [b'{"a":"\\ud83d"}'], False, id="object with a lone surrogate"
        ),
        pytest.param(b"data: [DONE", [], True, id="half of done"),
        pytest.param(b'data: {"a":1', [], True, id="half an object"),
        pytest.param(b'data: {"a":1}}', [], True, id="more than an object"),
        pytest.param(b'data: {"a":"\xff"}', [], True, id="object that is not UTF-8"),
        pytest.param(b"data: 1", [], True, id="a number may go on"),
        pytest.param(b'data: {"a":\n', [], True, id="object that was to go on"),
        pytest.param(b"data:", [], True, id="no data yet"),
        pytest.param(b"dat", [], True, id="half a name"),
        pytest.param(b": comm", [], False, id="half a comment"),
        pytest.param(b"event: x\n", [], False, id="other field"),
        pytest.param(b"data: {}\n\n", [], False, id="nothing left"),
        pytest.param(b"", [], False, id="nothing at all"),
    ],
)
def test_end_of_the_body_keeps_what_is_whole(data: bytes, payloads: list[bytes], pending: bool) -> None:
    decoder = sse.Decoder()
    decoder.feed(data)
    assert decoder.end() == payloads
    assert decoder.pending is pending


def test_second_end_gives_nothing() -> None:
    decoder = sse.Decoder()
    decoder.feed(b"data: [DONE]")
    assert (decoder.end(), decoder.end(), decoder.pending) == ([b"[DONE]"], [], False)


@pytest.mark.parametrize(
    ("payload", "done"),
    [(b"[DONE]", True), (b"[DONE] bye", True), (b'"[DONE]"', False), (b"{}", False), (b"[DON", False)],
)
def test_done(payload: bytes, done: bool) -> None:
    assert sse.is_done(payload) is done


def plainly(body: bytes) -> list[bytes]:
    """The events of a whole body, as the standard's grammar reads; the slow and obvious way."""
    *lines, _ = re.split(rb"\r\n|\r|\n", body.removeprefix(MARK))
    events, data = [], []
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif not line:
            events.append(b"\n".join(data))
            data = []
    return [event for event in events if event]


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


@pytest.mark.timeout(10)
def test_time_is_linear_in_one_huge_event() -> None:
    pieces = [b'data: {"data":"', *[b"A" * 1024] * 20_480, b'"}\n\n']
    [payload] = fed(*pieces)
    assert len(payload) == 20 * 1024 * 1024 + 11


@pytest.mark.timeout(10)
def test_time_is_linear_in_tiny_events_of_one_read() -> None:
    assert len(fed(b"data: x\n\n" * 1_000_000)) == 1_000_000


@pytest.mark.timeout(10)
def test_time_is_linear_in_the_lines_of_one_event() -> None:
    [payload] = fed(b"data: x\n" * 500_000 + b"\n")
    assert len(payload) == 999_999
