"""Replies of another server whose end is missing, which the verdict on a client has to know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatpipe.serve.reply_steps import (
    Close,
    Pause,
    ReplyPace,
    ReplyPlan,
    Reset,
    Step,
    note_cut,
    steps_of_reply,
    whole_reply,
)
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.slots_in_use import Slots

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


ASKED = ServedRequest("POST", "/v1/chat/completions", {}, b"")
BODY = b'{"a":1}'


def plan_of_body(*pieces: Step, status: int = 200, kind: str = JSON, **fields: object) -> ReplyPlan:
    plan = ReplyPlan(status, (("content-type", kind), ("x-odd", "\u00e9")), pieces)
    for name, value in fields.items():
        setattr(plan, name, value)
    return plan


@pytest.mark.parametrize("status", [200, 404, 429, 500, 599])
def test_a_whole_reply_is_the_bytes_of_its_steps(status: int) -> None:
    whole = whole_reply(plan_of_body(BODY, status=status), ASKED)
    steps = list(steps_of_reply(plan_of_body(BODY, status=status), ASKED))
    assert whole.endswith(BODY)
    assert whole == b"".join(step for step in steps if isinstance(step, bytes))


def test_what_takes_steps_is_not_written_whole() -> None:
    slots = Slots(1, queues=True)
    slots.enter()
    plans = {
        "nothing": plan_of_body(),
        "a stream": plan_of_body(CHUNK, DONE, kind=STREAM),
        "a pause": plan_of_body(Pause(1)),
        "large": plan_of_body(b"x" * 20_000),
        "no body": plan_of_body(b"", status=204),
        "a latency": plan_of_body(BODY, pace=ReplyPace(latency_s=1.0)),
        "slices": plan_of_body(BODY, pace=ReplyPace(slice_bytes=1)),
        "a close": plan_of_body(BODY, ending=Close()),
        "chunked": plan_of_body(BODY, framing="chunked"),
        "waits for a slot": plan_of_body(BODY, ticket=slots.enter()),
    }
    assert [name for name, plan in plans.items() if whole_reply(plan, ASKED)] == []
    for changes in ({"method": "HEAD"}, {"keep_alive": False}, {"can_chunk": False}):
        assert not whole_reply(plan_of_body(BODY), replace(ASKED, **changes))
