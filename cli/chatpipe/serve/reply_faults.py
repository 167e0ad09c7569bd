"""Faults in a reply: each kind changes the plan of a good answer. Pure.

EFFECTS at the end has the kinds, in the order of the four groups here. reply_pieces.py takes an answer apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chatpipe.inputs import values
from chatpipe.local.model import Reply
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import FaultRule, StatusValue
from chatpipe.serve.reply_pieces import (
    DATA,
    EVENT_END,
    JsonObject,
    change_choices,
    halves,
    put_between,
    stream_events,
    whole_body,
)
from chatpipe.serve.reply_steps import Close, Pause, ReplyPlan, Reset, Step
from chatpipe.serve.router import error_reply

_FOREVER_S = 1e9
_KEPT_ALIVE = 3  # blank lines before a whole answer, or comments between events
_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_GARBAGE = b'{"id":"chatcmpl-\x00\xff'
_REFUSAL = "I'm sorry, I can't assist with that."
_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"
_NO_SUCH_TOOL = "no_such_tool"
# The type and code of an error of the API by its status; others are server errors.
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class Effect(NamedTuple):
    """The effect of the faults of one kind on the plan of a reply.

    apply changes the plan, by the value of the fault. It returns False if it leaves the reply as it is.
    replaces_answer: nothing of the answer is left. keeps_answer: all of it comes, at other times or in other
    pieces. needs_no_answer: it can be made before the answer is known.
    """

    apply: Callable[[ReplyPlan, Any], bool | None]
    replaces_answer: bool = False
    keeps_answer: bool = False
    needs_no_answer: bool = False


def apply_faults(plan: ReplyPlan, faults: Iterable[FaultRule]) -> None:
    """Change the plan by each fault in turn, and note in it the kinds of those that change the answer."""
    for fault in faults:
        effect = EFFECTS[fault.kind]
        if effect.apply(plan, fault.value) is not False:
            plan.faults = (*plan.faults, fault.kind)
            plan.is_spoiled |= not effect.keeps_answer


def apply_ahead(plan: ReplyPlan, faults: Sequence[FaultRule]) -> Sequence[FaultRule]:
    """Make faults of a reply that is not known yet, as far as they need no body, and return the others.

    A reply that the client never sees is not asked for.
    """
    if any(EFFECTS[each.kind].replaces_answer or _is_reset_at_once(each) for each in faults):
        plan.source = None
        apply_faults(plan, faults)
        return ()
    apply_faults(plan, (each for each in faults if EFFECTS[each.kind].needs_no_answer))
    return [each for each in faults if not EFFECTS[each.kind].needs_no_answer]


def _is_reset_at_once(fault: FaultRule) -> bool:
    return fault.kind == "reset" and fault.value is None


# In place of the answer


def _refuse(plan: ReplyPlan, value: Any) -> None:
    assert isinstance(value, StatusValue)
    type_, code = _ERRORS.get(
        value.code, ("server_error" if value.code >= 500 else "invalid_request_error", None)
    )
    message = f"This is a fault that was asked for: status {value.code}"
    wait = () if value.retry_after_s is None else (("retry-after", str(math.ceil(value.retry_after_s))),)
    _replace(plan, error_reply(value.code, message, type=type_, code=code), wait)


def _show_page(plan: ReplyPlan, _: Any) -> None:
    _replace(plan, Reply(502, (("content-type", "text/html"),), (_PAGE,)))


def _replace(plan: ReplyPlan, reply: Reply, more: tuple[tuple[str, str], ...] = ()) -> None:
    kept = tuple(header for header in plan.headers if header[0] not in ("content-type", "retry-after"))
    plan.status, plan.headers, plan.pieces = reply.status, (*reply.headers, *kept, *more), reply.pieces


# In the values of the answer


def _finish_with(reason: str) -> Callable[[ReplyPlan, Any], bool]:
    def change(choice: JsonObject) -> None:
        if choice.get("finish_reason") is not None:
            choice["finish_reason"] = reason

    return lambda plan, _: change_choices(plan, change)


def _decline(plan: ReplyPlan, _: Any) -> bool:
    """Make the answer a refusal: one sentence in place of the content."""

    def change(choice: JsonObject) -> None:
        message = choice.get("message", choice.get("delta"))
        if isinstance(message, dict):
            for field in ("tool_calls", "function_call", "audio"):
                message.pop(field, None)
            if "role" in message:
                message |= {"content": None, "refusal": _REFUSAL}
            else:
                message.pop("content", None)
        if choice.get("finish_reason") is not None:
            choice["finish_reason"] = "stop"
        choice["logprobs"] = None

    return change_choices(plan, change)


def _spoil_calls(plan: ReplyPlan, value: Any) -> bool:
    """Spoil every tool call: its name, its arguments, or its index in a stream."""

    def change(choice: JsonObject) -> None:
        message = choice.get("message", choice.get("delta"))
        for call in values.objects_in(message.get("tool_calls") if isinstance(message, dict) else None):
            function = call.get("function")
            if not isinstance(function, dict):
                function = {}
            if value == "missing-index":
                call.pop("index", None)
            elif value == "unknown" and "name" in function:
                function["name"] = _NO_SUCH_TOOL
            elif value == "bad-json" and "name" in function:
                function["arguments"] = "{" + str(function.get("arguments") or "")

    return change_choices(plan, change)


# In the events of a stream, or in the bytes of a whole answer


def _truncate(plan: ReplyPlan, _: Any) -> None:
    """End cleanly without a finish reason and [DONE]; a whole answer ends in the middle of its JSON."""
    if plan.is_stream:
        plan.pieces = [event for event in stream_events(plan) if b'"finish_reason":null' in event]
    else:
        body = whole_body(plan)
        plan.pieces = [body[: len(body) // 2]]
    plan.is_cut |= plan.status == 200


def _drop_done(plan: ReplyPlan, _: Any) -> bool:
    if plan.is_stream:
        plan.pieces = [event for event in stream_events(plan) if not event.startswith(DATA + b"[DONE]")]
    return plan.is_stream


def _report_error(plan: ReplyPlan, value: Any) -> None:
    """Report an error in a reply of status 200: as the last event, or in place of a whole answer."""
    error = b"".join(piece for piece in error_reply(500, _SERVER_ERROR, type="server_error").pieces)
    before, after = halves(plan, value)
    plan.is_cut |= plan.status == 200 and bool(after)
    plan.pieces = [*before, DATA + error + EVENT_END] if plan.is_stream else [error]


def _spoil(plan: ReplyPlan, value: Any) -> None:
    before, after = halves(plan, value)
    plan.pieces = [*before, DATA + _GARBAGE + EVENT_END if plan.is_stream else _GARBAGE, *after]


def _add_blanks(plan: ReplyPlan, value: Any) -> None:
    """Keep the connection alive by empty lines: before a whole answer, between the events of a stream."""
    blank = b"\n" * (value or _KEPT_ALIVE)
    plan.pieces = put_between(plan, blank) if plan.is_stream else [blank, *plan.pieces]


def _add_comments(plan: ReplyPlan, _: Any) -> bool:
    if plan.is_stream:
        plan.pieces = put_between(plan, b": keep-alive\n\n")
    return plan.is_stream


def _break_off(step: Step) -> Callable[[ReplyPlan, Any], None]:
    """A step in the middle, or after as many events as the value says. A whole answer has two."""

    def apply(plan: ReplyPlan, value: Any) -> None:
        before, after = halves(plan, value)
        plan.is_cut |= plan.status == 200 and bool(after)
        plan.pieces = [*before, step, *after]

    return apply


def _stall(plan: ReplyPlan, value: Any) -> None:
    before, after = halves(plan, None)
    plan.pieces = [*before, Pause(_FOREVER_S if value is None else value), *after]


def _reset(plan: ReplyPlan, value: Any) -> None:
    """Reset the connection before the first byte, or after as many events as the value says."""
    if value is None:
        plan.ending = Reset()
    else:
        _break_off(Reset())(plan, value)


def _close(plan: ReplyPlan, _: Any) -> None:
    plan.ending = Close()


# In time


def _delay(plan: ReplyPlan, value: Any) -> None:
    plan.pace = plan.pace._replace(latency_s=plan.pace.latency_s + value)


def _delay_first_event(plan: ReplyPlan, value: Any) -> None:
    """Wait between the head and the first event. A whole answer comes later as a whole."""
    if plan.is_stream:
        plan.pieces = [Pause(value), *plan.pieces]
    else:
        _delay(plan, value)


def _slow_down(plan: ReplyPlan, value: Any) -> None:
    plan.pace = plan.pace._replace(chunk_delay_s=value)


def _slice(plan: ReplyPlan, value: Any) -> None:
    plan.pace = plan.pace._replace(slice_bytes=value)


EFFECTS: Mapping[str, Effect] = {
    "status": Effect(_refuse, replaces_answer=True),
    "html": Effect(_show_page, replaces_answer=True),
    "length": Effect(_finish_with("length")),
    "filter": Effect(_finish_with("content_filter")),
    "refuse": Effect(_decline),
    "tool": Effect(_spoil_calls),
    "truncate": Effect(_truncate),
    "no-done": Effect(_drop_done),
    "error-event": Effect(_report_error),
    "garbage": Effect(_spoil),
    "blank": Effect(_add_blanks, keeps_answer=True),
    "comment": Effect(_add_comments, keeps_answer=True),
    "stall": Effect(_stall, keeps_answer=True),
    "cut": Effect(_break_off(Close())),
    "reset": Effect(_reset),
    "empty": Effect(_close, replaces_answer=True),
    "delay": Effect(_delay, keeps_answer=True, needs_no_answer=True),
    "ttft": Effect(_delay_first_event, keeps_answer=True),
    "itl": Effect(_slow_down, keeps_answer=True, needs_no_answer=True),
    "slice": Effect(_slice, keeps_answer=True, needs_no_answer=True),
}
