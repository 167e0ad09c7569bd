"""What was answered before, found again: result lines in OUT, in the journal and in the files of --reuse.

The lines stay where they are; in memory is where each begins. Load Recorded when the Journal is
open; ask `find` before each request; in the end `lines` gives them for OUT.
"""

from __future__ import annotations

import glob
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import orjson

from chatpipe.batch.index import Shelf, Table, is_good, is_used, open_regular, pack, unpack, used
from chatpipe.batch.journal import Journal
from chatpipe.batch.results import PAID
from chatpipe.errors import BadInput, MissingInput, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response import judge

Match = Literal["body", "id"]

# The object that our result lines end with, found without parsing what is before it: inside a string
# its quotes would be escaped, and inside another object more than one brace would follow.
_START = b'{"id":"'
_ABOUT = b'"chatpipe":'
_ID = re.compile(rb'\{"id":"[^"\\]*","custom_id":("[^"\\]*(?:\\.[^"\\]*)*"),')
_BOM = b"\xef\xbb\xbf"
_KEY_MASK = (1 << 64) - 1


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
    return hash(identity) & _KEY_MASK


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
        fresh: bool = False,
        key: Callable[[str], int] = key_of,
    ) -> None:
        """Read all that was recorded; of the answers to one request the newest that is good counts.

        From the oldest: the files of reuse in their order, each in the order of its lines, then
        out, then the journal. A name in reuse may be a pattern. out and journal need not exist, or
        may hold something else: then they hold no answers. resend: outcomes that are to be bought
        again. good: outcomes that no later answer displaces unless it is good as well. fresh: the
        files are looked through as ever, but nothing in them is found.

        Raises MissingInput, and BadInput for a file in reuse that has lines, but no result line.
        """
        self._match = match
        self._kept = PAID - resend
        self._good = good
        self._fresh = fresh
        self._key = key
        self._shelf = Shelf()
        self._table = Table()
        self._headers: dict[int, int] = {}  # of each file the offset of its last one
        self._out: int | None = None
        self._journal: int | None = None
        try:
            for path in expanded(reuse):
                self._add_reused(path)
            if out is not None:
                self._out = self._add_own(out)
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
            if entry is not None and entry.identity == identity and entry.outcome in PAID:
                return Found(line, entry.outcome, place)
        return None

    def use(self, identity: str, found: Found) -> None:
        """Note that the run has a use for what find has found: it is not one of unused."""
        if not is_used(found.place):
            self._table.replace(self._key(identity), found.place, used(found.place))

    def learn(self, identity: str, place: int) -> None:
        """Let find know an answer that was appended after load."""
        self._table.add(self._key(identity), used(place))

    def unused(self) -> array[int]:
        """The places of the answers in out and in the journal that no request asked for, in their order."""
        mine = (self._out, self._journal)
        places = (place for place in self._table.values() if not is_used(place))
        return array("Q", sorted(place for place in places if unpack(place)[0] in mine))

    def place(self, offset: int, outcome: str) -> int:
        """The place of a line that was appended to the journal after load."""
        assert self._journal is not None
        return pack(self._journal, offset, is_good=outcome in self._good)

    def is_in_journal(self, place: int) -> bool:
        """Whether a line is in the journal of this run, which stays where it is."""
        return self._journal is not None and unpack(place)[0] == self._journal

    def is_in_out(self, place: int) -> bool:
        """Whether a line is in OUT, which stays until it is replaced."""
        return self._out is not None and unpack(place)[0] == self._out

    def is_of_finished_run(self, place: int) -> bool:
        """Whether a line of the journal stands above the mark of Journal.keep_only."""
        file, offset = unpack(place)
        return file == self._journal and offset < self._headers.get(file, 0)

    def lines(self, places: Iterable[int]) -> Iterator[bytes]:
        """The lines at places, as they are, in that order: 8 bytes a line keep OUT's order."""
        return map(self._line, places)

    def purchases(self) -> Iterator[dict[str, Value]]:
        """The result lines of the journal, oldest first, failures too, each of what was bought once.

        An answer may stand there several times, under the names of lines that moved or are equal. What
        comes before the mark of a finished run (see Journal.keep_only) is not of this job, nor is what
        was copied from a file of reuse.
        """
        if self._journal is None:
            return
        seen = Table("I")
        reused = (file for file in range(len(self._shelf)) if file not in (self._out, self._journal))
        for key, _ in chain.from_iterable(map(self._sales, reused)):
            if not seen.find(key):
                seen.add(key, 0)
        for key, record in self._sales(self._journal, self._headers.get(self._journal, 0)):
            if not seen.find(key):
                seen.add(key, 0)
                yield record

    def close(self) -> None:
        self._shelf.close()

    def _sales(self, file: int, start: int = 0) -> Iterator[tuple[int, dict[str, Value]]]:
        """The result lines of a file, each with 8 bytes for what was bought, whichever line it was for."""
        for _, line in self._shelf.lines(file, start):
            entry = _parsed(line, self._match)
            if entry is None or entry is _HEADER_ENTRY:
                continue
            record: dict[str, Value] = values.loads(line)
            about = record.get("chatpipe") or {}
            sale = {**about, "line": None, "outcome": entry.outcome, "response": record["response"]}
            yield hash(values.dumps(sale)) & _KEY_MASK, record

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
            if entry is _HEADER_ENTRY:
                self._headers[file] = offset
            identity, outcome = entry
            if outcome in self._kept and identity is not None and not self._fresh:
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


def expanded(names: Iterable[str]) -> Iterator[str]:
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
