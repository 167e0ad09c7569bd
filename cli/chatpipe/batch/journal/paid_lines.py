"""The result lines that a run of a journal has paid for, for its budget."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from chatpipe.batch.journal.recorded_files import RecordedFiles
from chatpipe.response.result_line import ResultLine, read_result
from chatpipe.system.line_index import LineFiles, SortedIndex

_KEY_MASK = (1 << 64) - 1


def paid_lines(recorded: RecordedFiles) -> Iterator[ResultLine]:
    """The result lines of the journal, oldest first, failures included, each paid answer once.

    An answer may be there several times, under the names of lines that moved or are identical. Answers before
    the header that a finished run left belong to earlier runs and are left out, and so are those in the other
    files, also where this run has copied them.
    """
    files, journal = recorded.lines, recorded.journal
    if journal is None:
        return
    start = recorded.last_header(journal)
    seen = SortedIndex("I")
    others = (file for file in range(len(files)) if file != journal)
    earlier = chain.from_iterable(_keyed_lines(files, file) for file in others)
    for key, _ in chain(earlier, _keyed_lines(files, journal, end=start)):
        if not seen.find(key):
            seen.add(key, 0)
    for key, result in _keyed_lines(files, journal, start):
        if not seen.find(key):
            seen.add(key, 0)
            yield result


def _keyed_lines(
    files: LineFiles, file: int, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, ResultLine]]:
    """The result lines of a file, each with an 8-byte key of its content without its line number.

    start is the offset of the first line, end that of the line after the last one.
    """
    for offset, line in files.lines(file, start):
        if end is not None and offset >= end:
            return
        if (result := read_result(line)) is not None:
            yield hash(result.content()) & _KEY_MASK, result
