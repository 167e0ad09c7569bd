"""The input file of a batch: its lines, and the faults for which a batch is refused as a whole.

Source: OpenAI's batch guide and the errors that its users report, as of November 2026.
"""

from __future__ import annotations

from array import array
from typing import Any

from chatpipe.inputs import values
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.spool import Spool

_PIECE = 256 << 10
_MOST_FAULTS = 100


class JobFault(NamedTuple):
    """An entry of `errors.data` of a batch. line counts from 1, None for the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class JobLine(NamedTuple):
    """A line of the input."""

    custom_id: str
    body: dict[str, Any]


class JobInput:
    """Reads and checks the file piece by piece. faults are complete when advance() returned False.

    8 bytes are kept for a line, and until all are checked a hash of each custom_id.
    """

    def __init__(self, spool: Spool, endpoint: str, most_lines: int) -> None:
        self._spool = spool
        self._endpoint = endpoint
        self._most_lines = most_lines
        self._starts = array("Q")
        self._ends = array("Q")
        self._at = 0
        self._rest = b""
        self._physical = 0
        self._is_checked = False
        self._ids: set[int] = set()
        self.model: str | None = None
        self.faults: list[JobFault] = []

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, index: int) -> JobLine:
        """A line that was checked, from 0."""
        start = self._starts[index]
        value = values.loads(self._spool.read(start, self._ends[index] - start))
        return JobLine(value["custom_id"], value["body"])

    def advance(self) -> bool:
        """Check the next lines. Return False when none is left."""
        if self._is_checked:
            return False
        piece = self._spool.read(self._at, _PIECE)
        at = self._at - len(self._rest)
        self._at += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if not piece:  # the last line has no end
            lines, self._rest = [self._rest], b""
        for line in lines:
            self._physical += 1
            if line.strip():
                self._add(line, at)
            at += len(line) + 1
        if self._at >= self._spool.size and not self._rest:
            self._finish()
        return True

    def close(self) -> None:
        """Give up what is kept."""
        del self._starts[:], self._ends[:]
        self._rest = b""
        self._ids = set()
        self._is_checked = True

    def _add(self, line: bytes, at: int) -> None:
        self._starts.append(at)
        self._ends.append(at + len(line))
        if len(self.faults) < _MOST_FAULTS and (fault := self._fault(line)) is not None:
            self.faults.append(fault._replace(line=self._physical))

    def _fault(self, line: bytes) -> JobFault | None:
        try:
            value = values.loads(line)
        except values.NotJSON:
            value = None
        if not isinstance(value, dict):
            return JobFault("invalid_json_line", "This line is not parseable as valid JSON.")
        custom_id = value.get("custom_id")
        if not isinstance(custom_id, str) or not custom_id:
            what = "Missing required parameter: 'custom_id'."
            return JobFault("missing_required_parameter", what, param="custom_id")
        if value.get("method") != "POST":
            return JobFault("invalid_method", "The method of this line is not POST.", param="method")
        if value.get("url") != self._endpoint:
            what = f"The URL of this line does not match the endpoint of the batch, '{self._endpoint}'."
            return JobFault("url_mismatch", what, param="url")
        if not isinstance(value.get("body"), dict):
            return JobFault("invalid_body", "The body of this line is not an object.", param="body")
        return self._other_line(custom_id, value["body"].get("model"))

    def _other_line(self, custom_id: str, model: values.Value) -> JobFault | None:
        """The fault of a line that contradicts the lines before it."""
        key = hash(custom_id)
        if key in self._ids:
            what = f"The custom_id '{custom_id}' is that of another line, too."
            return JobFault("duplicate_custom_id", what, param="custom_id")
        self._ids.add(key)
        if len(self._starts) == 1:
            self.model = model if isinstance(model, str) else None
        elif model != self.model and (self.model is not None or isinstance(model, str)):
            what = "The model of this line is not that of the first line: a batch has one model."
            return JobFault("model_mismatch", what, param="body.model")
        return None

    def _finish(self) -> None:
        self._is_checked = True
        self._ids = set()
        if not len(self):
            self.faults.append(JobFault("empty_file", "The input file has no requests."))
        elif len(self) > self._most_lines:
            what = f"The input file has {len(self)} requests. The most of a batch are {self._most_lines}."
            self.faults.append(JobFault("too_many_tasks", what))
