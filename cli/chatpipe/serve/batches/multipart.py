"""`multipart/form-data` -> its fields and its file, as it comes. Of the file nothing is kept in memory.

Source: RFC 7578, and RFC 2046 section 5.1 for the boundary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from chatpipe.named_tuple import NamedTuple
from chatpipe.system.spool import NoRoom, Spool

_FILE = "file"  # the name of the part that is spooled
_MOST_HEAD = 16 << 10
_MOST_FIELD = 64 << 10
_MOST_PARTS = 100
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.IGNORECASE)


class FormFile(NamedTuple):
    """A file of a form, with the name that the client gave."""

    name: str
    spool: Spool


class FormFault(NamedTuple):
    """The reason why a form cannot be taken, and the status for it."""

    status: int
    message: str


class _Section(Enum):
    """The part of a form that comes next. LINE is the rest of the line of a boundary."""

    PREAMBLE = 0
    LINE = 1
    HEAD = 2
    CONTENT = 3
    END = 4


class FormReader:
    """Reads one form. fields are the parts without a file; fault is None while nothing is wrong.

    After a fault the rest is dropped. most_bytes is the largest body that is read.
    """

    def __init__(self, boundary: str, open_spool: Callable[[], Spool], most_bytes: int) -> None:
        self._boundary = b"\r\n--" + boundary.encode("latin-1")
        self._open_spool = open_spool
        self._section = _Section.PREAMBLE
        self._buffer = bytearray(b"\r\n")  # the first boundary may be the first line
        self._parts = 0
        self._name = ""
        self._is_file = False
        self.most_bytes = most_bytes
        self.fields: dict[str, bytes] = {}
        self.file: FormFile | None = None
        self.fault: FormFault | None = None

    def feed(self, data: bytes) -> None:
        """Never raises."""
        if self.fault is not None or self._section is _Section.END:
            return
        self._buffer += data
        try:
            while self._take():
                pass
        except NoRoom as error:
            self._fail(f"The file is too large: {error}", 413)

    def end(self) -> None:
        """Note the end of the body."""
        if self._section is not _Section.END:
            self._fail("The form ends before its last boundary")

    def close(self) -> None:
        """Give up the file."""
        if self.file is not None:
            self.file.spool.close()
            self.file = None

    def _fail(self, message: str, status: int = 400) -> None:
        if self.fault is None:
            self.fault = FormFault(status, message)
            self._buffer = bytearray()
            self.close()

    def _take(self) -> bool:
        """Take the next piece of the form from the buffer. Return False if it is not there yet."""
        match self._section:
            case _Section.PREAMBLE | _Section.CONTENT:
                return self._take_content()
            case _Section.LINE:
                return self._take_line()
            case _Section.HEAD:
                return self._take_head()
        return False

    def _take_content(self) -> bool:
        at = self._buffer.find(self._boundary)
        # All but a possible beginning of a boundary is content.
        end = at if at >= 0 else max(0, len(self._buffer) - len(self._boundary) + 1)
        if self._section is _Section.CONTENT:
            self._keep(bytes(self._buffer[:end]))
        del self._buffer[: end + (len(self._boundary) if at >= 0 else 0)]
        if at >= 0:
            self._section = _Section.LINE
        return at >= 0 and self.fault is None

    def _take_line(self) -> bool:
        """Take what follows a boundary: `--` at the end of the form, or the end of the line."""
        if self._buffer.startswith(b"--"):
            self._section = _Section.END
            self._buffer = bytearray()
            return False
        at = self._buffer.find(b"\r\n")
        if at < 0 or self._buffer[:at].strip(b" \t"):
            if at >= 0 or len(self._buffer) > _MOST_HEAD:
                self._fail("A boundary of the form is not alone on its line")
            return False
        del self._buffer[:at]  # the end of the line begins the head: it may be empty
        self._section = _Section.HEAD
        return True

    def _take_head(self) -> bool:
        at = self._buffer.find(b"\r\n\r\n")
        if at < 0 or at > _MOST_HEAD:
            if len(self._buffer) > _MOST_HEAD:
                self._fail("A part of the form has no end of its headers")
            return False
        head = bytes(self._buffer[:at]).decode("utf-8", "replace")
        del self._buffer[: at + 4]
        self._section = _Section.CONTENT
        self._begin_part(head)
        return self.fault is None

    def _begin_part(self, head: str) -> None:
        self._parts += 1
        found: dict[str, str] = {}
        for line in head.split("\r\n"):
            if line.lower().startswith("content-disposition:"):
                found = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(line)}
        self._name = found.get("name", "")
        self._is_file = "filename" in found
        if not self._name:
            self._fail("A part of the form has no name")
        elif self._parts > _MOST_PARTS:
            self._fail(f"The form has more than {_MOST_PARTS} parts")
        elif self._name in self.fields or (self._is_file and self.file is not None):
            self._fail(f"The form has '{self._name}' twice")
        elif self._is_file and self._name != _FILE:
            self._fail(f"The file of the form is '{self._name}', not '{_FILE}'")
        elif self._is_file:
            name = re.sub(r"\\(.)", r"\1", found["filename"])
            self.file = FormFile(name, self._open_spool())
        else:
            self.fields[self._name] = b""

    def _keep(self, data: bytes) -> None:
        if self._is_file and self.file is not None:
            self.file.spool.write(data)
        elif not self._is_file:
            self.fields[self._name] += data
            if len(self.fields[self._name]) > _MOST_FIELD:
                self._fail(f"The field '{self._name}' is longer than {_MOST_FIELD} bytes")


def boundary_of(content_type: str) -> str | None:
    """The boundary that a Content-Type names; None if it is no form, or names none of 1 to 70 characters."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.search(content_type)
    boundary = (found[1] or found[2]) if found else ""
    return boundary if 0 < len(boundary) <= 70 else None
