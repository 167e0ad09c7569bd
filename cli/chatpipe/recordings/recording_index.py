"""The recorded exchanges of a file, found by the key of the request, its occurrence and its attempt.

The lines stay in their file: memory has 16 bytes for each. Of several records of the same attempt the last
one counts. A request that occurs more often than it was recorded gets the recording of its last occurrence.
A refusal that no further try changes, such as 401, is passed over if the request was asked again: somebody
mended its cause in between. In a file that is added to, a last attempt that failed is no recording: it would
fail in every later run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from chatpipe.errors import BadInput, MissingInput, reason
from chatpipe.inputs.text_decoder import refuse_other_kinds
from chatpipe.recordings.exchange_record import (
    RECORD_START,
    ExchangeRecord,
    RecordedRequest,
    read_record,
    read_request,
)
from chatpipe.recordings.request_key import request_key
from chatpipe.recordings.try_counter import has_failed, is_final
from chatpipe.system.line_index import LineFiles, SortedIndex
from chatpipe.system.regular_file import open_regular, read_at

# The beginning of a line as write_record() writes it. The rest of such a line is read when it is needed.
_HEAD = re.compile(rb'\{"v":1,"key":"([0-9a-f]{32})","occurrence":([1-9]\d{0,17}),"n":([1-9]\d{0,17}),"req')
_T = TypeVar("_T")
_KEY_MASK = (1 << 64) - 1


class RecordingIndex:
    """The exchanges recorded in the file at path.

    With loose, a request that was not recorded itself is found by its loose key. With grows, the last
    attempt of a request is not found if it failed. note gets a warning about an incomplete last line, which
    is left out. Raises MissingInput, and BadInput for a line that is not a record.
    """

    def __init__(
        self,
        path: str,
        *,
        loose: bool = False,
        grows: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path = path
        self.loose = loose
        self._grows = grows
        self._files = LineFiles()
        self._index = SortedIndex()
        self._loose_index = SortedIndex()
        self._occurrences: dict[str, int] = {}  # of requests that occurred more than once
        self._torn: int | None = None  # offset of a last line that is not complete
        try:
            fd, self.is_cassette = _open(path)
            self._files.add(fd, path)
            last = None
            for number, (offset, line) in enumerate(self._files.lines(0), 1):
                if last is not None:
                    self._add(*last)
                last = (number, offset, line) if line.strip() else None
            if last is not None and not self._is_incomplete(*last, note):
                self._add(*last)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Number of records."""
        return len(self._index)

    def refuse_empty(self, fix: str) -> None:
        """Raise BadInput if there are no records, and close the file."""
        if not len(self):
            self.close()
            raise BadInput("there are no recordings in it", place=self.path, fix=fix)

    def find(self, key: str, occurrence: int, n: int) -> ExchangeRecord | None:
        """The record of the attempt n, by the exact key of its request. Raises MissingInput and BadInput."""
        occurrence = min(occurrence, self._occurrences.get(key, 1))
        record = self._find(key, occurrence, n)
        while record is not None and is_final(record.reply):
            following = self._find(key, occurrence, record.n + 1)
            if following is None:
                break
            record = following
        return self._unless_open(record)

    def find_loosely(self, loose_key: str, n: int) -> ExchangeRecord | None:
        """The record of the attempt n of a request with this loose key, the last one of several.

        Raises MissingInput and BadInput.
        """
        for offset in reversed(self._loose_index.find(_mixed(loose_key, 1, n))):
            record = self._record(offset)
            if record.n == n and request_key(record.request, loose=True) == loose_key:
                return self._unless_open(record)
        return None

    def requests(self) -> Iterator[tuple[int, RecordedRequest, str]]:
        """All requests with the numbers of their lines and the keys that stand there, or "".

        Raises MissingInput and BadInput.
        """
        for number, (offset, line) in enumerate(self._files.lines(0), 1):
            if line.strip() and offset != self._torn:
                yield number, *self._read(line, number, read_request)

    def close(self) -> None:
        self._files.close()

    def _find(self, key: str, occurrence: int, n: int) -> ExchangeRecord | None:
        for offset in reversed(self._index.find(_mixed(key, occurrence, n))):
            record = self._record(offset)
            if (recorded_key(record), record.occurrence, record.n) == (key, occurrence, n):
                return record
        return None

    def _unless_open(self, record: ExchangeRecord | None) -> ExchangeRecord | None:
        """The record, or None if its request may be asked again: its last attempt failed."""
        if record is None or not (self._grows and has_failed(record.reply, record.request.body)):
            return record
        return record if self._find(recorded_key(record), record.occurrence, record.n + 1) else None

    def _is_incomplete(self, number: int, offset: int, line: bytes, note: Callable[[str], None]) -> bool:
        """Return True for a last line that was not written to its end. It is passed over from now on."""
        is_ours = number > 1 or line.startswith(RECORD_START)
        if not (is_ours and self._files.is_torn(0, offset)):
            return False
        try:
            read_record(line)
        except BadInput:
            self._torn = offset
            note(f"{self.path}:{number}: passed over an incomplete recording")
            return True
        return False

    def _add(self, number: int, offset: int, line: bytes) -> None:
        head = None if self.loose else _HEAD.match(line)
        if head is not None:
            key, occurrence, n = head[1].decode(), int(head[2]), int(head[3])
        else:
            record = self._read(line, number, read_record)
            key, occurrence, n = recorded_key(record), record.occurrence, record.n
            if self.loose:
                self._loose_index.add(_mixed(request_key(record.request, loose=True), 1, n), offset)
        self._index.add(_mixed(key, occurrence, n), offset)
        if occurrence > self._occurrences.get(key, 1):
            self._occurrences[key] = occurrence

    def _record(self, offset: int) -> ExchangeRecord:
        line = self._files.line(0, offset)
        try:
            return read_record(line)
        except BadInput:
            return self._read(line, self._files.number(0, offset), read_record)  # with its number

    def _read(self, line: bytes, number: int, read: Callable[[bytes], _T]) -> _T:
        try:
            return read(line)
        except BadInput as fault:
            refuse_other_kinds(line, self.path)
            fault.place = f"{self.path}:{number}"
            raise


def recorded_key(record: ExchangeRecord) -> str:
    """The key in a record, or that of its request where a record by hand has none."""
    return record.key or request_key(record.request)


def _mixed(key: str, occurrence: int, n: int) -> int:
    """The 8-byte key of an attempt in the index, valid only in this process."""
    return hash((key, occurrence, n)) & _KEY_MASK


def _open(path: str) -> tuple[int, bool]:
    """The file of the recordings in path, and True for a cassette, to which nothing is added."""
    try:
        fd = open_regular(path)
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--replay") from error
    if fd is None:
        raise MissingInput(f"cannot read '{path}': not a regular file", place="--replay", fix="name a file")
    if read_at(fd, len(RECORD_START), 0) == RECORD_START:
        return fd, False
    from chatpipe.recordings.cassette import as_recordings  # few files are none of ours

    records = as_recordings(fd, path)
    return records, records != fd
