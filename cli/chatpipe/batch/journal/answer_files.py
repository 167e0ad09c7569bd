"""The files of a run that hold answers: the journal that it writes, and those with earlier answers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from chatpipe.batch.job import Job
from chatpipe.batch.journal.acceptance import Acceptance
from chatpipe.batch.journal.answers import AnswerIndex, MatchBy
from chatpipe.batch.journal.journal import Journal
from chatpipe.errors import MissingInput
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.identity import comparable_name


class AnswerFiles(NamedTuple):
    """The open files. recorded finds answers by request, by_id, with `--match id`, by custom_id."""

    journal: Journal | None = None
    recorded: AnswerIndex | None = None
    by_id: AnswerIndex | None = None


@contextmanager
def open_answer_files(job: Job) -> Iterator[AnswerFiles]:
    """Open the files of a run. Raises CannotWrite, MissingInput and BadInput."""
    with ExitStack() as stack:
        journal = _open_journal(job, stack)
        recorded = _open_recorded(job, journal, "body", stack)
        by_id = _open_recorded(job, journal, "id", stack) if job.resume.match == "id" else None
        yield AnswerFiles(journal, recorded, by_id)


@contextmanager
def open_earlier_answers(job: Job) -> Iterator[AnswerFiles]:
    """Open the files with earlier answers, for a run that sends nothing. Raises MissingInput and BadInput."""
    with ExitStack() as stack:
        recorded = _open_recorded(job, job.journal_path, "body", stack)
        by_id = _open_recorded(job, job.journal_path, "id", stack) if job.resume.match == "id" else None
        yield AnswerFiles(None, recorded, by_id)


def _open_journal(job: Job, stack: ExitStack) -> Journal | None:
    """The named journal, the one beside OUT, or for --dedupe a temporary one."""
    path = job.journal_path
    if path is None and job.input.dedupe:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="chatpipe-", ignore_cleanup_errors=True)
        )
        path = os.path.join(folder, "journal")
    return None if path is None else stack.enter_context(Journal(path, notice=job.console.note))


def _open_recorded(
    job: Job, journal: Journal | str | None, match: MatchBy, stack: ExitStack
) -> AnswerIndex | None:
    if journal is None and not job.resume.reuse:
        return None
    recorded = AnswerIndex(
        job.resume,
        out=job.target.path if job.writes_at_the_end else None,
        journal=journal,
        match=match,
        accept=Acceptance(
            good=job.allow | {"ok"},
            servers=frozenset(map(comparable_name, job.server_names)),
            same_server=job.resume.same_server,
        ),
    )
    stack.callback(recorded.close)
    stack.callback(_note_damage, job, recorded)
    return recorded


def _note_damage(job: Job, recorded: AnswerIndex) -> None:
    with suppress(MissingInput):
        for text in recorded.damage_texts():
            job.console.note(text)
