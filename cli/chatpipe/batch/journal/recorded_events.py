"""The lines of a journal about jobs of the Batch API. batch/provider_jobs/job_journal.py writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.jobs.part_record import is_sound
from chatpipe.system.line_index import LineFiles

# The first key of such a line.
JOB_EVENT = "chatpipe_job"
_START = b'{"chatpipe_job":'
# Those of the lines of a part, 32 digits each. Possessive: there may be 50,000.
_FINGERPRINTS = re.compile("(?:[0-9a-f]{32})*+")


def is_job_event(line: bytes) -> bool:
    return line.startswith(_START)


class RecordedEvents:
    """The events in the files of a run, which stay where they are. journal is the number of its journal."""

    def __init__(self, files: LineFiles) -> None:
        self.journal: int | None = None
        self._files = files
        self._locations: list[tuple[int, int]] = []  # files and offsets

    def __bool__(self) -> bool:
        return bool(self._locations)

    def add(self, file: int, offset: int) -> None:
        self._locations.append((file, offset))

    def of_journal(self) -> Iterator[dict[str, Value]]:
        """The events in the journal, oldest first.

        Raises MissingInput, and BadInput for one that somebody has changed.
        """
        for file, offset, event in self._all():
            if file != self.journal:
                continue
            if not is_sound(event) or not _FINGERPRINTS.fullmatch(str(event.get("fingerprints", ""))):
                raise BadInput(
                    "a line about a job was changed",
                    place=f"{self._files.name(file)}:{self._files.number(file, offset)}",
                    fix="restore the line, or give the job up with another --journal",
                )
            yield event

    def of_reused(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """The events in the files of --reuse, each with the name of its file. Raises MissingInput."""
        return ((self._files.name(file), event) for file, _, event in self._all() if file != self.journal)

    def _all(self) -> Iterator[tuple[int, int, dict[str, Value]]]:
        for file, offset in self._locations:
            with suppress(NotJSON):
                event = values.loads(self._files.line(file, offset))
                if isinstance(event, dict):
                    yield file, offset, event
