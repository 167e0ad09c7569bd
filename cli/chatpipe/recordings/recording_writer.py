"""A file of recordings that exchanges are appended to, also by several processes at once.

Each record is one write under the lock of the file. A line that a killed process left incomplete is dropped
before the next one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from chatpipe.errors import BadInput, CannotWrite, ChatpipeError
from chatpipe.recordings.exchange_record import RECORD_START, ExchangeRecord, read_record, write_record
from chatpipe.system.descriptor import cannot_write, refuse_full_disk, write_all
from chatpipe.system.line_index import LineFiles
from chatpipe.system.lock import FileLocked, LockedFile, LockPatience
from chatpipe.system.regular_file import last_line, open_own, read_at
from chatpipe.system.signals import raise_if_received

# O_APPEND: write at the current end, whatever else writes to the file. O_NONBLOCK: refuse a FIFO without
# waiting for its reader.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class RecordingWriter:
    """A file of recordings, created if it is missing.

    A record that cannot be written does not harm the exchange: failure keeps the reason, nothing more is
    recorded, and check() raises it before the next request. Raises CannotWrite, and BadInput for a file that
    holds something else.
    """

    def __init__(self, path: str, patience: LockPatience) -> None:
        self._path = path
        self._patience = patience
        self.failure: ChatpipeError | None = None
        target = os.path.realpath(path) if os.path.islink(path) else path
        refuse_full_disk(os.path.dirname(target) or ".", path)  # before there is an empty file on it
        self._file = LockedFile(lambda: _open(path), time.sleep)
        try:
            _check_content(self._file.fd, path)
            refuse_full_disk(self._file.fd, path)
        except BaseException:
            self._file.close()
            raise

    def append(self, record: ExchangeRecord) -> None:
        """Append a record. Raises nothing but Interrupted: see failure."""
        if self.failure is not None:
            return
        line = write_record(record) + b"\n"
        try:
            self._locked(lambda: self._append(line))
        except OSError as error:
            self.failure = cannot_write(self._path, error, "cannot record")
        except ChatpipeError as error:
            self.failure = error

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self._file.close()

    def _locked(self, action: Callable[[], None]) -> None:
        """Call action with the lock. Others hold it for one write, so the wait is short."""
        while True:
            try:
                self._file.run(action)
            except FileLocked as locked:
                self._patience.check(self._path)
                raise_if_received()
                time.sleep(locked.wait_s)
            else:
                self._patience.reset()
                return

    def _append(self, line: bytes) -> None:
        fd = self._file.fd
        start = _drop_torn(fd)
        try:
            write_all(fd, line)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, start)
            raise


def _open(path: str) -> int:
    try:
        fd = open_own(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error
    if fd is None:
        raise CannotWrite("cannot record: not a regular file", place=path, fix="name a file with --record")
    return fd


def _check_content(fd: int, path: str) -> None:
    """Raise BadInput unless the first line is a record, or the beginning of one."""
    files = LineFiles()
    try:
        files.add(os.dup(fd), path)
        first = files.line(0, 0)
        if not first or (first.startswith(RECORD_START) and files.is_torn(0, 0)):
            return
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        files.close()
    try:
        read_record(first)
    except BadInput as fault:
        fault.place, fault.fix = f"{path}:1", fault.fix or "name another file with --record"
        raise


def _drop_torn(fd: int) -> int:
    """Drop a last line that is not complete. A record that lacks only its newline gets it.

    Returns the size of the file.
    """
    size = os.fstat(fd).st_size
    if not size or read_at(fd, 1, size - 1) == b"\n":
        return size
    start = last_line(fd, size)
    try:
        read_record(read_at(fd, size - start, start))
    except BadInput:
        os.ftruncate(fd, start)
        return start
    write_all(fd, b"\n")
    return size + 1
