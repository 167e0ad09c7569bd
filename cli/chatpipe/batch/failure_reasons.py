"""Failed lines of a run by reason: how many failed alike, and the first of them."""

from __future__ import annotations

import re

from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.escape import one_line

# A run that fails in more ways than this is reported by the codes of its errors beyond them.
_MOST_REASONS = 100
_REPORTED = 10
_MESSAGE_LENGTH = 200
# Numbers and identifiers differ between messages that are alike: tokens, columns, ids of requests.
_PARTICULAR = re.compile(r"[\w-]*[0-9][\w-]*")


class FailureReason(NamedTuple):
    """A reason why lines failed. failed is their number, line the first of them, message its error."""

    code: str
    message: str
    line: int
    failed: int


class FailureReasons:
    """The reasons of all failed lines. Messages are alike if they differ only in numbers and identifiers."""

    def __init__(self) -> None:
        self._by_kind: dict[tuple[str, str], FailureReason] = {}

    def add(self, code: str, message: str, line: int) -> None:
        """Count the failure of a line."""
        shown = one_line(message[: 2 * _MESSAGE_LENGTH])
        kind = (code, _PARTICULAR.sub("", shown))
        if kind not in self._by_kind and len(self._by_kind) >= _MOST_REASONS:
            kind, shown = (code, ""), ""
        reason = self._by_kind.get(kind)
        if reason is None:
            cut = shown if len(shown) <= _MESSAGE_LENGTH else f"{shown[:_MESSAGE_LENGTH]}..."
            reason = FailureReason(code, cut, line, 0)
        self._by_kind[kind] = reason._replace(failed=reason.failed + 1)

    def ranked(self) -> list[FailureReason]:
        """The reasons, the most common first; of equal ones the one that came first."""
        return sorted(self._by_kind.values(), key=lambda reason: -reason.failed)

    def report(self) -> list[Value]:
        """The most common reasons, as `--report` has them."""
        return [
            {"code": code, "message": message, "line": line, "count": failed}
            for code, message, line, failed in self.ranked()[:_REPORTED]
        ]
