"""The result files of jobs -> their lines: in the order of the input if it is known, else as they come.

Each line is decided by itself, never by its file. Of several results of one custom_id the first good one
counts. Each gets a last member that names the server. An index of the lines is kept, and no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.splice import set_fields
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.result_file import is_good_record, lines_of, record_of
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.key_pieces import without_keys
from chatpipe.response.key_spans import may_hold
from chatpipe.response.result_line import metadata_of_job
from chatpipe.system import secrets
from chatpipe.system.spool import Spool

_METADATA = b'"chatpipe"'


class JobFiles(NamedTuple):
    """A job that has ended, its files, the output first, and the reasons for what is missing there.

    part knows the lines of the input, None if nobody does.
    """

    job: ProviderJob
    spools: Sequence[Spool]
    reasons: LineReasons
    part: PartRecord | None = None


class MergedCounts(NamedTuple):
    """Numbers of lines: good ones, failed ones, those without a result."""

    good: int = 0
    failed: int = 0
    missing: int = 0

    @property
    def are_all_good(self) -> bool:
        return not self.failed and not self.missing


class _Found(NamedTuple):
    """The place of a line, True if it is an answer, and the JSON that says where it comes from."""

    spool: Spool
    start: int
    end: int
    is_good: bool
    origin: bytes


class MergedResults:
    """The results of several jobs. warn gets a line for what is odd about them.

    server is the name that records have for that of the jobs.
    """

    def __init__(self, files: Sequence[JobFiles], server: str, warn: Callable[[str], None]) -> None:
        self._files = files
        self._server = server
        self._warn = warn
        self._keys = secrets.in_content()
        self._found: dict[int, _Found] = {}
        self._doubles = self._broken = 0

    def write_as_they_come(self, write: Callable[[bytes], None]) -> MergedCounts:
        """Write each result once."""
        self._index()
        for found in self._found.values():
            write(self._line(found))
        self._report(0)
        good = sum(each.is_good for each in self._found.values())
        total = sum(each.job.counts.total for each in self._files)
        return MergedCounts(good, len(self._found) - good, max(0, total - len(self._found)))

    def write_in_order(self, lines: BinaryIO, write: Callable[[bytes], None]) -> MergedCounts:
        """Write a result for each line of the input, an error of ours where there is none."""
        self._index()
        used = good = failed = missing = 0
        for number, custom_id in _custom_ids(lines):
            found = self._found.get(hash(custom_id))
            if found is None:
                missing += 1
                write(_missing_line(custom_id, self._why_missing(number)))
                continue
            used += 1
            good, failed = good + found.is_good, failed + (not found.is_good)
            write(self._line(found))
        self._report(len(self._found) - used)
        return MergedCounts(good, failed, missing)

    def _index(self) -> None:
        for files in self._files:
            origin = values.dumps(metadata_of_job(self._server, files.job.ended_at))
            for spool in files.spools:
                for start, line in lines_of(spool):
                    self._add(spool, start, line, origin)

    def _add(self, spool: Spool, start: int, line: bytes, origin: bytes) -> None:
        record = record_of(line)
        if record is None:
            self._broken += not line.isspace()
            return
        is_good = is_good_record(record)
        key = hash(record["custom_id"])
        before = self._found.get(key)
        if before is not None:
            self._doubles += 1
        if before is None or (is_good and not before.is_good):
            self._found[key] = _Found(spool, start, start + len(line), is_good, origin)

    def _line(self, found: _Found) -> bytes:
        line = found.spool.read(found.start, found.end - found.start).removesuffix(b"\n")
        if secrets.are_known() and self._may_need_filter(line, is_good=found.is_good):
            record = values.loads(line)
            clean = self._without_secrets(record, is_good=found.is_good)
            line = line if clean == record else values.dumps(clean)
        return _with_origin(line, found.origin) + b"\n"

    def _may_need_filter(self, line: bytes, *, is_good: bool) -> bool:
        """Return False for most answers."""
        return not is_good or (bool(self._keys) and may_hold(self._keys, line))

    def _without_secrets(self, record: dict[str, Any], *, is_good: bool) -> Value:
        """A result without secrets: see system/secrets.py. It stays the one of its custom_id."""
        if is_good:
            return without_keys(record, self._keys)
        return {**secrets.hide_value(record), "custom_id": without_keys(record["custom_id"], self._keys)}

    def _why_missing(self, number: int) -> str:
        """The reason why a line of the input has no result."""
        for _, _, reasons, part in self._files:
            if part is not None and (position := part.lines.position(number)) is not None:
                return reasons.of(position)
        of_all = "; ".join(filter(None, (files.reasons.of_all for files in self._files)))
        return of_all or "it is in neither result file"

    def _report(self, foreign: int) -> None:
        if foreign:
            self._warn(
                f"{quantity(foreign, 'result')} with a custom_id that the input does not have: left out"
            )
        if self._doubles:
            self._warn(
                f"{quantity(self._doubles, 'result')} beside another one of the same custom_id: left out"
            )
        if self._broken:
            self._warn(f"{quantity(self._broken, 'line')} of the result files that cannot be read: left out")


def _with_origin(line: bytes, origin: bytes) -> bytes:
    """A result with JSON as its member `chatpipe`, and otherwise as it is, byte by byte."""
    if _METADATA in line:  # perhaps as a member already
        return set_fields(line, values.loads(line), {"chatpipe": values.loads(origin)})
    return b'%b,"chatpipe":%b}' % (line.rstrip()[:-1], origin)


def _custom_ids(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """The custom_ids of Batch lines, with their numbers. What is none has none."""
    for number, line in enumerate(lines, 1):
        record = record_of(line.removeprefix(b"\xef\xbb\xbf"))
        if record is not None:
            yield number, record["custom_id"]


def _missing_line(custom_id: str, why: str) -> bytes:
    error = {"code": "unsent", "message": f"no result: {why}"}
    return values.dumps({"id": None, "custom_id": custom_id, "response": None, "error": error}) + b"\n"
