"""The reasons why lines are sent although a run has records of earlier ones.

A line without an answer to use is `new`, unless there is a record of its request, which says how that one
failed, or of another request in its place, by custom_id: then the line has `changed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import PAID
from chatpipe.system.line_index import SortedIndex


class SendReason(StrEnum):
    """The values are the words of reports, in this order."""

    new = "new"
    changed = "changed"
    input = "input"  # the line was wrong, and has been mended
    http = "http"
    network = "network"
    unsent = "unsent"
    resent = "resent"  # it has an answer, but --resend, --fresh or --same-server asks for another one


_REASONS = tuple(SendReason)
_CODES: dict[str, int] = {reason: code for code, reason in enumerate(_REASONS)}


class SendReasons:
    """The records of a run's files, in at most 12 bytes of memory each. Of several the last counts.

    key shortens an identity or a custom_id to 8 bytes, of which the first 4 count. Two that share these are
    taken for one, which affects a count and no answer: among 1,000,000 records, one line in 4,000.
    """

    def __init__(self, key: Callable[[str], int]) -> None:
        self._key = key
        self._requests = SortedIndex("B", "I")
        self._by_id = SortedIndex("B", "I")

    def __len__(self) -> int:
        return len(self._requests) + len(self._by_id)

    def add_request(self, identity: str, outcome: str | None) -> None:
        """Add a record that is no answer to use. A line of the Batch API may have no outcome."""
        reason = SendReason.resent if outcome in PAID else outcome or SendReason.http
        code = _CODES.get(reason)
        if code is not None:  # else a later release wrote it
            self._requests.put(self._key(identity) >> 32, code)

    def add_custom_id(self, custom_id: str, outcome: str | None) -> None:
        """Add the custom_id of any record."""
        reason = SendReason.input if outcome == SendReason.input else SendReason.changed
        self._by_id.put(self._key(custom_id) >> 32, _CODES[reason])

    def of_request(self, identity: str) -> SendReason | None:
        """The reason to send a request again; None if there is no record of it."""
        return self._find(self._requests, identity)

    def of_custom_id(self, custom_id: str) -> SendReason | None:
        """The reason to send the line with this custom_id; None if there is no record of it."""
        return self._find(self._by_id, custom_id)

    def _find(self, index: SortedIndex, name: str) -> SendReason | None:
        found = index.find(self._key(name) >> 32)
        return _REASONS[found[0]] if found else None


def reasons_report(counts: Mapping[SendReason, int]) -> dict[str, Value]:
    """The `sent` of reports: the number of lines by the reason why they are sent."""
    return {str(reason): counts[reason] for reason in SendReason if counts.get(reason)}
