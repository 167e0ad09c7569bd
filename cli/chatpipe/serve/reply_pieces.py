"""The pieces of a planned reply, and the choices in them: what faults take apart and put together. Pure.

A place in the middle is after half of the events of a stream, or half of the bytes of a whole answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON
from chatpipe.serve.reply_steps import ReplyPlan, Step

EVENT_END = b"\n\n"
DATA = b"data: "

JsonObject = dict[str, Any]


def change_choices(plan: ReplyPlan, change: Callable[[JsonObject], None]) -> bool:
    """Change each choice of the completion, or of each chunk. An error in place of the answer stays.

    Return False if that leaves the answer as it is.
    """
    if plan.status != 200:
        return False
    before = stream_events(plan) if plan.is_stream else [whole_body(plan)]
    change_piece = _changed_event if plan.is_stream else _changed
    after = [change_piece(piece, change) for piece in before]
    plan.pieces = after
    return after != before


def _changed_event(event: bytes, change: Callable[[JsonObject], None]) -> bytes:
    if not event.startswith(DATA + b"{"):
        return event
    return DATA + _changed(event[len(DATA) :].rstrip(), change) + EVENT_END


def _changed(data: bytes, change: Callable[[JsonObject], None]) -> bytes:
    """The JSON of a completion or chunk, changed. Other data stays: a script and another server have any."""
    try:
        value: Any = values.loads(data)
    except NotJSON:
        return data
    if not isinstance(value, dict):
        return data
    before = values.dumps(value)
    for choice in values.objects_in(value.get("choices")):
        change(choice)
    after = values.dumps(value)
    return data if after == before else after


def halves(plan: ReplyPlan, count: int | None) -> tuple[list[Step], list[Step]]:
    """The pieces before and after a place: after count events, by default in the middle.

    What an earlier fault put at that place stays before it.
    """
    pieces = _pieces(plan)
    if not plan.is_stream:
        if len(pieces) > 1:  # an earlier fault split it
            return pieces[:-1], pieces[-1:]
        body = b"".join(piece for piece in pieces if isinstance(piece, bytes))
        at = 0 if count == 0 else len(body) // 2
        return [body[:at]], [body[at:]]
    most = sum(map(_is_event, pieces)) // 2 if count is None else count
    at = taken = 0
    while at < len(pieces) and (taken < most or not _is_event(pieces[at])):
        taken += _is_event(pieces[at])
        at += 1
    return pieces[:at], pieces[at:]


def put_between(plan: ReplyPlan, data: bytes) -> list[Step]:
    """The events, with data before each but the first."""
    return [piece for event in _pieces(plan) for piece in (data, event)][1:]


def _pieces(plan: ReplyPlan) -> list[Step]:
    """The pieces of a reply, those of a stream with one event each."""
    found: list[Step] = []
    for piece in plan.pieces:
        if plan.is_stream and isinstance(piece, bytes) and _is_event(piece):
            found += [event + EVENT_END for event in piece.split(EVENT_END) if event]
        else:
            found.append(piece)
    return found


def stream_events(plan: ReplyPlan) -> list[bytes]:
    """The events of a stream that has no other pieces yet."""
    return [piece for piece in _pieces(plan) if isinstance(piece, bytes)]


def _is_event(piece: Step) -> bool:
    return isinstance(piece, bytes) and piece.startswith(DATA)


def whole_body(plan: ReplyPlan) -> bytes:
    return b"".join(piece for piece in plan.pieces if isinstance(piece, bytes))
