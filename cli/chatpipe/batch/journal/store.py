"""The store of a run: answers recorded before it, the journal that it writes, the order of its lines."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answer_files import AnswerFiles, open_answer_files, open_earlier_answers
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.resent_mismatches import ResentMismatches, open_resent_mismatches
from chatpipe.batch.journal.send_reasons import SendReason
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import CannotWrite, quantity
from chatpipe.inputs import values
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import PAID
from chatpipe.request import fingerprint as fingerprints
from chatpipe.request.fingerprint import OccurrenceCounter
from chatpipe.response.result_line import ResultLine
from chatpipe.server.identity import model_scope, path_names_model
from chatpipe.system.escape import shorten

_BY_ID = "--match id takes those whose custom_id is the same"


class StoreOptions(NamedTuple):
    """Options of a store.

    scope is a part of the fingerprints of requests without a model, and with scopes_all of all requests,
    because the server then decides the model. Identical bodies have different fingerprints, unless dedupe
    gives all of them one answer. keeps_order is set if the result lines are read again in input order.
    With keeps_all, answers that are in OUT are copied to the journal too; answers from --reuse always
    are. is_shard is true if other processes answer other lines of the input.
    """

    scope: str
    scopes_all: bool = False
    dedupe: bool = False
    keeps_order: bool = False
    keeps_all: bool = False
    is_shard: bool = False


@contextmanager
def open_store(spec: RunSpec, *, is_dry: bool = False) -> Iterator[RunStore]:
    """Open the store of a run, with its files. Raises CannotWrite, MissingInput and BadInput.

    is_dry: nothing is recorded, and no file is made.
    """
    options = StoreOptions(
        scope=model_scope(spec.endpoint),
        scopes_all=any(map(path_names_model, spec.endpoints)),
        dedupe=spec.input.dedupe,
        keeps_order=spec.writes_at_the_end,
        keeps_all=not spec.run_format.writes_result_lines,
        is_shard=spec.input.shard is not None,
    )
    with open_earlier_answers(spec) if is_dry else open_answer_files(spec) as files:
        yield RunStore(files, options, open_resent_mismatches(spec))


class _Fault(NamedTuple):
    """The first fault of the journal, which is the one that is reported, and its text."""

    fault: CannotWrite
    what: str


class RunStore:
    """Recorded and new answers of one run; it has neither without a journal, --reuse and --dedupe.

    has_answers is true if has_answer() can find one. send_reasons, by line number, say why lines without an
    answer are sent that are not new. Who counts the result of a line removes its reason.
    """

    def __init__(
        self, files: AnswerFiles, options: StoreOptions, resent: ResentMismatches | None = None
    ) -> None:
        self.files = files
        self._resent = resent
        self._journal, self._recorded, self._by_id = files
        # Called for each request
        self.make_room = _need_no_room if self._journal is None else self._journal.make_room
        self._scope = options.scope
        self._scopes_all = options.scopes_all
        self._keeps_all = options.keeps_all
        self._dedupe = options.dedupe
        counts_occurrences = (files.recorded is not None or options.is_shard) and not options.dedupe
        self._occurrences = OccurrenceCounter() if counts_occurrences else None
        # Location of the result of each line, in input order, in 8 bytes. 0 if there is none yet.
        self._locations: array[int] | None = array("Q") if options.keeps_order else None
        self._found: dict[int, RecordedAnswer] = {}  # by line number
        self._has_records = files.recorded is not None and files.recorded.has_records
        self.has_answers = any(len(each) for each in (files.recorded, files.by_id) if each is not None)
        self.send_reasons: dict[int, SendReason] = {}
        self._finds_answers = self.has_answers or options.dedupe
        self._have_changed = False  # lines whose own custom_id had another request
        self._example_id: str | None = None  # the first that was looked up
        self._lost: list[int] = []  # lines whose answers could not be recorded
        self._first_fault: _Fault | None = None

    def fingerprint(self, item: Item) -> str:
        """Fingerprint of a request, which must be asked for once: identical bodies are counted.

        They share one if no answers are looked up, because counting them takes memory.
        """
        if item.fingerprint:
            return item.fingerprint
        assert item.body is not None
        digest = fingerprints.body_digest(item.body)
        occurrence = 1 if self._occurrences is None else self._occurrences.count(digest)
        is_scoped = self._scopes_all or not item.body.get("model")
        return fingerprints.fingerprint_of(digest, self._scope if is_scoped else None, occurrence)

    def has_answer(self, item: Item, fingerprint: str) -> bool:
        """Return True if an item has an answer that was recorded before this run. Takes no note of it."""
        if self._recorded is None or not self.has_answers:
            return False
        found = self._recorded.find(fingerprint) or self._find_by_id(item)
        return found is not None and not self._is_resent(item, fingerprint, found)

    def reason(self, item: Item, fingerprint: str) -> SendReason:
        """The reason why an item without an answer is sent."""
        recorded, by_id = self._recorded, self._by_id
        if recorded is None or not self._has_records:
            return SendReason.new
        if self._resent is not None and (recorded.find(fingerprint) or self._find_by_id(item)):
            return SendReason.resent  # an answer that is used has no reason
        found = recorded.reason(fingerprint)
        if found is None and by_id is not None and item.has_own_id:
            found = by_id.reason(item.custom_id)
        reason = found or recorded.reason_by_id(item.custom_id) or SendReason.new
        if reason is SendReason.changed and item.has_own_id:
            self._have_changed = True
        return reason

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        """The recorded answer to an item. With dedupe it may be from another line of this run."""
        if self._recorded is None:
            return None
        found = self._recorded.find(fingerprint) if self._finds_answers else None
        if found is None:
            return self._missed(item, fingerprint) if self._has_records else None
        self._recorded.mark_used(fingerprint, found)
        if self._is_resent(item, fingerprint, found):
            self.send_reasons[item.line] = SendReason.resent
            return None
        self._found[item.line] = found
        return found

    def reused_in_vain_text(self) -> str:
        """A message if no answer of --reuse is to a request of this run, once all lines were looked up."""
        count = self.files.reused_in_vain
        if not count:
            return ""
        what = f"--reuse: none of the {quantity(count, 'answer')} is to a request of this run"
        if self._by_id is None:
            return f"{what}: {_BY_ID}" if self._have_changed else what
        theirs, ours = self._by_id.reused.example, self._example_id
        if theirs is None:
            return what
        ours_text = "no line of the input has one" if ours is None else f"the input has {_quoted(ours)}"
        return f"{what}: the custom_id of one is {_quoted(theirs)}, {ours_text}"

    @property
    def has_journal(self) -> bool:
        """True if results are recorded in a journal."""
        return self._journal is not None

    def record(self, number: int, result: Result) -> None:
        """Append a result to the journal before it is counted.

        An identical line that is recorded already stays where it is. number is the position of the
        item in the input, from 0.
        """
        found = self._found.pop(result.item.line, None) if self._found else None
        if self._journal is None or self._recorded is None:
            return
        if found is not None and found.line == result.line and self._is_safe(found):
            location = found.location
        else:
            # The provider keeps the result of a job until the journal says that it is collected. With dedupe,
            # it may be read again before the block is written.
            is_safe = result.in_job and not self._dedupe
            offset = self._journal.append_later(result.line) if is_safe else self._append(result)
            location = self._recorded.journal_location(offset, result.outcome)
        if self._dedupe and result.outcome in PAID and result.latency_s is not None:
            self._recorded.add(result.fingerprint, location)
        if self._locations is not None:
            if number >= len(self._locations):
                self._locations.extend([0] * (number + 1 - len(self._locations)))
            self._locations[number] = location

    def keep(self, result: Result) -> None:
        """Append a result of a job to a line that this run does not have. Raises CannotWrite."""
        assert self._journal is not None
        assert self._recorded is not None
        offset = self._journal.append_later(result.line)
        location = self._recorded.journal_location(offset, result.outcome)
        self._recorded.add_unused(result.fingerprint, location)

    def blocks(self) -> Iterator[bytes]:
        """The result lines in input order, as AnswerIndex.blocks(). Needs keeps_order, and a result each.

        Raises CannotWrite and MissingInput.
        """
        assert self._journal is not None
        assert self._recorded is not None
        assert self._locations is not None
        self._journal.flush()
        return self._recorded.blocks(self._locations)

    def _append(self, result: Result) -> int:
        """Append a result to the journal. Raises CannotWrite, which says which answers are lost."""
        assert self._journal is not None
        try:
            return self._journal.append(result.line)
        except CannotWrite as fault:
            if result.outcome in PAID and result.latency_s is not None:
                self._lost.append(result.item.line)
                first = self._first_fault = self._first_fault or _Fault(fault, fault.what)
                first.fault.what = f"{first.what}: {_lost_text(self._lost)}"
            raise

    def _is_safe(self, found: RecordedAnswer) -> bool:
        """Return True if the next run will find a recorded answer where it is.

        OUT may be about to be replaced by texts only, and the next run may not name the files of
        --reuse.
        """
        assert self._recorded is not None
        if self._recorded.is_in_journal(found.location):
            return True
        return not self._keeps_all and self._recorded.is_in_out(found.location)

    def _missed(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        """The answer to an item whose request has none. Without one, its reason is noted."""
        found = self._by_own_id(item)
        if found is not None and self._is_resent(item, fingerprint, found):
            found = None
        if found is None and (reason := self.reason(item, fingerprint)) is not SendReason.new:
            self.send_reasons[item.line] = reason
        return found

    def _by_own_id(self, item: Item) -> RecordedAnswer | None:
        """The answer recorded under the item's own custom_id.

        Its location belongs to by_id, not to recorded, so it is not put into _found.
        """
        assert self._recorded is not None
        found = self._find_by_id(item)
        if found is not None:
            fingerprint = ResultLine(values.loads(found.line)).fingerprint or ""
            if (same := self._recorded.find(fingerprint)) is not None:
                self._recorded.mark_used(fingerprint, same)
        return found

    def _find_by_id(self, item: Item) -> RecordedAnswer | None:
        """The answer recorded under the item's own custom_id, with --match id. Takes no note of it."""
        if self._by_id is None or not item.has_own_id:
            return None
        if self._example_id is None:
            self._example_id = item.custom_id
        return self._by_id.find(item.custom_id)

    def _is_resent(self, item: Item, fingerprint: str, found: RecordedAnswer) -> bool:
        """Return True if an answer is a mismatch in this run, and --resend sends those again."""
        return self._resent is not None and self._resent.has(item, fingerprint, found)


def _quoted(custom_id: str) -> str:
    return f"'{shorten(custom_id)}'"


def _need_no_room(answers: int) -> None:
    """The answers go to an output alone."""


def _lost_text(lines: list[int]) -> str:
    if len(lines) == 1:
        return f"the answer to line {lines[0]} is lost"
    return f"the answers to {len(lines)} lines are lost, the first is line {lines[0]}"
