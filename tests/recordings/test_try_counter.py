"""try_counter.py: after which replies the same request is the next try."""

from __future__ import annotations

import pytest

from chatpipe.recordings.exchange_record import RecordedReply
from chatpipe.recordings.try_counter import has_failed
from support.servers.loopback import event, stream_of

STREAM = (("content-type", "text/event-stream"),)
JSON = (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (None, (), b"", True),
        (200, JSON, b'{"choices": []}', False),
        (200, JSON, b'{"choices": [', True),
        (200, JSON, b'{"error": {"message": "busy"}}', True),
        (200, (), b'{"custom_id": "a"}\n{"custom_id": "b"}\n', False),
        (200, (), b"any file", False),
        (400, JSON, b"{}", True),
        (401, JSON, b"{}", True),
        (408, JSON, b"{}", True),
        (429, JSON, b"{}", True),
        (500, JSON, b"{}", True),
        (204, (), b"", False),
        (200, STREAM, b"".join(stream_of("a")), False),
        (200, STREAM, b"".join(stream_of("a", done=False)), False),
        (200, STREAM, b"".join(stream_of("a", finish_reason=None, done=False)), True),
        (200, STREAM, stream_of("a")[0] + b"data: {x\n\n" + stream_of("a")[1], True),
        (200, STREAM, stream_of("a")[0] + event({"error": {"message": "busy"}}), True),
    ],
)
def test_after_what_it_is_the_next_try(
    status: int | None, headers: tuple[tuple[str, str], ...], body: bytes, expected: bool
) -> None:
    assert has_failed(RecordedReply(status, headers, ((0, body),) if body else ())) == expected


def test_after_a_cut_reply_it_is_the_next_try() -> None:
    assert has_failed(RecordedReply(200, STREAM, ((0, b"".join(stream_of("a"))),), "cut"))
