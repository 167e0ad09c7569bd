"""stream_reader.py: how long a stream may say nothing, in bytes. test_samples.py reads whole streams."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chatpipe.inputs.values import Value
from chatpipe.response.stream_reader import MOST_IDLE_BYTES, StreamReader
from support.parametrize import cases

_PART = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
_LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_PIECE = MOST_IDLE_BYTES // 4
_COMMENT = b":" + b"x" * _PIECE + b"\n\n"


class _Receiver:
    """A receiver that keeps nothing."""

    def raw(self, data: bytes) -> None: ...

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None: ...

    def expect_end(self) -> None: ...


def read(*pieces: bytes) -> StreamReader:
    """The reader of a stream in these pieces, of which those after its end are not read."""
    reader = StreamReader(_Receiver(), 1)
    for piece in pieces:
        if not reader.done:
            reader.feed(piece)
    return reader


@pytest.mark.parametrize(
    "idle",
    [
        _COMMENT,
        b":" + b"x" * _PIECE,
        b"event: " + b"x" * _PIECE + b"\n\n",
        b"id: " + b"x" * _PIECE + b"\n\n",
        b"odd: " + b"x" * _PIECE + b"\n\n",
        b"data:" + b" " * _PIECE + b"\n\n",
        b"event: ping\ndata: " + b"x" * _PIECE + b"\n\n",
        b'data: {"type":"ping","x":"' + b"x" * _PIECE + b'"}\n\n',
    ],
    ids=["comment", "comment without an end", "name", "id", "odd line", "blank data", "ping", "no choices"],
)
def test_a_stream_that_says_nothing_is_given_up(idle: bytes) -> None:
    reader = read(_PART, *[idle] * 3)
    assert (reader.done, reader.answer.assembly.excess) == (False, "")
    reader.feed(idle + idle)
    assert (reader.done, reader.answer.assembly.excess) == (True, "no part of it came in 4 MB")


@pytest.mark.parametrize(("requested", "choices"), [(1, 1), (2, 2)])
def test_an_error_ends_a_stream_whose_indexes_are_not_understood_yet(requested: int, choices: int) -> None:
    reader = StreamReader(_Receiver(), requested)
    second = _PART.replace(b'"index":0', b'"index":1')
    reader.feed(_PART + second + b'data: {"type":"ping","message":"m"}\n\n')
    assert not reader.done
    reader.feed(b'data: {"error":{"message":"lost"}}\n\n')
    assert (reader.done, reader.answer.error and reader.answer.error.message) == (True, "lost")
    reader.end()
    assert len(reader.answer.assembly.completion()["choices"]) == choices


def test_small_events_count_more_than_their_bytes() -> None:
    """They take more time."""
    assert read(*[b"data: {}\n\n" * 10_000] * 13).done
    assert not read(*[b"data: {}\n\n" * 10_000] * 12).done


@cases(
    "pieces",
    {
        "a part after each": [_COMMENT, _COMMENT, _COMMENT, _PART] * 4,
        "a long part": [b"data: ", *[b" " * _PIECE] * 8, _PART.removeprefix(b"data: ")],
        "a part of many lines": [*[b"data: " + b" " * _PIECE + b"\n"] * 8, _PART],
        "an answer that is there": [_PART, _LAST, *[_COMMENT] * 8],
    },
)
def test_other_long_streams_are_read(pieces: list[bytes]) -> None:
    reader = read(*pieces)
    assert reader.answer.assembly.excess == ""
    assert reader.answer.assembly.completion()["choices"]
