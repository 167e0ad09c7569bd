"""Console output on stderr: notes, warnings, errors, and text that does not belong on stdout."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from chatpipe.errors import ChatpipeError
from chatpipe.options.output import ConsoleOptions
from chatpipe.system import escape, secrets
from chatpipe.system.slow_file import note_wait

_STDERR = 2
_MOST_REPORTED = 10  # of many things of one kind
_MOST_BODY_BYTES = 64_000  # of a reply in an error line

_T = TypeVar("_T")

# The writers that own the last line of stderr, and clear it before other output. Global, like stderr.
_writers: list[Callable[[bytes], None]] = []


class Console:
    """A console: lines for people on stderr. A failure to write them is ignored."""

    def __init__(self, options: ConsoleOptions) -> None:
        self.options = options
        self._noted: set[str] = set()
        self._warned: set[str] = set()
        self.on_terminal = os.isatty(_STDERR)

    def note(self, text: str) -> None:
        """Print information that needs no action."""
        if not self.options.quiet:
            self._print(text)

    def note_once(self, text: str) -> None:
        """Print a note, unless it, or an error with the same text, was printed in this process."""
        if text not in self._noted:
            self._noted.add(text)
            self.note(text)

    def note_wait(self, file: str, text: str) -> AbstractContextManager[None]:
        """A block that opens or reads a file: text is printed as a note if that takes two seconds."""
        return note_wait(file, text, self.note)

    def warning(self, text: str) -> None:
        """Print a problem that needs action but does not stop the run."""
        if not self.options.quiet:
            self._print(f"warning: {text}")

    def warn_once(self, texts: Iterable[str]) -> None:
        """Print each text as a warning, but only once in this process, and only the first ten of all."""
        for text in texts:
            if text not in self._warned and len(self._warned) < _MOST_REPORTED:
                self._warned.add(text)
                self.warning(text)

    def warnings(self, texts: Iterable[str]) -> None:
        """Print each text as a warning."""
        for text in texts:
            self.warning(text)

    def detail(self, text: str) -> None:
        """Print a detail, with --verbose only."""
        if self.options.verbose:
            self._print(text)

    def error(self, error: ChatpipeError) -> None:
        """Print the reason for a status other than 0, as one line of text or of JSON."""
        self._noted.add(str(error))
        if self.options.error_format == "json":
            from chatpipe.inputs import values  # it loads orjson, which --help does not need

            write_json(values.dumps({"error": error_record(error)}))
        else:
            self._print(str(error))

    def server_text(self, text: str) -> None:
        """Print text from the server that does not belong on stdout: reasoning, refusals."""
        write((escape.escape_controls(text) if self.on_terminal else text).encode("utf-8", "replace"))

    def _print(self, text: str) -> None:
        write(
            f"chatpipe: {escape.one_line(secrets.hide(text, words=False))}\n".encode(
                "utf-8", "backslashreplace"
            )
        )


def once(report: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """A report that prints each line only the first time. None stays None."""
    if report is None:
        return None
    write, seen = report, set[str]()

    def report_once(line: str) -> None:
        if line not in seen:
            seen.add(line)
            write(line)

    return report_once


def error_record(error: ChatpipeError) -> dict[str, Any]:
    """The error as `--error-format json` prints it. body is the server's reply, parsed if it is JSON.

    The beginning stands for a body that is too long for a line, as text.
    """
    body = None if error.body is None else _shown_body(error.body)
    record = {
        "status": int(error.status),
        "type": error.status.name.lower(),
        "message": ": ".join(part for part in (error.what, error.fix) if part),
        "place": error.place or None,
        "http_status": error.http_status,
        "request_id": error.request_id,
    }
    return {**{name: secrets.hide_value(value, words=False) for name, value in record.items()}, "body": body}


def _shown_body(body: bytes) -> Any:
    from chatpipe.inputs import values

    if len(body) > _MOST_BODY_BYTES:
        # Hidden before the cut, which may go through a key.
        text = secrets.hide_bytes(body[: 2 * _MOST_BODY_BYTES])[:_MOST_BODY_BYTES].decode("utf-8", "replace")
        return f"{text}... (cut, {len(body)} bytes came)"
    data = secrets.hide_body(body)
    try:
        return values.loads(data)
    except values.NotJSON:
        return data.decode("utf-8", "replace")


def divert(writer: Callable[[bytes], None]) -> None:
    """Send all further output to writer, which prints it with put()."""
    _writers.append(writer)


def restore(writer: Callable[[bytes], None]) -> None:
    """Stop sending output to writer."""
    _writers.remove(writer)


def write(data: bytes) -> None:
    """Write all of data to stderr, through the owner of its last line if there is one. Never raises."""
    (_writers[-1] if _writers else write_raw)(data)


def write_json(line: bytes) -> None:
    """Write a line of JSON. What could harm a terminal becomes JSON escapes: the value is unchanged."""
    write(escape.escape_json(line.decode("utf-8", "replace")).encode() + b"\n")


def write_raw(data: bytes) -> None:
    """Write all of data directly to stderr. Never raises: stops if stderr is closed, full or gone."""
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:
        return


class FirstFew(Generic[_T]):
    """Reporter of many things: the first ten one by one, then one note that there are more.

    where names the place that has all of them. May be used from any thread.
    """

    def __init__(self, report_one: Callable[[_T], None], note: Callable[[str], None], where: str) -> None:
        self._report_one = report_one
        self._note = note
        self._where = where
        self._lock = threading.Lock()  # tools report from threads of their own
        self.count = 0

    def report(self, thing: _T) -> None:
        with self._lock:
            self.count += 1
            if self.count <= _MOST_REPORTED:
                self._report_one(thing)
            elif self.count == _MOST_REPORTED + 1:
                self._note(f"there are more like these: {self._where}")
