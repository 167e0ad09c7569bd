"""The log of requests: a line of JSON for each, when its reply has ended. It has neither keys nor bodies."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from typing import Protocol

from chatpipe.errors import CannotWrite, quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.files import FileUse
from chatpipe.response.result_line import timestamp
from chatpipe.serve.reply_steps import ReplyPlan
from chatpipe.serve.served_request import ServedRequest
from chatpipe.system.descriptor import DescriptorOutput, Stdout, cannot_write, close_quietly, is_stdout
from chatpipe.system.file_uses import refuse_shared_files
from chatpipe.system.strangers import refuse_stranger

STDOUT_USE = FileUse("", "/dev/fd/1", "prints", "standard output")


class LogOutput(Protocol):
    """An output of whole lines. write raises CannotWrite, or BrokenPipe if the reader is gone."""

    def write(self, data: bytes) -> None: ...


class LogEntry:
    """A request that is being answered. request is None for one that cannot be read."""

    __slots__ = ("_began", "_pause", "bytes_sent", "request")

    def __init__(self, request: ServedRequest | None, bytes_sent: int = 0) -> None:
        self.request = request
        self.bytes_sent = bytes_sent
        self._began = time.time()
        self._pause = (0.0, 0.0)  # the length of the longest one, and the monotonic time of its beginning

    def pause(self, seconds: float, now: float) -> None:
        """Note a pause that begins."""
        if seconds > self._pause[0]:
            self._pause = (seconds, now)

    def longest_pause_s(self, now: float) -> float:
        """The length of the longest pause, as far as it has passed."""
        seconds, began = self._pause
        return max(0.0, min(seconds, now - began))

    def record(self, plan: ReplyPlan, *, is_complete: bool) -> dict[str, Value]:
        """The line of the log. is_complete: the reply came to its end, whatever that is."""
        return {
            "at": timestamp(self._began),
            "method": self.request.method if self.request else None,
            "path": self.request.path if self.request else None,
            "status": plan.status or None,
            "request_id": plan.request_id or None,
            "bytes": self.bytes_sent,
            "duration_s": round(self._duration_s(), 6),
            "complete": is_complete,
            "faults": list(plan.faults),
        }

    def summary(self, plan: ReplyPlan, *, is_complete: bool) -> str:
        """One line for people: `POST /v1/chat/completions: 200, 986 bytes, 0.001 s (cut)`."""
        asked = f"{self.request.method} {self.request.path}" if self.request else "unreadable request"
        notes = [*plan.faults, *([] if is_complete else ["not complete"])]
        facts = (
            f"{plan.status or 'no reply'}, {quantity(self.bytes_sent, 'byte')}, {self._duration_s():.3f} s"
        )
        return f"{asked}: {facts} ({', '.join(notes)})" if notes else f"{asked}: {facts}"

    def _duration_s(self) -> float:
        return max(0.0, time.time() - self._began)


class RequestLog:
    """Appends the lines to a file, or writes them to stdout.

    lost is the number of lines that could not be written, and fault the first reason.
    """

    def __init__(self, output: LogOutput) -> None:
        self._output = output
        self._is_torn = False
        self.lost = 0
        self.fault: CannotWrite | None = None

    def write(self, record: dict[str, Value]) -> None:
        """Write a line. Raises CannotWrite, after which more may be written, and BrokenPipe."""
        line = values.dumps(record) + b"\n"
        try:
            self._output.write(b"\n" + line if self._is_torn else line)
        except CannotWrite as error:
            self._is_torn = True  # a part of the line may be there
            self.lost += 1
            self.fault = self.fault or error
            raise
        self._is_torn = False


class _NamedFile:
    """The file that has a name. If that is moved or removed, the next line makes another one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._output, self._identity = self._open()

    def write(self, data: bytes) -> None:
        if self._is_moved():
            output, self._identity = self._open()
            self._output.discard()
            self._output = output
        self._output.write(data)

    def _open(self) -> tuple[DescriptorOutput, tuple[int, int] | None]:
        """The output, and the identity of its file; None for a device or a pipe. Raises CannotWrite."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        try:
            fd = os.open(self._path, flags, 0o666)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise cannot_write(self._path, error) from error
        found = os.fstat(fd)
        try:
            if stat.S_ISREG(found.st_mode):
                refuse_stranger(self._path, found)
        except CannotWrite:
            close_quietly(fd)
            raise
        identity = (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
        return DescriptorOutput(fd, self._path, close=True), identity

    def _is_moved(self) -> bool:
        if self._identity is None:
            return False
        try:
            found = os.stat(self._path)
        except OSError:
            return True
        return self._identity != (found.st_dev, found.st_ino)


def open_log(path: str | None, uses: Iterable[FileUse]) -> RequestLog | None:
    """Open the log at path, `-` for stdout, None for none. uses has all files of the server.

    Raises CannotWrite, and UsageFault for a file with two uses.
    """
    refuse_shared_files([STDOUT_USE, *uses])
    if path is None:
        return None
    if is_stdout(path):
        return RequestLog(Stdout())
    return RequestLog(_NamedFile(path))
