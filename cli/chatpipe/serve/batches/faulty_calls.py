"""The faults of calls for files and batches: in place of the call, or after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatpipe.options.serve import FaultRule, StatusValue
from chatpipe.serve.fault_grammar import API_KINDS
from chatpipe.serve.reply_faults import apply_ahead, apply_faults
from chatpipe.serve.reply_steps import ReplyPlan


def plan_with_faults(faults: Sequence[FaultRule], call: Callable[[], ReplyPlan]) -> ReplyPlan:
    """The plan of a call with its faults.

    A refusal by status 4xx or 503 comes in place of the call. After any other fault the call has been made,
    and the client cannot know it.
    """
    own = [fault for fault in faults if fault.kind in API_KINDS]
    others = [fault for fault in faults if fault.kind not in API_KINDS]
    plan = ReplyPlan(200, (), ()) if any(map(_is_in_place, others)) else call()
    source = plan.source
    if source is not None:
        source.faults = apply_ahead(plan, others)
    elif others:
        plan.pieces = [b"".join(piece for piece in plan.pieces if isinstance(piece, bytes))]
        plan.headers = tuple(header for header in plan.headers if header[0] != "content-length")
        plan.framing = ""  # the length is that of the pieces, those after an end included
        apply_faults(plan, others)
    plan.faults = (*(fault.kind for fault in own), *plan.faults)
    return plan


def _is_in_place(fault: FaultRule) -> bool:
    value = fault.value
    return isinstance(value, StatusValue) and (value.code < 500 or value.code == 503)
