"""Answers that no line of a finished run asked for: OUT is replaced, and the journal goes, but they stay.

They belong to lines that were removed or edited, or are beyond --limit, and were paid for.
"""

from __future__ import annotations

from chatpipe.batch.journal import Journal
from chatpipe.batch.recorded import Recorded


class Leftovers:
    """What is left over in OUT and in the journal. Order: save, replace OUT, settle."""

    def __init__(self, recorded: Recorded, journal: Journal) -> None:
        self._recorded = recorded
        self._journal = journal
        self._places = recorded.unused()
        self._new = 0  # that no run before this one left over

    def save(self) -> None:
        """Copy to the journal what is in OUT alone. Raises CannotWrite."""
        for at, place in enumerate(self._places):
            self._new += not self._recorded.is_of_finished_run(place)
            if not self._recorded.is_in_journal(place):
                line = next(self._recorded.lines([place]))
                self._places[at] = self._recorded.place(self._journal.append(line), "")
        self._journal.sync()

    def settle(self, *, whole: bool) -> str | None:
        """Leave a journal with nothing but them, or none; whole: as it is. Returns what there is to say."""
        if whole:
            self._journal.close()
        elif self._places:
            self._journal.keep_only(self._recorded.lines(self._places))
        else:
            self._journal.remove()
        if not self._new:
            return None
        answers = "1 answer" if self._new == 1 else f"{self._new} answers"
        what = f"kept {answers} that no line of the input asks for in '{self._journal.path}'"
        return f"{what}: --no-keep-journal drops them"
