"""The files of --reuse: their names, and the answers in them that a run may use, or may not."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from chatpipe.errors import MissingInput, quantity
from chatpipe.options.run import JOURNAL_SUFFIX
from chatpipe.system.line_index import LineFiles


class ReusedAnswers:
    """The answers in the files of --reuse: the number of those that may be used, and by file of those not.

    files are the numbers of the files. is_known: an answer to use belongs to a request of this run, or is
    recorded in OUT or the journal, too. example is the custom_id of one that may be used.
    """

    def __init__(self) -> None:
        self.files: set[int] = set()
        self.is_known = False
        self.example: str | None = None
        self._usable = 0
        self._made_up: Counter[int] = Counter()
        self._foreign: Counter[int] = Counter()

    @property
    def in_vain(self) -> int:
        """The number of answers that may be used; 0 if one of them is known."""
        return 0 if self.is_known else self._usable

    def add_usable(self, custom_id: str | None) -> None:
        """Count an answer that may be used, under this custom_id."""
        self._usable += 1
        if self.example is None:
            self.example = custom_id

    def add_made_up(self, file: int) -> None:
        """Count an answer of the built-in model, which a run takes from its own server alone."""
        self._made_up[file] += 1

    def add_foreign(self, file: int) -> None:
        """Count an answer that --same-server refuses."""
        self._foreign[file] += 1

    def passed_over_texts(self, files: LineFiles) -> Iterator[str]:
        """A message for each file of which answers may not be used, whatever the requests are."""
        for file, count in self._made_up.items():
            what = f"passed over {quantity(count, 'answer')} of the built-in model"
            yield f"{files.name(file)}: {what}: a run uses those of its own server only"
        for file, count in self._foreign.items():
            what = f"passed over {quantity(count, 'answer')} of other servers"
            yield f"{files.name(file)}: {what}, because of --same-server"


def expand_patterns(names: Iterable[str]) -> Iterator[str]:
    """The files of --reuse, with patterns expanded. A name that exists is not taken as a pattern.

    Raises MissingInput.
    """
    for name in names:
        if os.path.lexists(name) or not glob.has_magic(name):
            yield name
            continue
        paths = sorted(glob.glob(name))
        if not paths:
            raise MissingInput(f"no file matches '{name}'", place="--reuse")
        yield from paths


def fix_of_foreign(path: str) -> str:
    """The advice for a file without result lines: its journal, if it is the output of `map`."""
    journal = f"{path}{JOURNAL_SUFFIX}"
    if not os.path.isfile(journal):
        return "--reuse takes what a run or the Batch API wrote"
    import shlex  # takes 3 ms, and few runs need it

    return f"name its journal with --reuse {shlex.quote(journal)}"
