"""The files of a run that hold answers: the journal that it writes, and those with earlier answers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from chatpipe.batch.journal.acceptance import Acceptance
from chatpipe.batch.journal.answers import AnswerIndex, MatchBy
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import MissingInput
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.identity import comparable_name
from chatpipe.system.regular_file import mode_of


class AnswerFiles(NamedTuple):
    """The open files. recorded finds answers by request, by_id, with `--match id`, by custom_id."""

    journal: Journal | None = None
    recorded: AnswerIndex | None = None
    by_id: AnswerIndex | None = None

    @property
    def reused_in_vain(self) -> int:
        """The number of usable answers in the files of --reuse, 0 if one of them was found."""
        return min(
            (each.reused.in_vain for each in (self.recorded, self.by_id) if each is not None), default=0
        )


@contextmanager
def open_answer_files(spec: RunSpec) -> Iterator[AnswerFiles]:
    """Open the files of a run. Raises CannotWrite, MissingInput and BadInput."""
    with ExitStack() as stack:
        journal = _open_journal(spec, stack)
        recorded = _open_recorded(spec, journal, "body", stack)
        by_id = _open_recorded(spec, journal, "id", stack) if spec.resume.match == "id" else None
        yield AnswerFiles(journal, recorded, by_id)


@contextmanager
def open_earlier_answers(spec: RunSpec) -> Iterator[AnswerFiles]:
    """Open the files with earlier answers, for a run that sends nothing. Raises MissingInput and BadInput."""
    with ExitStack() as stack:
        recorded = _open_recorded(spec, spec.journal_path, "body", stack)
        by_id = _open_recorded(spec, spec.journal_path, "id", stack) if spec.resume.match == "id" else None
        yield AnswerFiles(None, recorded, by_id)


def _open_journal(spec: RunSpec, stack: ExitStack) -> Journal | None:
    """The named journal, the one beside OUT, or for --dedupe a temporary one."""
    path = spec.journal_path
    if path is None and spec.input.dedupe:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="chatpipe-", ignore_cleanup_errors=True)
        )
        path = os.path.join(folder, "journal")
    if path is None:
        return None
    return stack.enter_context(Journal(path, mode=mode_of(spec.output.path), notice=spec.console.note))


def _open_recorded(
    spec: RunSpec, journal: Journal | str | None, match: MatchBy, stack: ExitStack
) -> AnswerIndex | None:
    if journal is None and not spec.resume.reuse:
        return None
    recorded = AnswerIndex(
        spec.resume,
        out=spec.output.path if spec.writes_at_the_end else None,
        journal=journal,
        match=match,
        accept=Acceptance(
            good=spec.allow | {"ok"},
            servers=frozenset(map(comparable_name, spec.server_names)),
            same_server=spec.resume.same_server,
        ),
    )
    if match == "body":  # the other index has read the same files
        for text in recorded.passed_over_texts():
            spec.console.note(text)
    stack.callback(recorded.close)
    stack.callback(_note_damage, spec, recorded)
    return recorded


def _note_damage(spec: RunSpec, recorded: AnswerIndex) -> None:
    with suppress(MissingInput):
        for text in recorded.damage_texts():
            spec.console.note(text)
