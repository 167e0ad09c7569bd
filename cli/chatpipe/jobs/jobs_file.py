"""FILE.jobs: the state of the jobs of one input file, on the disk before each step that cannot be undone.

A line of JSON is an event of one part, by its token: `planned`, `uploaded`, `creating`, `created`. The last
event of each kind holds. A torn last line is dropped. The file is locked while it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from chatpipe.errors import BadInput, MissingInput
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.part_record import PartRecord, is_sound
from chatpipe.system.atomic import sync_directory
from chatpipe.system.descriptor import cannot_write, close_quietly, write_all
from chatpipe.system.lock import LockPatience, open_locked
from chatpipe.system.regular_file import read_blocks

SUFFIX = ".jobs"
_HEADER = {"chatpipe_jobs": 1}
_LOCK_S = 5.0
_RESTORE = "restore the line, or move the file away"


class JobsFile:
    """The file, open and locked. records has its parts by their tokens, in their order."""

    def __init__(self, path: str, note: Callable[[str], None], *, create: bool) -> None:
        """Raises TryLater if another process has it, BadInput for another kind of file, CannotWrite.

        Without create, MissingInput for a file that is not there.
        """
        self.path = path
        self.records: dict[str, PartRecord] = {}
        patience = LockPatience(note, _LOCK_S)
        access = os.O_RDWR | os.O_APPEND
        try:
            self._descriptor, _ = open_locked(path, access, patience, mode=0o666 if create else None)
        except FileNotFoundError as error:
            what = f"there is no '{path}'"
            raise MissingInput(what, fix="chatpipe jobs submit FILE makes it") from error
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from error
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> JobsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        close_quietly(self._descriptor)

    def with_digest(self, digest: str, server: str) -> PartRecord | None:
        """The newest record of a part with these bytes for this server."""
        found = [
            record
            for record in self.records.values()
            if record.fields.get("sha256") == digest and record.fields.get("server") == server
        ]
        return found[-1] if found else None

    def plan(self, token: str, **fields: Value) -> PartRecord:
        """Add a part."""
        self._append({"event": "planned", "token": token, **fields})
        return self.records[token]

    def note(self, record: PartRecord, event: str, **fields: Value) -> None:
        """Add an event of a part. Once this returns, neither a kill nor a power failure can lose it."""
        self._append({"event": event, "token": record.token, **fields})

    def _append(self, event: dict[str, Value]) -> None:
        try:
            write_all(self._descriptor, values.dumps(event) + b"\n")
            os.fsync(self._descriptor)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._take(event)

    def _read(self) -> None:
        content = b"".join(read_blocks(self._descriptor))
        *lines, torn = content.split(b"\n")
        if lines or torn:
            self._check_header(lines[0] if lines else torn)
        try:
            if torn:
                os.ftruncate(self._descriptor, len(content) - len(torn))
            if not lines:
                write_all(self._descriptor, values.dumps(_HEADER) + b"\n")
                os.fsync(self._descriptor)
                sync_directory(os.path.dirname(os.path.realpath(self.path)))
        except OSError as error:
            raise cannot_write(self.path, error) from error
        for event in self._events(lines[1:]):
            self._take(event)

    def _check_header(self, line: bytes) -> None:
        if values.dumps(_HEADER).startswith(line):  # torn, or whole
            return
        fix = "name another FILE, or move this file away"
        raise BadInput("not a file of jobs", place=f"{self.path}:1", fix=fix)

    def _events(self, lines: list[bytes]) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(lines, 2):
            place = f"{self.path}:{number}"
            try:
                event = values.loads(line)
            except values.NotJSON as error:
                raise BadInput(f"not JSON: {error.what}", place=place, fix=_RESTORE) from error
            if not isinstance(event, dict) or not is_sound(event):
                raise BadInput("not an event of a job", place=place, fix=_RESTORE)
            yield event

    def _take(self, event: dict[str, Any]) -> None:
        token = event.get("token")
        if not isinstance(token, str):
            return
        if event.get("event") == "planned":
            self.records[token] = PartRecord(token, event)
        elif token in self.records:
            self.records[token].take(str(event.get("event")), event)
