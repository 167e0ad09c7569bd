"""The store of a run: answers are looked up in it, results are recorded, and read again in input order."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answer_files import AnswerFiles, open_answer_files, open_earlier_answers
from chatpipe.batch.journal.answer_lookup import AnswerLookup
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.line_fingerprints import LineFingerprints
from chatpipe.batch.journal.resent_mismatches import ResentMismatches, open_resent_mismatches
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import CannotWrite
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import PAID
from chatpipe.server.identity import model_scope, path_names_model


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
def open_store(spec: RunSpec) -> Iterator[RunStore]:
    """Open the store of a run, with its files. Raises CannotWrite, MissingInput and BadInput."""
    with open_answer_files(spec) as files:
        yield _create_store(spec, files)


@contextmanager
def open_dry_store(spec: RunSpec) -> Iterator[RunStore]:
    """Open the store of a run that records nothing and makes no file. Raises MissingInput and BadInput."""
    with open_earlier_answers(spec) as files:
        yield _create_store(spec, files)


def _create_store(spec: RunSpec, files: AnswerFiles) -> RunStore:
    options = StoreOptions(
        scope=model_scope(spec.endpoint),
        scopes_all=any(map(path_names_model, spec.endpoints)),
        dedupe=spec.input.dedupe,
        keeps_order=spec.writes_at_the_end,
        keeps_all=not spec.run_format.properties.writes_result_lines,
        is_shard=spec.input.shard is not None,
    )
    return RunStore(files, options, open_resent_mismatches(spec))


class RunStore:
    """The store of one run; it has neither recorded nor new answers without a journal, --reuse and --dedupe.

    It is the AnswerStore of a driver: see driver.py.
    """

    def __init__(
        self, files: AnswerFiles, options: StoreOptions, resent: ResentMismatches | None = None
    ) -> None:
        self.files = files
        self._journal, self._recorded, _ = files
        self.lookup = AnswerLookup(files, resent, dedupe=options.dedupe)
        fingerprints = LineFingerprints(
            options.scope,
            scopes_all=options.scopes_all,
            # Counting takes memory, and serves to look answers up.
            counts_occurrences=(files.recorded is not None or options.is_shard) and not options.dedupe,
        )
        # Called for each request
        self.fingerprint = fingerprints.of
        self.find_answer = self.lookup.find
        self.find_plain = _find_none
        self.make_room = _need_no_room if self._journal is None else self._journal.make_room
        self._keeps_all = options.keeps_all
        self._dedupe = options.dedupe
        # Location of the result of each line, in input order, in 8 bytes. 0 if there is none yet.
        self._locations: array[int] | None = array("Q") if options.keeps_order else None
        self._lost = _LostAnswers()

    @property
    def has_journal(self) -> bool:
        """True if results are recorded in a journal."""
        return self._journal is not None

    def record(self, number: int, result: Result) -> None:
        """Append a result to the journal before it is counted.

        An identical line that is recorded already stays where it is. number is the position of the
        item in the input, from 0.
        """
        notes = self.lookup.found
        found = notes.pop(result.item.line, None) if notes else None
        if self._journal is None or self._recorded is None:
            return
        if found is not None and found.line == result.line and self._is_safe(found):
            location = found.location
        else:
            # The provider keeps the result of a job until the journal says that it is collected. With dedupe,
            # it may be read again before the block is written.
            is_safe = result.in_job and not self._dedupe
            offset = next(self._journal.append_later([result.line])) if is_safe else self._append(result)
            location = self._recorded.journal_location(offset, result.outcome)
        if self._dedupe and result.outcome in PAID and result.latency_s is not None:
            self._recorded.add(result.fingerprint, location)
        if (locations := self._locations) is not None:
            if number == len(locations):  # as in the order of the input
                locations.append(location)
                return
            if number > len(locations):
                locations.extend([0] * (number + 1 - len(locations)))
            locations[number] = location

    def record_all(self, number: int, results: Sequence[Result]) -> None:
        """Append the results of jobs to the journal, as record() does one by one. Raises CannotWrite.

        number is the position of the first, and everything before it is recorded. None has an earlier record.
        """
        assert self._journal is not None
        assert self._recorded is not None
        offsets = self._journal.append_later([result.line for result in results])
        if self._locations is not None:
            assert number == len(self._locations)
            locate = self._recorded.journal_location
            self._locations.extend(map(locate, offsets, (result.outcome for result in results)))

    def keep(self, result: Result) -> None:
        """Append a result of a job to a line that this run does not have. Raises CannotWrite."""
        assert self._journal is not None
        assert self._recorded is not None
        (offset,) = self._journal.append_later([result.line])
        location = self._recorded.journal_location(offset, result.outcome)
        self._recorded.add_unused(result.fingerprint, location)

    def blocks(self) -> Iterator[bytes]:
        """The result lines in input order, as RecordedFiles.blocks(). Needs keeps_order, and a result each.

        Raises CannotWrite and MissingInput.
        """
        assert self._journal is not None
        assert self._recorded is not None
        assert self._locations is not None
        self._journal.flush()
        return self._recorded.files.blocks(self._locations)

    def _append(self, result: Result) -> int:
        """Append a result to the journal. Raises CannotWrite, which says which answers are lost."""
        assert self._journal is not None
        try:
            return self._journal.append(result.line)
        except CannotWrite as fault:
            if result.outcome in PAID and result.latency_s is not None:
                self._lost.add(result.item.line, fault)
            raise

    def _is_safe(self, found: RecordedAnswer) -> bool:
        """Return True if the next run will find a recorded answer where it is.

        OUT may be about to be replaced by texts only, and the next run may not name the files of
        --reuse.
        """
        assert self._recorded is not None
        if self._recorded.files.is_in_journal(found.location):
            return True
        return not self._keeps_all and self._recorded.files.is_in_out(found.location)


class _LostAnswers:
    """The answers that could not be recorded. The first fault, which is the one reported, says which."""

    def __init__(self) -> None:
        self._lines: list[int] = []
        self._fault: CannotWrite | None = None
        self._what = ""  # of that fault alone

    def add(self, line: int, fault: CannotWrite) -> None:
        """Add the answer to a line, which fault has lost."""
        self._lines.append(line)
        if self._fault is None:
            self._fault, self._what = fault, fault.what
        lost = f"the answer to line {line} is lost"
        if len(self._lines) > 1:
            lost = f"the answers to {len(self._lines)} lines are lost, the first is line {self._lines[0]}"
        self._fault.what = f"{self._what}: {lost}"


def _need_no_room(answers: int) -> None:
    """The answers go to an output alone."""


def _find_none(items: Sequence[Item]) -> None:
    """No job has answered."""
