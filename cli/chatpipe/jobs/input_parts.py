"""A file of Batch lines -> the parts that jobs are made of: one model and one url each, within the limits.

A hash of each custom_id is kept while the file is read. Parts have the lines in their order.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, BinaryIO, Generic, TypeVar

from chatpipe.errors import BadInput, MissingInput, Problems, TooLarge, quantity, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.request.fingerprint import OccurrenceCounter, body_digest, fingerprint_of

_BLOCK = 256 << 10
_MARGIN = 0.95  # of the bytes that a file may have: providers differ in what a MB is
_MOST_NUMBERS = 10**9  # more than any input has lines
_TO_LINES = ("-f", "requests", "-o", "FILE")
FINGERPRINT_DIGITS = 32


class InputPart:
    """Some lines of the file. digest is the SHA-256 of its bytes; first and last are physical lines.

    numbers are its physical lines, as runs of a first line and a count. fingerprints has the
    fingerprint of each request, one after the other.
    """

    def __init__(self, url: str, model: str | None) -> None:
        self.url = url
        self.model = model
        # Where blocks of neighbouring lines begin and end in the file, without the newline at the end
        self._starts = array("Q")
        self._ends = array("Q")
        self._hash = hashlib.sha256()
        self.count = 0
        self.size = 0
        self.first = self.last = 0
        self.fingerprints = bytearray()
        self._runs = array("Q")  # the first and the last line of each run, by turns, but for the last one's

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, size: int, numbers: Sequence[int], fingerprints: bytes) -> None:
        """Add lines of so many bytes, newlines included, in their order. add_bytes() gets them."""
        self.fingerprints += fingerprints
        self.count += len(numbers)
        self.size += size
        are_neighbours = numbers[-1] - numbers[0] == len(numbers) - 1
        runs = [(numbers[0], numbers[-1])] if are_neighbours else [(each, each) for each in numbers]
        for first, last in runs:
            if first != self.last + 1 or not self.first:
                self._runs.extend((self.last, first) if self.first else (first,))
                self.first = self.first or first
            self.last = last

    def add_bytes(self, lines: bytes, at: int) -> None:
        """Add the bytes of the next lines, which begin at a byte of the file, with a newline each.

        The last line of the file may have no newline there.
        """
        end = at + len(lines) - 1
        if self._ends and self._ends[-1] + 1 == at and end - self._starts[-1] <= _BLOCK:
            self._ends[-1] = end
        else:
            self._starts.append(at)
            self._ends.append(end)
        self._hash.update(lines)

    def each_fingerprint(self) -> Iterator[str]:
        """The fingerprints, one by one."""
        return split_fingerprints(self.fingerprints.decode())

    @property
    def numbers(self) -> list[list[int]]:
        lasts = [*self._runs[1::2], self.last]
        return [[first, last - first + 1] for first, last in zip(self._runs[::2], lasts, strict=True)]

    def pieces(self, descriptor: int) -> Iterator[bytes]:
        """Its bytes, in pieces."""
        for start, end in zip(self._starts, self._ends, strict=True):
            # The newline of a last line that has none is ours.
            yield os.pread(descriptor, end - start, start) + b"\n"


class FilePart(InputPart):
    """A part of a file that others may change."""

    def pieces(self, descriptor: int) -> Iterator[bytes]:
        """Its bytes, in pieces. Raises BadInput if the file has changed since it was read."""
        found = hashlib.sha256()
        for piece in super().pieces(descriptor):
            found.update(piece)
            yield piece
        if found.hexdigest() != self.digest:
            raise BadInput("the file changed while it was read", fix="run it again")


def split_fingerprints(text: str) -> Iterator[str]:
    """The fingerprints in a text of nothing else."""
    for at in range(0, len(text) - FINGERPRINT_DIGITS + 1, FINGERPRINT_DIGITS):
        yield text[at : at + FINGERPRINT_DIGITS]


def alone(number: int) -> str:
    """The option that takes one line of an input, or one row, by its number."""
    return f"--shard {number}/{max(number, _MOST_NUMBERS)}"


Part = TypeVar("Part", bound=InputPart)


class PartSplitter(Generic[Part]):
    """Finds the part that a line goes to. parts are all, in the order of their first lines."""

    def __init__(self, dialect: JobDialect, part_class: type[Part]) -> None:
        self.parts: list[Part] = []
        self._part_class = part_class
        self._most_lines = dialect.most_lines
        self._most_bytes = int(dialect.most_bytes * _MARGIN)
        self._numbers: dict[tuple[str, str | None], int] = {}  # of the parts that have room

    def has_room(self, url: str, model: str | None, size: int, count: int) -> bool:
        """Return True if so many lines, of this size together, go to the part of the next line."""
        number = self._numbers.get((url, model))
        if number is not None:
            part = self.parts[number]
            size, count = size + part.size, count + part.count
        return count <= self._most_lines and size <= self._most_bytes

    def number(self, url: str, model: str | None, size: int) -> int:
        """The number of the part that a line of this size goes to.

        Raises TooLarge, without a place, for a line that is larger than a part may be.
        """
        if self.has_room(url, model, size, 1) and (number := self._numbers.get((url, model))) is not None:
            return number
        if size > self._most_bytes:
            what = f"the request has {quantity(size, 'byte')}, and a file of the provider at most"
            raise TooLarge(f"{what} {self._most_bytes}")
        number = self._numbers[url, model] = len(self.parts)
        self.parts.append(self._part_class(url, model))
        return number


def refuse_too_large(faults: Sequence[TooLarge]) -> None:
    """Raise BadInput for all lines that are larger than a part may be, if there are any."""
    if len(faults) > 1:
        raise Problems(faults)
    for fault in faults:
        raise fault


class PartReader:
    """Reads a file of Batch lines. name is its path, for places.

    command makes a command line for the server of the jobs, as it can be typed.
    """

    def __init__(self, name: str, dialect: JobDialect, command: Callable[..., str]) -> None:
        self._name = name
        self._dialect = dialect
        self._command = command
        self._splitter = PartSplitter(dialect, FilePart)
        self._ids: set[int] = set()
        self._occurrences = OccurrenceCounter()
        self._too_large: list[TooLarge] = []

    def read(self, file: BinaryIO) -> list[FilePart]:
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
        refuse_too_large(self._too_large)
        if not self._splitter.parts:
            raise BadInput("there are no requests", place=self._name)
        return self._splitter.parts

    def _add(self, line: bytes, at: int, number: int) -> None:
        try:
            url, model, fingerprint = self._checked(line)
            part = self._splitter.parts[self._splitter.number(url, model, len(line) + 1)]
        except BadInput as fault:
            fault.place = f"{self._name}:{number}"
            if not isinstance(fault, TooLarge):
                raise
            batch = self._command("batch", self._name, *alone(number).split())
            fault.fix = f"leave it out, and send it with {batch}"
            self._too_large.append(fault)
            return
        part.add(len(line) + 1, (number,), fingerprint)
        part.add_bytes(line + b"\n", at)

    def _checked(self, line: bytes) -> tuple[str, str | None, bytes]:
        """The url and the model of a line, and the fingerprint of its request.

        Raises BadInput, without a place, for one that the API would refuse.
        """
        try:
            value: Any = values.loads(line)
        except values.NotJSON as error:
            is_text = line.lstrip()[:1] not in (b"{", b"[", b'"')
            fix = self._to_lines("--lines", "-m", "MODEL") if is_text else "correct the line"
            raise BadInput(f"not JSON: {error.what}", fix=fix) from error
        if not isinstance(value, dict) or not isinstance(value.get("body"), dict):
            has_model = isinstance(value, dict) and bool(value.get("model"))
            fix = self._to_lines(*(() if has_model else ("-m", "MODEL")))
            raise BadInput("not a Batch line with custom_id, method, url and body", fix=fix)
        as_lines = self._to_lines()
        custom_id, url, body = value.get("custom_id"), value.get("url"), value["body"]
        if custom_id is None:
            raise BadInput("it has no custom_id", fix=as_lines)
        if not isinstance(custom_id, str) or not custom_id:
            what = "its custom_id is empty, or no string"
            raise BadInput(what, fix="write a string that no other line has")
        if not isinstance(url, str) or not url or value.get("method") != "POST":
            raise BadInput("its method is not POST, or it has no url", fix=as_lines)
        longest = self._dialect.longest_id
        if longest is not None and len(custom_id) > longest:
            what = f"its custom_id is longer than the {longest} characters that the provider takes"
            raise BadInput(what, fix="shorten it")
        if body.get("stream"):
            command = self._command("batch", self._name, "--override", "--unset", "stream", *_TO_LINES)
            what = "it asks for a stream, which the Batch API does not have"
            raise BadInput(what, fix=f"{command} leaves it out")
        self._refuse_double(custom_id)
        return url, requested_model(body, self._dialect), self._fingerprint(body)

    def _fingerprint(self, body: Mapping[str, Value]) -> bytes:
        """The one that a run has for a request whose model does not depend on the server."""
        digest = body_digest(body)
        return fingerprint_of(digest, None, self._occurrences.count(digest)).encode()

    def _to_lines(self, *options: str) -> str:
        """The remedy for a file of something else than Batch lines."""
        return f"{self._command('batch', self._name, *options, *_TO_LINES)} writes lines that fit"

    def _refuse_double(self, custom_id: str) -> None:
        key = hash(custom_id)
        if key in self._ids:
            what = f"the custom_id '{custom_id}' is that of another line, too"
            raise BadInput(what, fix="give each its own")
        self._ids.add(key)


def requested_model(body: Mapping[str, Value], dialect: JobDialect) -> str | None:
    """The model of a request.

    Raises BadInput, without a place, if it has none, and the jobs of the provider need one.
    """
    model = body.get("model")
    if isinstance(model, str) and model:
        return model
    if dialect.shape.model_is_of_job:
        raise BadInput("the request names no model, which a job of this provider needs")
    return None
