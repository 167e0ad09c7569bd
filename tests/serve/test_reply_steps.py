"""Replies of another server whose end is missing, which the verdict on a client has to know."""

from __future__ import annotations

import pytest

from chatpipe.serve.reply_steps import Close, Pause, ReplyPlan, Reset, Step, note_cut

JSON, STREAM = "application/json", "text/event-stream; charset=utf-8"
WORDS = b'[DONE] \\"finish_reason\\": \\"stop'
CHUNK = b'data: {"choices":[{"delta":{"content":"' + WORDS + b'"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("status", "kind", "pieces", "is_cut"),
    [
        (200, JSON, [b"{}"], False),
        (200, JSON, [b"{", Close()], True),
        (200, JSON, [b"{", Reset()], True),
        (500, JSON, [b"{", Close()], False),
        (200, STREAM, [CHUNK, LAST, DONE], False),
        (200, STREAM, [CHUNK, LAST], False),
        (200, STREAM, [CHUNK, DONE], False),
        (200, STREAM, [CHUNK, LAST[:40], LAST[40:47], LAST[47:]], False),
        (200, STREAM, [bytes([byte]) for byte in CHUNK + DONE], False),
        (200, STREAM, [CHUNK, LAST, DONE, Reset()], False),
        (200, STREAM, [CHUNK, Pause(1)], True),
        (200, STREAM, [CHUNK, Close()], True),
        (200, STREAM, [], True),
        (502, STREAM, [CHUNK], False),
    ],
)
def test_replies_without_their_end(status: int, kind: str, pieces: list[Step], is_cut: bool) -> None:
    plan = ReplyPlan(status, (("content-type", kind),), ())
    assert list(note_cut(plan, pieces)) == pieces
    assert plan.is_cut == is_cut
