"""Mutants that behave as the original does, each with the reason; see `mutate.py`."""

from __future__ import annotations

EQUIVALENTS: dict[str, str] = {
    "inputs.rows._integer: len(text) < 19 -> (len(text) <= 19)": "19 characters fit into 64 bits, too",
    "inputs.rows.CellRowDecoder._row: len(fields) < len(columns) -> (len(fields) <= len(columns))": (
        "fields that are complete are copied in the same order"
    ),
    "batch.journal.store.RunStore.record: 0 -> 1": "the place of a line without a result is never read",
    "batch.journal.store.RunStore._by_own_id: '' -> 'mutant'": "neither is the fingerprint of a request",
    "system.line_index.LineFiles.line: 8 -> 9": "how much more is read at once changes no line",
    "batch.journal.journal.Journal.remove: self._fd >= 0 -> (self._fd > 0)": "main keeps 0 to 2 open",
    "batch.journal.journal.Journal.remove: 0 -> 1": "main keeps 0 to 2 open",
    "system.atomic.truncate_name: len(encoded) <= _NAME_BYTES -> (len(encoded) < _NAME_BYTES)": (
        "a name of that length is cut to itself"
    ),
    "system.atomic.sync_directory: os.O_RDONLY | os.O_DIRECTORY -> (os.O_RDONLY & os.O_DIRECTORY)": (
        "it is a directory"
    ),
    "system.atomic.sync_directory: os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC -> "
    "((os.O_RDONLY | os.O_DIRECTORY) & os.O_CLOEXEC)": "Python itself sets O_CLOEXEC",
    "system.atomic._remove_if_unlocked: False -> True": "O_NOFOLLOW refuses a link later",
    "system.replace.Replacement._descriptor: 0 -> 1": "main keeps 0 to 2 open",
    "system.replace.Replacement._has_content: self._fd >= 0 -> (self._fd > 0)": "main keeps 0 to 2 open",
    "system.replace.Replacement._close: self._fd >= 0 -> (self._fd > 0)": "main keeps 0 to 2 open",
    "system.replace.Replacement._close: 0 -> 1": "main keeps 0 to 2 open",
    "system.replace.Replacement._close: 1 -> 2": "any number below 0 is none",
    "system.line_index.LineFiles.number: position < offset -> (position <= offset)": (
        "a read of no bytes ends it"
    ),
}
