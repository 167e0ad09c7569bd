"""Recorded answers that a finished run did not use, kept when OUT is replaced and the journal removed.

They were paid for, and belong to lines that were removed or edited, or are beyond --limit.
"""

from __future__ import annotations

from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.journal.journal import Journal
from chatpipe.errors import quantity


class UnusedAnswers:
    """Unused answers in OUT and in the journal. Call save(), replace OUT, then call finish()."""

    def __init__(self, recorded: AnswerIndex, journal: Journal) -> None:
        self._recorded = recorded
        self._journal = journal
        self._locations = recorded.unused_locations()
        self._new = 0  # answers that no earlier finished run left over

    def save(self) -> None:
        """Copy the answers that are only in OUT to the journal. Raises CannotWrite."""
        for index, location in enumerate(self._locations):
            self._new += not self._recorded.files.was_unused(location)
            if not self._recorded.files.is_in_journal(location):
                line = self._recorded.files.line(location)
                self._locations[index] = self._recorded.journal_location(self._journal.append(line), "")
        self._journal.sync()

    def finish(self, *, whole: bool) -> str | None:
        """Reduce the journal to the unused answers, or remove it if there are none.

        With whole, keep all of it. Returns a message for the user, or None.
        """
        if whole:
            self._journal.finish()
        elif self._locations:
            self._journal.compact(self._recorded.files.blocks(self._locations))
        else:
            self._journal.remove()
        if not self._new:
            return None
        answers = quantity(self._new, "answer")
        what = f"kept {answers} that no line of the input asks for in '{self._journal.path}'"
        return f"{what}: --no-keep-journal drops them"
