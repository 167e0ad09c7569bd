"""`--transcript FILE`: a conversation in a file, one message a line. One call at a time appends to it.

The file is locked from reading to appending, so that a second call continues from the messages that the
first one appended. Existing content belongs to the user and is never changed, except for a last line that
was cut off: a call was killed while it appended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from chatpipe.errors import BadInput, CannotWrite, ChatpipeError, Status
from chatpipe.inputs import messages
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import missing_input, refuse_size
from chatpipe.inputs.text_decoder import refuse_other_kinds
from chatpipe.inputs.values import NotJSON, Value, dumps, json_type, loads
from chatpipe.system.descriptor import cannot_write, close_quietly, write_all
from chatpipe.system.disk_reserve import DiskReserve, largest_file, refuse_growth
from chatpipe.system.lock import LockPatience, open_locked
from chatpipe.system.regular_file import last_line, read_at, read_blocks
from chatpipe.system.same_file import is_current
from chatpipe.system.signals import delay_signals, interruptible

_OPTION = "--transcript"
# Conversations are private.
_MODE = 0o600
# Room for an answer whose length is not known yet: few are longer.
_ANSWER_BYTES = 16 << 10


class Transcript:
    """A locked transcript. Errors call it by the name that the user gave."""

    def __init__(self, path: str, fd: int, note: Callable[[str], None]) -> None:
        self._path = path
        self._fd = fd
        self._note = note
        self._size_before: int | None = None
        self._reserve = DiskReserve(os.path.realpath(path))

    def messages(self) -> list[LocatedValue]:
        """All messages, each with its line; none if the file is new. Raises BadInput for an invalid line."""
        return _messages(self._path, self._fd, self._note)

    def reserve(self, new: Sequence[Value]) -> None:
        """Keep room on the disk for messages and an answer to them, until they are appended.

        Raises CannotWrite if there is none, so that no answer is paid for that cannot be stored.
        """
        size = len(_lines(new)) + _ANSWER_BYTES
        try:
            if (largest := largest_file()) is not None:
                refuse_growth(self._fd, size, largest)
            self._reserve.grow(size)
        except OSError as error:
            raise cannot_write(self._path, error, "no room for an answer") from error

    def release(self) -> None:
        """Give back the room that was kept."""
        self._reserve.release()

    def append(self, new: Sequence[Value]) -> None:
        """Append messages and sync them to disk, all or none. A last line that was cut off goes.

        If another process has written to the file without a lock, they follow its data. Raises
        CannotWrite.
        """
        if not self._is_current():
            raise CannotWrite("was replaced during the call: nothing was appended", place=self._path)
        lines = _lines(new)
        self.release()
        try:
            size = os.fstat(self._fd).st_size
            start = last_line(self._fd, size)
            last = read_at(self._fd, size - start, start)
            if _is_cut_off(last):
                os.ftruncate(self._fd, start)
                last = b""
            if self._size_before is None:
                self._size_before = os.fstat(self._fd).st_size
            write_all(self._fd, b"\n" + lines if last else lines)
            os.fsync(self._fd)
        except BaseException as error:
            self.roll_back()
            if isinstance(error, OSError):
                raise cannot_write(self._path, error, "cannot append") from error
            raise

    @contextmanager
    def appended(self, new: Sequence[Value]) -> Iterator[None]:
        """Append messages for a block that completes the output. No signal comes between the two.

        Once both are done, the messages stay whatever fails from then on. Raises like append.
        """
        with delay_signals():
            self.append(new)
            yield
            self._size_before = None

    def _is_current(self) -> bool:
        try:
            return is_current(self._path, self._fd)
        except OSError as error:
            raise cannot_write(self._path, error, "cannot append") from error

    def roll_back(self) -> None:
        """Remove the messages that were appended."""
        if self._size_before is not None:
            with contextlib.suppress(OSError):  # the error that led here matters more
                os.ftruncate(self._fd, self._size_before)
            self._size_before = None


@contextmanager
def open_transcript(
    path: str | None, note: Callable[[str], None], deadline_s: float | None = None
) -> Iterator[Transcript | None]:
    """Open and lock the transcript. A missing file is created, and removed again if nothing was appended.

    Yields None for the path None, so that callers need no second branch. note is called once if the lock
    takes long; after deadline_s seconds without it TryLater is raised. Appended messages remain if the
    block succeeds, or fails with status 6, because then calls wait for their results. Any other fault, or
    a signal, removes them. Raises UsageFault, CannotWrite, Interrupted.
    """
    if path is None:
        yield None
        return
    with interruptible(), delay_signals():
        try:
            patience = LockPatience(note, deadline_s)
            fd, is_new = open_locked(path, os.O_RDWR | os.O_APPEND, patience, mode=_MODE)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise cannot_write(path, error) from error
        transcript = Transcript(path, fd, note)
        try:
            with interruptible():
                yield transcript
        except BaseException as error:
            if not (isinstance(error, ChatpipeError) and error.status is Status.TOOL_CALLS):
                transcript.roll_back()
            raise
        finally:
            transcript.release()
            with contextlib.suppress(OSError):
                if is_new and os.fstat(fd).st_size == 0 and is_current(path, fd):
                    os.unlink(os.path.realpath(path))
            close_quietly(fd)


def read_messages(path: str | None, note: Callable[[str], None]) -> list[LocatedValue] | None:
    """The messages of the transcript, read after a call in progress has ended; empty if there is no file.

    Returns None for the path None. Raises UsageFault, BadInput, MissingInput.
    """
    if path is None:
        return None
    try:
        fd, _ = open_locked(path, os.O_RDONLY, LockPatience(note))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise missing_input(path, _OPTION, error) from error
    try:
        return _messages(path, fd, note)
    finally:
        close_quietly(fd)


def _lines(messages: Sequence[Value]) -> bytes:
    """The messages, one a line."""
    return b"".join(dumps(message) + b"\n" for message in messages)


def _messages(path: str, fd: int, note: Callable[[str], None]) -> list[LocatedValue]:
    try:
        refuse_size(os.fstat(fd).st_size, path, _OPTION)
        data = b"".join(read_blocks(fd))
    except OSError as error:
        raise missing_input(path, _OPTION, error) from error
    refuse_other_kinds(data, path)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise BadInput(
            "a transcript has a message on each line, not an array",
            place=path,
            fix="jq -c '.[]' makes lines of it",
        )
    *lines, last = data.split(b"\n")
    found = [_message(Source(path, line, number)) for number, line in enumerate(lines, 1) if line.strip()]
    source = Source(path, last, len(lines) + 1)
    if _is_cut_off(last):
        note(f"{source.place()}: was cut off when a call was killed: it is left out")
    elif last.strip():
        found.append(_message(source))
    return found


def _is_cut_off(line: bytes) -> bool:
    """Return True if a last line without an end is the beginning of a message.

    After a power failure it may be NULs. Everything else was written by another program.
    """
    if not line.startswith((b"{", b"\0")):
        return False
    try:
        loads(line)
    except NotJSON:
        return True
    return False


def _message(line: Source) -> LocatedValue:
    found = messages.parse_message(line, is_first=line.line == 1 and b"\0" not in line.data)
    if not isinstance(found.value, dict):
        raise BadInput(f"a message is a JSON object, not {json_type(found.value)}", place=line.place())
    if not isinstance(found.value.get("role"), str):
        messages.refuse_other_message(found)
        raise BadInput("not a message: it has no 'role'", place=line.place())
    return found
