"""A file of Batch lines -> the parts that jobs are made of: one model and one url each, within the limits.

Two numbers are kept for a line, and a hash of its custom_id while the file is read. Parts have the lines in
their order.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, BinaryIO

from chatpipe.errors import BadInput, MissingInput, quantity, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_dialects import JobDialect

_BLOCK = 256 << 10
MARGIN = 0.95  # of the bytes that a file may have: providers differ in what a MB is
_AS_LINES = "chatpipe batch {} -f requests -o FILE writes lines that fit"


class InputPart:
    """Some lines of the file. digest is the SHA-256 of its bytes; first and last are physical lines.

    numbers are its physical lines, as runs of a first line and a count.
    """

    def __init__(self, url: str, model: str | None) -> None:
        self.url = url
        self.model = model
        self._starts = array("Q")
        self._ends = array("Q")
        self._hash = hashlib.sha256()
        self.size = 0
        self.first = self.last = 0
        self._runs = array("Q")  # a first line and a count, by turns

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, line: bytes, at: int, number: int) -> None:
        """Add a line, given without its newline, which begins at a byte of the file."""
        self._starts.append(at)
        self._ends.append(at + len(line))
        self._hash.update(line + b"\n")
        self.size += len(line) + 1
        self.first = self.first or number
        if self._runs and number == self.last + 1:
            self._runs[-1] += 1
        else:
            self._runs.extend((number, 1))
        self.last = number

    @property
    def numbers(self) -> list[list[int]]:
        return [list(run) for run in zip(self._runs[::2], self._runs[1::2], strict=True)]

    def pieces(self, descriptor: int) -> Iterator[bytes]:
        """Its bytes, in pieces. Raises BadInput if the file has changed since it was read."""
        found = hashlib.sha256()
        for start, end in self._blocks():
            # The newline of a last line that has none is ours.
            piece = os.pread(descriptor, end - start, start) + b"\n"
            found.update(piece)
            yield piece
        if found.hexdigest() != self.digest:
            raise BadInput("the file changed while it was read", place="FILE", fix="run it again")

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """The bytes of neighbouring lines as one block, without the last newline."""
        start, end = self._starts[0], self._ends[0]
        for index in range(1, len(self)):
            if self._starts[index] != end + 1 or self._ends[index] - start > _BLOCK:
                yield start, end
                start = self._starts[index]
            end = self._ends[index]
        yield start, end


class PartReader:
    """Reads a file of Batch lines. name is its path, for places."""

    def __init__(self, name: str, dialect: JobDialect) -> None:
        self._name = name
        self._dialect = dialect
        self._most_bytes = int(dialect.most_bytes * MARGIN)
        self._open: dict[tuple[str, str | None], InputPart] = {}
        self._parts: list[InputPart] = []
        self._ids: set[int] = set()

    def read(self, file: BinaryIO) -> list[InputPart]:
        """The parts, in the order of their first lines. Raises BadInput and MissingInput."""
        at = 0
        try:
            for number in count(1):
                line = file.readline()
                if not line:
                    break
                size = len(line)
                if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                    line, at, size = line[3:], 3, size - 3
                content = line.removesuffix(b"\n")
                if content.strip():
                    self._add(content, at, number)
                at += size
        except OSError as error:
            raise MissingInput(f"cannot read '{self._name}': {reason(error)}", place="FILE") from error
        if not self._parts:
            raise BadInput("there are no requests", place=self._name)
        return self._parts

    def _add(self, line: bytes, at: int, number: int) -> None:
        key = self._checked(line, f"{self._name}:{number}")
        part = self._open.get(key)
        is_full = part is not None and (
            len(part) >= self._dialect.most_lines or part.size + len(line) + 1 > self._most_bytes
        )
        if part is None or is_full:
            part = self._open[key] = InputPart(*key)
            self._parts.append(part)
        part.add(line, at, number)

    def _checked(self, line: bytes, place: str) -> tuple[str, str | None]:
        """The url and the model of a line. Raises BadInput for one that the API would refuse."""
        as_lines = _AS_LINES.format(self._name)
        try:
            value: Any = values.loads(line)
        except values.NotJSON as error:
            raise BadInput(f"not JSON: {error.what}", place=place, fix=as_lines) from error
        if not isinstance(value, dict) or not isinstance(value.get("body"), dict):
            raise BadInput("not a Batch line with custom_id, method, url and body", place=place, fix=as_lines)
        custom_id, url, body = value.get("custom_id"), value.get("url"), value["body"]
        if not isinstance(custom_id, str) or not custom_id:
            raise BadInput("it has no custom_id", place=place, fix=as_lines)
        if not isinstance(url, str) or not url or value.get("method") != "POST":
            raise BadInput("its method is not POST, or it has no url", place=place, fix=as_lines)
        longest = self._dialect.longest_id
        if longest is not None and len(custom_id) > longest:
            what = f"its custom_id is longer than the {longest} characters that the provider takes"
            raise BadInput(what, place=place, fix="shorten it")
        if body.get("stream"):
            fix = f"chatpipe batch {self._name} --override --unset stream -f requests -o FILE leaves it out"
            raise BadInput("it asks for a stream, which the Batch API does not have", place=place, fix=fix)
        if len(line) + 1 > self._most_bytes:
            what = f"it has {quantity(len(line), 'byte')}, and a whole file of the provider at most"
            raise BadInput(f"{what} {self._most_bytes}", place=place)
        self._refuse_double(custom_id, place)
        return url, model_of(body, self._dialect, place)

    def _refuse_double(self, custom_id: str, place: str) -> None:
        key = hash(custom_id)
        if key in self._ids:
            raise BadInput(f"the custom_id '{custom_id}' is that of another line, too", place=place)
        self._ids.add(key)


def model_of(body: Mapping[str, Value], dialect: JobDialect, place: str) -> str | None:
    """The model of a request. Raises BadInput if it has none, and the jobs of the provider need one."""
    model = body.get("model")
    if isinstance(model, str) and model:
        return model
    if dialect.shape.model_is_of_job:
        raise BadInput("the request names no model, which a job of this provider needs", place=place)
    return None
