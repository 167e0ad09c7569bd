"""The verdict on a client as JSON, and as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.errors import quantity
from chatpipe.inputs.values import Value
from chatpipe.response.result_line import timestamp
from chatpipe.serve.attempts import Attempt
from chatpipe.serve.verdict import ClientVerdict, Remark

_SHOWN = 10  # remarks in the lines for people
_SHOWN_CHARS = 30


def verdict_record(verdict: ClientVerdict, offset_s: float) -> dict[str, Value]:
    """The verdict as JSON. offset_s is Unix time less monotonic time."""
    counts = sorted(verdict.counts().items())
    return {
        "wrong": sum(count for (_, severity), count in counts if severity == "wrong"),
        "requests": verdict.requests,
        "retries": verdict.retries,
        "outcomes": dict(sorted(verdict.outcomes.items())),
        "counts": [
            {"kind": kind, "severity": severity, "times": count} for (kind, severity), count in counts
        ],
        "findings": [_remark_record(remark, offset_s) for remark in _ordered(verdict)],
    }


def verdict_lines(verdict: ClientVerdict) -> Iterator[str]:
    """The same as a table: a line of totals, and a line for each remark, those that are wrong first."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in verdict.outcomes.most_common())
    found = _ordered(verdict)
    is_good = not verdict.wrong and not verdict.outcomes["stopped"]
    total = ": nothing is wrong with the client" if is_good else ""
    yield f"{quantity(verdict.requests, 'request')} ({outcomes}){total}"
    for remark in found[:_SHOWN]:
        text = remark.text if len(remark.text) <= _SHOWN_CHARS else f"{remark.text[:_SHOWN_CHARS]}..."
        body = f" '{text}'" if text else ""
        times = f" ({remark.times} times)" if remark.times > 1 else ""
        yield f"{remark.severity:5} {remark.kind:18}{body} {remark.words}{times}"
    if len(found) > _SHOWN:
        yield f"and {quantity(len(found) - _SHOWN, 'remark')} more: --verdict FILE has them"


def _ordered(verdict: ClientVerdict) -> list[Remark]:
    return sorted(verdict.remarks(), key=lambda remark: (remark.severity != "wrong", remark.first))


def _remark_record(remark: Remark, offset_s: float) -> dict[str, Value]:
    return {
        "kind": remark.kind,
        "severity": remark.severity,
        "words": remark.words,
        "times": remark.times,
        "first": timestamp(remark.first + offset_s),
        "last": timestamp(remark.last + offset_s),
        "body": remark.key,
        "text": remark.text or None,
        "attempts": list(_attempt_records(remark, offset_s)),
    }


def _attempt_records(remark: Remark, offset_s: float) -> Iterator[dict[str, Value]]:
    """The last attempts of the body. after_s is the time since the attempt before it had ended."""
    before: Attempt | None = None
    for attempt in remark.attempts:
        after_s = None if before is None else attempt.began - before.ended
        yield {
            "at": timestamp(attempt.began + offset_s),
            "after_s": None if after_s is None else round(after_s, 3),
            "status": attempt.status or None,
            "outcome": attempt.outcome,
            "wait_s": attempt.wait_s,
            "duration_s": None if attempt.outcome == "running" else round(attempt.ended - attempt.began, 3),
        }
        before = attempt
