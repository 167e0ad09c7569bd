"""What is told on stderr: notes, warnings, errors, and text that is kept out of stdout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from chatpipe.errors import ChatpipeError
from chatpipe.output import escape
from chatpipe.output.options import Telling

_STDERR = 2
# Shorter than any key; and hiding `a` would hide half of every line.
_SHORTEST_SECRET = 6

# Of the process: an error is told by whoever ends it, who knows no key.
_secrets: list[str] = []
# Of the process, as its stderr is: what has something on the last line there, and moves it out of the way.
_writers: list[Callable[[bytes], None]] = []


class Notices:
    """Lines for people on stderr. A stderr that cannot be written to stops nothing."""

    def __init__(self, telling: Telling) -> None:
        self.telling = telling
        self.on_terminal = os.isatty(_STDERR)

    def note(self, text: str) -> None:
        """Something to know, not to act on."""
        if not self.telling.quiet:
            self._line(text)

    def warning(self, text: str) -> None:
        """Something to act on that did not stop the run."""
        if not self.telling.quiet:
            self._line(f"warning: {text}")

    def warnings(self, texts: Iterable[str]) -> None:
        """Each of several."""
        for text in texts:
            self.warning(text)

    def detail(self, text: str) -> None:
        """Shown with --verbose only."""
        if self.telling.verbose:
            self._line(text)

    def error(self, error: ChatpipeError) -> None:
        """Why the status will not be 0: one line of text, or of JSON."""
        if self.telling.error_format == "json":
            from chatpipe.inputs import values  # with orjson behind it, which --help does without

            text = values.dumps({"error": record(error)}).decode("utf-8", "replace")
            write(escape.json_text(hidden(text)).encode() + b"\n")
        else:
            self._line(str(error))

    def aside(self, text: str) -> None:
        """Text from the server that does not belong on stdout: reasoning, refusals."""
        text = hidden(text)
        write((escape.visible(text) if self.on_terminal else text).encode("utf-8", "replace"))

    def _line(self, text: str) -> None:
        write(f"chatpipe: {escape.line(hidden(text))}\n".encode("utf-8", "backslashreplace"))


def hide(secret: str) -> None:
    """Never show this text in this process, not even when a server repeats it."""
    if len(secret) >= _SHORTEST_SECRET:
        _secrets.append(secret)


def hidden(text: str) -> str:
    """The text without the secrets of this process."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def record(error: ChatpipeError) -> dict[str, Any]:
    """The error as `--error-format json` shows it; body is the server's, parsed where it is JSON."""
    from chatpipe.inputs import values

    body: values.Value = None
    if error.body is not None:
        try:
            body = values.loads(error.body)
        except values.NotJSON:
            body = error.body.decode("utf-8", "replace")
    return {
        "status": int(error.status),
        "type": error.status.name.lower(),
        "message": ": ".join(part for part in (error.what, error.fix) if part),
        "place": error.place or None,
        "http_status": error.http_status,
        "request_id": error.request_id,
        "body": body,
    }


def through(writer: Callable[[bytes], None]) -> None:
    """From now on writer gets what is to be written, and puts it."""
    _writers.append(writer)


def past(writer: Callable[[bytes], None]) -> None:
    """No more."""
    _writers.remove(writer)


def write(data: bytes) -> None:
    """All of data to stderr, unless it is closed, full or gone. A bar that is there makes room."""
    (_writers[-1] if _writers else put)(data)


def put(data: bytes) -> None:
    """The same, whatever is on the last line there."""
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:
        return
