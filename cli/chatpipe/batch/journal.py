"""What a run has been answered, on disk: `Journal` writes it down, `Recorded` finds it again.

A journal is a header line, then result lines as they are written to OUT; whoever holds its lock may
append. Nothing but complete lines count: a run may be killed at any byte. Order in a run: open the
Journal, which drops what an earlier run left half-written; load Recorded; ask `find` before each
request; `append` each answer before it is counted; in the end `lines` gives them for OUT.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Self

import orjson

from chatpipe import __version__
from chatpipe.batch.index import Shelf, Table, is_good, open_regular, pack, unpack
from chatpipe.batch.results import PAID
from chatpipe.errors import BadInput, CannotWrite, MissingInput, TryLater, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response import judge

VERSION = 1
_HEADER_START = b'{"chatpipe_journal":'
_HEADER = _HEADER_START + f'{VERSION},"chatpipe":"{__version__}"}}\n'.encode()

# O_APPEND: the end is where the file ends, whatever else writes to it. O_NOFOLLOW: the name is made
# by suffix, so that in a directory open to all another user may have put a link there.
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_COPY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 1 << 18
_HEAD_BYTES = 4096
_SYNC_EVERY_S = 1.0
# the file's size goes to disk with it, its times need not. macOS has only fsync
_sync = getattr(os, "fdatasync", os.fsync)

Match = Literal["body", "id"]


class Journal:
    """A journal that is this run's until it ends: locked, and open for one complete line after another."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the file, or go on with it; a torn last line is dropped. clock gives seconds.

        Raises TryLater when another run holds it, BadInput for what is no journal, which is not
        touched, and CannotWrite.
        """
        self.path = path
        self._clock = clock
        self._torn: int | None = None  # where a line begins that may be there in part
        self._fd = _own(path)
        try:
            self._continue()
        except BaseException:
            self._release()
            raise
        self._synced = clock()

    def fileno(self) -> int:
        return self._fd

    def append(self, line: bytes) -> int:
        """Add a line, given without its newline: when this returns, killing the run cannot lose it.

        Returns the offset at which it begins. Raises CannotWrite; the lines before it then stay whole.
        """
        if b"\n" in line:
            raise ValueError("a record is one line")
        try:
            self._drop_torn()
            start = self._torn = self._end()
            _write_all(self._fd, line + b"\n")
            self._torn = None
        except OSError as error:
            with contextlib.suppress(OSError):  # else before the next line, or when the journal is opened
                self._drop_torn()
            raise self._failure("cannot write the journal", error) from error
        if self._clock() - self._synced >= _SYNC_EVERY_S:
            self.sync()
        return start

    def sync(self) -> None:
        """Wait until a power failure could lose no line. append does it once a second. Raises CannotWrite."""
        try:
            _sync(self._fd)
        except OSError as error:
            raise self._failure("cannot write the journal", error) from error
        self._synced = self._clock()

    def close(self) -> str | None:
        """Keep the journal and give up its lock. May be called again.

        Returns what there is to say: somebody removed or renamed the file during the run. One that
        was removed is written anew. Raises CannotWrite when the answers could not be kept.
        """
        if self._fd < 0:
            return None
        try:
            with contextlib.suppress(OSError):
                self._drop_torn()
            self.sync()
            return None if _leads_to(self.path, self._fd) else self._rescue()
        except OSError as error:
            raise self._failure("cannot read the journal", error) from error
        finally:
            self._release()

    def remove(self) -> None:
        """Remove the journal, unless the name leads to another file by now. Raises CannotWrite."""
        try:
            if self._fd >= 0 and _leads_to(self.path, self._fd):
                os.unlink(self.path)
        except OSError as error:
            raise self._failure("cannot remove the journal", error) from error
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(CannotWrite):  # the error on its way is the cause
            self.close()

    def _continue(self) -> None:
        """Bring the file into the state in which a line can follow."""
        try:
            head = os.pread(self._fd, _HEAD_BYTES, 0)
            if _is_torn_header(head):
                os.ftruncate(self._fd, 0)
                self._end()
                _sync_directory(os.path.dirname(self.path))
                return
            _check_header(head, self.path)
            self._mend_tail()
        except OSError as error:
            raise self._failure("cannot write the journal", error) from error

    def _mend_tail(self) -> None:
        """Drop a last line that is not all there. All there but for its newline, it is an answer."""
        size = os.fstat(self._fd).st_size
        start = _last_line(self._fd, size)
        if start == size:
            return
        if _is_json(os.pread(self._fd, size - start, start)):
            _write_all(self._fd, b"\n")
        else:
            os.ftruncate(self._fd, start)

    def _end(self) -> int:
        """The offset of the next line. A file that is empty, or was emptied by somebody, gets its header."""
        end = os.lseek(self._fd, 0, os.SEEK_END)
        if end == 0:
            _write_all(self._fd, _HEADER)
            end = len(_HEADER)
        return end

    def _drop_torn(self) -> None:
        if self._torn is not None:
            os.ftruncate(self._fd, self._torn)
            self._torn = None

    def _rescue(self) -> str:
        """The name leads elsewhere: save the answers if nothing but our descriptor holds them any more."""
        if os.fstat(self._fd).st_nlink:
            return f"{self.path}: the journal was renamed during the run: its answers are under the new name"
        for path in (self.path, f"{self.path}.part"):
            try:
                _copy(self._fd, path)
            except FileExistsError:
                continue
            except OSError as error:
                what = "the journal was removed during the run and cannot be written anew"
                raise self._failure(what, error) from error
            return f"{self.path}: the journal was removed during the run: its answers were saved as '{path}'"
        what = "the journal was removed during the run, and others have taken its name"
        raise CannotWrite(what, place=self.path)

    def _release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):  # a duplicate of the descriptor would keep the lock
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _failure(self, what: str, error: OSError) -> CannotWrite:
        fix = "the answers before are safe: free some space and run the same command again"
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return CannotWrite(f"{what}: {reason(error)}", place=self.path, fix=fix if is_full else "")


def _own(path: str) -> int:
    """A descriptor of the file, which is there and locked. Raises as Journal does."""
    while True:
        fd = _open(path)
        try:
            _lock(fd, path)
            if _leads_to(path, fd):
                return fd
        except OSError as error:
            os.close(fd)
            raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the run that held the lock has removed the file: what is written there is lost


def _open(path: str) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            _refuse_special(os.lstat(path), path)  # before opening, which may rewind a tape or wait
        fd = os.open(path, _OPEN, 0o666)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error
    try:
        _refuse_special(os.fstat(fd), path)
    except BadInput:
        os.close(fd)
        raise
    return fd


def _refuse_special(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device or pipe")
        raise BadInput(f"is {kind}, not a journal", place=path, fix="name a file with --journal")


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TryLater(
            "another run holds this journal", place=path, fix="wait until it has ended, or name another file"
        ) from error
    except OSError as error:  # ENOLCK, EOPNOTSUPP: network file systems
        raise CannotWrite(
            f"cannot lock the journal: {reason(error)}",
            place=path,
            fix="name a file on a local disk with --journal",
        ) from error


def _leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_torn_header(head: bytes) -> bool:
    """Whether a run was cut off while it made the file: there is nothing, or not all of a header."""
    if b"\n" in head or len(head) == _HEAD_BYTES or _is_json(head):
        return False
    return head.startswith(_HEADER_START) or _HEADER_START.startswith(head)


def _check_header(head: bytes, path: str) -> None:
    version = _version(head.partition(b"\n")[0])
    if version is None:
        raise BadInput("is not a journal of chatpipe", place=path, fix="name another file with --journal")
    if version > VERSION:
        raise BadInput(
            f"was written by a newer chatpipe (journal version {version})",
            place=path,
            fix="go on with that one, or start another file with --journal",
        )


def _version(line: bytes) -> int | None:
    """The version that a header line tells; None for any other line."""
    try:
        header = values.loads(line)
    except NotJSON:
        return None
    version = header.get("chatpipe_journal") if type(header) is dict else None
    return version if type(version) is int and version > 0 else None


def _is_json(data: bytes) -> bool:
    try:
        values.loads(data)
    except NotJSON:
        return False
    return True


def _last_line(fd: int, size: int) -> int:
    """The offset behind the last newline; size when that is the last byte."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write_all(fd: int, data: bytes) -> None:
    """One write, and more only when the system takes a part: at the end of the disk, or of a quota."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _copy(fd: int, path: str) -> None:
    """All of an open file to a new one. Raises OSError, FileExistsError among them."""
    copy = os.open(path, _COPY, stat.S_IMODE(os.fstat(fd).st_mode))
    try:
        offset = 0
        while block := os.pread(fd, _BLOCK_BYTES, offset):
            _write_all(copy, block)
            offset += len(block)
        os.fsync(copy)
    finally:
        os.close(copy)


def _sync_directory(path: str) -> None:
    """Make a new name last through a power failure, where that can be asked for."""
    with contextlib.suppress(OSError):
        fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# The object that our result lines end with, found without parsing what is before it: inside a string
# its quotes would be escaped, and inside another object more than one brace would follow.
_START = b'{"id":"'
_ABOUT = b'"chatpipe":'
_ID = re.compile(rb'\{"id":"[^"\\]*","custom_id":("[^"\\]*(?:\\.[^"\\]*)*"),')
_BOM = b"\xef\xbb\xbf"


class Entry(NamedTuple):
    """What a result line is found by, and its outcome; None where there is no such thing."""

    identity: str | None
    outcome: str | None


_HEADER_ENTRY = Entry(None, None)


class Found(NamedTuple):
    """A recorded answer: its line without the newline, its outcome, and its place."""

    line: bytes
    outcome: str
    place: int


def key_of(identity: str) -> int:
    """8 bytes for a fingerprint or custom_id, in this process only."""
    return hash(identity) & 0xFFFF_FFFF_FFFF_FFFF


class Recorded:
    """Answers that were paid for, by fingerprint or by custom_id; the lines stay in their files."""

    def __init__(
        self,
        *,
        reuse: Sequence[str] = (),
        out: str | None = None,
        journal: Journal | str | None = None,
        match: Match = "body",
        resend: frozenset[str] = frozenset(),
        good: frozenset[str] = frozenset({"ok"}),
        key: Callable[[str], int] = key_of,
    ) -> None:
        """Read all that was recorded; of the answers to one request the newest that is good counts.

        From the oldest: the files of reuse in their order, each in the order of its lines, then
        out, then the journal. A name in reuse may be a pattern. out and journal need not exist, or
        may hold something else: then they hold no answers. resend: outcomes that are to be bought
        again. good: outcomes that no later answer displaces unless it is good as well.

        Raises MissingInput, and BadInput for a file in reuse that has lines, but no result line.
        """
        self._match = match
        self._kept = PAID - resend
        self._good = good
        self._key = key
        self._shelf = Shelf()
        self._table = Table()
        self._journal: int | None = None
        try:
            for path in _expanded(reuse):
                self._add_reused(path)
            if out is not None:
                self._add_own(out)
            if isinstance(journal, str):
                self._journal = self._add_own(journal)
            elif journal is not None:
                self._journal = self._add(os.dup(journal.fileno()), journal.path)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """How many requests there is an answer for."""
        return len(self._table)

    def find(self, identity: str) -> Found | None:
        """The recorded answer to a request, read and compared in full. Raises MissingInput."""
        for place in self._table.find(self._key(identity)):
            line = self._line(place)
            entry = _parsed(line, self._match)
            if entry is not None and entry.identity == identity and entry.outcome in self._kept:
                return Found(line, entry.outcome, place)
        return None

    def get(self, identity: str) -> bytes | None:
        """The line of `find`."""
        found = self.find(identity)
        return found.line if found else None

    def place(self, offset: int, outcome: str) -> int:
        """The place of a line that was appended to the journal after load."""
        assert self._journal is not None
        return pack(self._journal, offset, is_good=outcome in self._good)

    def is_in_journal(self, place: int) -> bool:
        """Whether a line is in the journal of this run, which stays where it is."""
        return self._journal is not None and unpack(place)[0] == self._journal

    def learn(self, identity: str, outcome: str, place: int) -> None:
        """Let find know a line that was appended after load: the answer to an identical request."""
        if outcome in self._kept:
            self._remember(identity, place)

    def lines(self, places: Iterable[int]) -> Iterator[bytes]:
        """The lines at places, as they are, in that order: 8 bytes a line keep OUT's order."""
        return map(self._line, places)

    def journal_lines(self) -> Iterator[bytes]:
        """Every result line of the journal, oldest first, failures too: for what has been spent so far."""
        if self._journal is not None:
            for _, line in self._shelf.lines(self._journal):
                if _entry(line, self._match) not in (None, _HEADER_ENTRY):
                    yield line

    def close(self) -> None:
        self._shelf.close()

    def _add_reused(self, path: str) -> None:
        try:
            fd = open_regular(path)
        except (OSError, ValueError) as error:
            raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--reuse") from error
        if fd is None:
            raise MissingInput(f"cannot read '{path}': not a regular file", place="--reuse")
        file, is_new = self._shelf.add(fd, path)
        foreign = self._scan(file, stop_at_foreign=False) if is_new else None
        if foreign is not None:
            raise BadInput(
                "not a result line",
                place=f"{path}:{foreign}",
                fix="--reuse takes what a run or the Batch API wrote",
            )

    def _add_own(self, path: str) -> int | None:
        """The file's number; None when there is none, or nothing that could hold answers."""
        try:
            fd = open_regular(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise MissingInput(f"cannot read '{path}': {reason(error)}") from error
        return None if fd is None else self._add(fd, path)

    def _add(self, fd: int, path: str) -> int:
        file, is_new = self._shelf.add(fd, path)
        if is_new:
            self._scan(file, stop_at_foreign=True)
        return file

    def _scan(self, file: int, *, stop_at_foreign: bool) -> int | None:
        """Remember the answers of a file. Damaged lines among result lines are passed over.

        Returns the number of the first line that is not blank in a file that has no result line
        and no header; there stop_at_foreign ends the search, as the file is in another format.
        """
        foreign = None
        is_ours = False
        for number, (offset, line) in enumerate(self._shelf.lines(file), 1):
            entry = _entry(line, self._match)
            if entry is None:
                if foreign is None and not is_ours and line.strip(b" \t\r"):
                    foreign = number
                    if stop_at_foreign:
                        break
                continue
            is_ours = True
            identity, outcome = entry
            if outcome in self._kept and identity is not None:
                self._remember(identity, pack(file, offset, is_good=outcome in self._good))
        return None if is_ours else foreign

    def _remember(self, identity: str, new: int) -> None:
        key = self._key(identity)
        for old in self._table.find(key):
            entry = _entry(self._line(old), self._match)
            if entry is None or entry.identity != identity:
                continue  # another request whose 8 bytes are the same
            # _entry looks at the ends only: a line damaged in between must not displace a whole one
            if (is_good(new) or not is_good(old)) and _parsed(self._line(new), self._match) is not None:
                self._table.replace(key, old, new)
            return
        self._table.add(key, new)

    def _line(self, place: int) -> bytes:
        file, offset = unpack(place)
        line = self._shelf.line(file, offset).removesuffix(b"\r")
        return line if offset else line.removeprefix(_BOM)


def _expanded(names: Iterable[str]) -> Iterator[str]:
    """The files of --reuse: a name that exists is itself, another may be a pattern. Raises MissingInput."""
    for name in names:
        if os.path.lexists(name) or not glob.has_magic(name):
            yield name
            continue
        found = sorted(glob.glob(name))
        if not found:
            raise MissingInput(f"no file matches '{name}'", place="--reuse")
        yield from found


def _entry(line: bytes, match: Match) -> Entry | None:
    """As _parsed, but of a line as we write it only the ends are read: a third of the time, or less."""
    start = line.rfind(_ABOUT)
    if start < 0 or not line.startswith(_START):
        return _parsed(line, match)
    try:
        about = orjson.loads(line[start + len(_ABOUT) : -1])
        if match == "body":
            return Entry(_word(about["fingerprint"]), _word(about["outcome"]))
        head = _ID.match(line)
        return Entry(orjson.loads(head[1]), _word(about["outcome"])) if head else _parsed(line, match)
    except (ValueError, LookupError, TypeError):  # spaces, a carriage return, keys in another order
        return _parsed(line, match)


def _parsed(line: bytes, match: Match) -> Entry | None:
    """What a result line of a run or of the Batch API says; None for any other line."""
    try:
        record = values.loads(line)
    except NotJSON:
        return None
    if type(record) is not dict:
        return None
    if "chatpipe_journal" in record:
        return _HEADER_ENTRY
    if "response" not in record or not ("custom_id" in record or "error" in record):
        return None
    about = record.get("chatpipe")
    if type(about) is not dict:  # the Batch API's
        about = {"outcome": outcome_of(record["response"])}
    identity = about.get("fingerprint") if match == "body" else record.get("custom_id")
    return Entry(_word(identity), _word(about.get("outcome")))


def _word(value: Value) -> str | None:
    return value if type(value) is str else None


def outcome_of(response: Value) -> str | None:
    """The outcome of the `response` of a Batch API output line; None when it is no answer. Never raises."""
    body = response.get("body") if type(response) is dict else None
    if type(body) is not dict or response.get("status_code") != 200:
        return None
    verdict = judge.verdict(body, allow=frozenset(), text_format=False)
    if verdict is None:
        return "ok"
    return None if verdict.outcome is judge.Outcome.broken else str(verdict.outcome)
