"""Mutants that behave as the original does, each with the reason; see `tests/mutate.py`."""

from __future__ import annotations

EQUIVALENTS: dict[str, str] = {
    "inputs.rows._integer: len(text) < 19 -> (len(text) <= 19)": "19 characters fit into 64 bits, too",
    "inputs.rows.CellRowDecoder._row: len(fields) < len(columns) -> (len(fields) <= len(columns))": (
        "fields that are complete are copied in the same order"
    ),
    "batch.journal.store.RunStore.record: 0 -> 1": "the place of a line without a result is never read",
    "batch.journal.store.RunStore._by_own_id: '' -> 'mutant'": "neither is the fingerprint of a request",
    "batch.journal.index.LineFiles.line: 8 -> 9": "how much more is read at once changes no line",
    "batch.journal.journal.Journal.remove: self._fd >= 0 -> (self._fd > 0)": "main keeps 0 to 2 open",
    "batch.journal.journal.Journal.remove: 0 -> 1": "main keeps 0 to 2 open",
}
