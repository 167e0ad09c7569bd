"""Recorded answers: result lines in OUT, in the journal and in the files of --reuse.

The lines stay in their files; memory has only the location of each. A run creates an AnswerIndex once the
Journal is open, calls find before each request, and finally gets the lines for OUT from files.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from chatpipe.batch.journal.acceptance import Acceptance
from chatpipe.batch.journal.damaged_lines import DamagedLines
from chatpipe.batch.journal.journal import Journal, is_header
from chatpipe.batch.journal.recorded_events import RecordedEvents, is_job_event
from chatpipe.batch.journal.recorded_files import RecordedFiles
from chatpipe.batch.journal.reused_answers import ReusedAnswers, expand_patterns, fix_of_foreign
from chatpipe.batch.journal.send_reasons import SendReasons
from chatpipe.errors import BadInput
from chatpipe.inputs.text_decoder import refuse_other_kinds
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import FAILED_TOOLS, PAID
from chatpipe.options.run import ResumeOptions
from chatpipe.response.result_line import LineKey, read_custom_id, read_key, read_result
from chatpipe.system.line_index import (
    SortedIndex,
    is_good,
    is_used,
    mark_used,
    pack_location,
    unpack_location,
)

MatchBy = Literal["body", "id"]

_KEY_MASK = (1 << 64) - 1
_DEFAULTS = ResumeOptions()
_ANY = Acceptance()
_HEADER_ENTRY = LineKey(None, None)  # stands for the header of a journal


class RecordedAnswer(NamedTuple):
    """A recorded answer: its line without the newline, its outcome, and its location."""

    line: bytes
    outcome: str
    location: int


def hash_key(identity: str) -> int:
    """8-byte key of a fingerprint or custom_id, valid only in this process."""
    return hash(identity) & _KEY_MASK


class AnswerIndex:
    """Index of the answers that were paid for, by fingerprint or by custom_id.

    files has the lines by their locations. reused has the answers in the files of --reuse, which are known
    once find() has returned one of them. reasons has the records that are no answers to use, events the
    lines about jobs of the Batch API.
    """

    def __init__(
        self,
        options: ResumeOptions = _DEFAULTS,
        *,
        out: str | None = None,
        journal: Journal | str | None = None,
        match: MatchBy = "body",
        accept: Acceptance = _ANY,
        key: Callable[[str], int] = hash_key,
    ) -> None:
        """Read the files of --reuse, out and the journal. options gives `reuse`, `resend` and `fresh`.

        Of several answers to one request, the newest good one counts. Answers of the same time, or without
        one, are ordered from the oldest: the files of reuse as they are listed, each line by line; then
        out; then the journal. out and journal need not exist, and if they contain something else they have
        no answers. An answer that is good is replaced only by a newer one that is good too. With fresh, the
        files are read and checked, but none of their answers is found.

        Raises MissingInput, and BadInput for a file of reuse that has lines but no result line.
        """
        self._match = match
        self._reusable = PAID - options.resend
        self._resends_failed_tools = FAILED_TOOLS in options.resend
        self._accept = accept
        self._fresh = options.fresh
        self._key = key
        self.files = RecordedFiles()
        self._index = SortedIndex()
        self.reasons = SendReasons(key)
        self._damage = DamagedLines()
        self.reused = ReusedAnswers()
        self.events = RecordedEvents(self.files.lines)
        try:
            self._read_files(options.reuse, out, journal)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Number of requests that have an answer."""
        return len(self._index)

    def find(self, identity: str) -> RecordedAnswer | None:
        """The recorded answer to a request. Compares the whole identity. Raises MissingInput."""
        key = self._key(identity)
        for location in reversed(self._index.find(key)):  # what this run has added comes first
            line = self.files.any_line(location)
            entry = _parsed(line, self._match)
            if entry is None:
                if not is_used(location):
                    self._damage.add(*unpack_location(location))
                    self._index.replace(key, location, mark_used(location))
            elif entry.identity == identity and entry.outcome in PAID:
                if not self.reused.is_known and unpack_location(location)[0] in self.reused.files:
                    self.reused.is_known = True
                return RecordedAnswer(line, entry.outcome, location)
        return None

    def damage_texts(self) -> Iterator[str]:
        """A message for each file of which lines were passed over. Raises MissingInput."""
        return self._damage.texts(self.files.lines)

    def passed_over_texts(self) -> Iterator[str]:
        """A message for each file of --reuse of which answers may not be used, whatever the requests are."""
        return self.reused.passed_over_texts(self.files.lines)

    def mark_used(self, identity: str, found: RecordedAnswer) -> None:
        """Mark an answer that find returned as used, so that unused leaves it out."""
        if not is_used(found.location):
            self._index.replace(self._key(identity), found.location, mark_used(found.location))

    def add(self, identity: str, location: int) -> None:
        """Add an answer that this run appended to the journal, so that find returns it."""
        self._index.add(self._key(identity), mark_used(location))

    def add_unused(self, identity: str, location: int) -> None:
        """Add an answer that this run appended to the journal, and that none of its requests asks for."""
        self._index.add(self._key(identity), location)

    def unused_locations(self) -> array[int]:
        """Locations of the answers in out and the journal that no request used, in file order."""
        own = (self.files.out, self.files.journal)
        locations = (location for location in self._index.values() if not is_used(location))
        return array("Q", sorted(location for location in locations if unpack_location(location)[0] in own))

    def journal_location(self, offset: int, outcome: str) -> int:
        """Location of a line that this run appended to the journal."""
        assert self.files.journal is not None
        return pack_location(self.files.journal, offset, is_good=outcome in self._accept.good)

    def close(self) -> None:
        self.files.close()

    def _read_files(self, reuse: Iterable[str], out: str | None, journal: Journal | str | None) -> None:
        files = self.files
        for path in expand_patterns(reuse):
            self._read_reused(path)
        if out is not None:
            files.out = self._read_own(files.open_own(out))
        if journal is not None:
            opened = files.open_own(journal) if isinstance(journal, str) else files.open_journal(journal)
            files.journal = self._read_own(opened)
        self.events.journal = files.journal

    def _read_reused(self, path: str) -> None:
        file, is_new = self.files.open_reused(path)
        self.reused.files.add(file)
        foreign = self._scan(file, stop_at_foreign=False) if is_new else None
        if foreign is not None:
            refuse_other_kinds(self.files.lines.line(file, 0), path)
            raise BadInput("not a result line", place=f"{path}:{foreign}", fix=fix_of_foreign(path))

    def _read_own(self, opened: tuple[int, bool] | None) -> int | None:
        """Read OUT or the journal. Returns its number, None if there is no such file."""
        if opened is None:
            return None
        file, is_new = opened
        if is_new:
            self._scan(file, stop_at_foreign=True)
        return file

    def _scan(self, file: int, *, stop_at_foreign: bool) -> int | None:
        """Add the answers of a file to the index. Damaged lines among result lines are skipped.

        Returns None if the file has a result line or a header, or is blank. Otherwise returns the
        number of its first line that is not blank. With stop_at_foreign, the scan ends at a first
        line of another kind, because the file is in another format.
        """
        foreign = None
        is_ours = False
        damage = DamagedLines()
        for number, (offset, line) in enumerate(self.files.lines.lines(file), 1):
            entry = _entry(line, self._match)
            if entry is None and is_job_event(line):
                is_ours = True
                self.events.add(file, offset)
                continue
            if entry is None:
                if line.strip(b" \t\r"):
                    if foreign is None and not is_ours:
                        foreign = number
                        if stop_at_foreign:
                            return foreign
                    damage.add(file, offset)
                continue
            is_ours = True
            if entry is _HEADER_ENTRY:
                self.files.add_header(file, offset, line)
            elif self._accept.is_made_up(entry, line):
                if file in self.reused.files and entry.outcome in PAID:
                    self.reused.add_made_up(file)
            else:
                location = pack_location(file, offset, is_good=entry.outcome in self._accept.good)
                self._add_record(entry, location, line)
        if is_ours:
            self._damage.merge(damage)
        return None if is_ours else foreign

    def _add_record(self, entry: LineKey, location: int, line: bytes) -> None:
        """Add an answer that may be used, or what a record is instead."""
        if self._match == "body" and (custom_id := read_custom_id(line)) is not None:
            self.reasons.add_custom_id(custom_id, entry.outcome)
        is_reusable, is_foreign = self._is_reusable(entry), self._accept.is_foreign(entry)
        if (file := unpack_location(location)[0]) in self.reused.files and is_reusable:
            self._count_reused(file, line, is_foreign=is_foreign)
        if entry.identity is None:
            return
        if is_reusable:
            # A request cannot find the answer of another server, but it was paid for and is kept.
            self._add_answer(entry, f" {entry.server}" if is_foreign else "", location)
        if is_foreign or not is_reusable:
            self.reasons.add_request(entry.identity, entry.outcome)

    def _count_reused(self, file: int, line: bytes, *, is_foreign: bool) -> None:
        """Count an answer of a file of --reuse, even one without a fingerprint, as providers write them."""
        if is_foreign:
            self.reused.add_foreign(file)
        else:
            self.reused.add_usable(read_custom_id(line) if self.reused.example is None else None)

    def _is_reusable(self, entry: LineKey) -> bool:
        is_resent = self._fresh or (entry.has_failed_tool and self._resends_failed_tools)
        return entry.outcome in self._reusable and not is_resent

    def _add_answer(self, entry: LineKey, scope: str, new: int) -> None:
        identity = entry.identity
        key = self._key(f"{identity}{scope}")
        for old in self._index.find(key):
            other = _entry(self.files.any_line(old), self._match)
            if other is None or other.identity != identity:
                continue  # another request with the same 8-byte key
            if unpack_location(old)[0] in self.reused.files:
                self.reused.is_known |= unpack_location(new)[0] not in self.reused.files
            is_newer = (is_good(new), entry.ended_at) >= (is_good(old), other.ended_at)
            # _entry reads only the ends of a line: a damaged line must not replace an intact one
            if is_newer and _parsed(self.files.any_line(new), self._match) is None:
                self._damage.add(*unpack_location(new))
            elif is_newer:
                self._index.replace(key, old, new)
            return
        self._index.add(key, new)


def _entry(line: bytes, match: MatchBy) -> LineKey | None:
    """Like _parsed, but reads only the ends of a line that we wrote."""
    return read_key(line, by_id=match == "id") or _parsed(line, match)


def _parsed(line: bytes, match: MatchBy) -> LineKey | None:
    """The entry of a result line of a run or of the Batch API; None for any other line."""
    found = read_result(line)
    if found is None:
        return _HEADER_ENTRY if is_header(line) else None
    return found.key(by_id=match == "id")
