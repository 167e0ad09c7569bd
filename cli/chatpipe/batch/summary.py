"""The last lines of a run on a terminal: what was done, and why lines failed."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.batch.amounts import cost_text, duration_text, speed_text, tokens_text
from chatpipe.batch.tally import Tally
from chatpipe.errors import quantity

_MOST_REASONS = 5


def closing_text(tally: Tally, wall_s: float, destination: str | None, failed: int) -> str:
    """The closing line: `3000 answers in 22 s (138/s), 21k tokens, 13 retried, 1730 reused -> a.jsonl`.

    destination is the file that has the answers, None for standard output. failed is the number of failures
    to name.
    """
    took = f"{quantity(tally.good, 'answer')} in {duration_text(wall_s)}"
    if tally.sent.total > 1 and wall_s > 0:
        took += f" ({speed_text(tally.sent.total / wall_s)})"
    spent, pauses = tally.spent, tally.pauses
    parts = [
        took,
        f"{failed} failed" if failed else "",
        tokens_text(spent.total) if spent.total else "",
        cost_text(spent.cost, spent.currency) if spent.cost else "",
        f"{pauses.retries} retried" if pauses.retries else "",
        f"{duration_text(pauses.paused_s)} paused" if pauses.pauses else "",
        f"{tally.reused} reused" if tally.reused else "",
    ]
    text = ", ".join(filter(None, parts))
    return text if destination is None else f"{text} -> {destination}"


def reason_texts(tally: Tally, name: str) -> Iterator[str]:
    """One line for each reason why lines failed, with the first of these lines.

    name is the input's. Nothing for one reason if no line is good: the last line of the run has it.
    """
    reasons = tally.failures.reasons.ranked()
    if len(reasons) == 1 and not tally.good:
        return
    for reason in reasons[:_MOST_REASONS]:
        place = f"{name}:{reason.line}"
        others = f" (and {quantity(reason.failed - 1, 'more line')})" if reason.failed > 1 else ""
        yield f"{place}: {reason.message.removeprefix(f'{place}: ') or reason.code}{others}"
    if len(reasons) > _MOST_REASONS:
        rest = sum(reason.failed for reason in reasons[_MOST_REASONS:])
        yield f"{quantity(rest, 'line')} failed for {len(reasons) - _MOST_REASONS} other reasons"
