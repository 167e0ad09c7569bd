"""Faults in the body of a reply that another server gives, or gave once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chatpipe.options.serve import FaultRule
from chatpipe.serve.reply_faults import apply_faults
from chatpipe.serve.reply_steps import Close, ReplyPlan, Reset, Step


def collect_steps(plan: ReplyPlan, faults: Sequence[FaultRule]) -> Iterator[Step]:
    """Wait for the whole body of a good reply, and make the faults in it. What is broken stays as it is."""
    if not faults or plan.status != 200:
        return
    pieces: list[Step] = []
    for step in plan.pieces:
        if isinstance(step, bytes | Close | Reset):
            pieces.append(step)
        else:
            yield step
    plan.pieces = pieces
    if all(isinstance(piece, bytes) for piece in pieces):
        plan.headers = tuple(each for each in plan.headers if each[0].lower() != "content-length")
        plan.framing = ""
        apply_faults(plan, faults)
