"""Standard input of a filter: read only if something was piped in, with a notice if it has to wait.

The input has one owner: the option whose file it is (is_stdin), or else the prompt. The caller decides the
owner; this module only reads.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from enum import Enum, auto

from chatpipe.errors import BadInput, MissingInput, reason
from chatpipe.inputs.place import MAX_LINE_BYTES
from chatpipe.named_tuple import NamedTuple

# Stdin as the value of an option or an operand, and its name in errors.
STDIN = "-"
STDIN_NAME = "<stdin>"
# Long enough for `git log | chatpipe ask ...`, short enough that the program does not seem to hang.
NOTICE_DELAY_S = 2.0
_BLOCK = 65536


def is_stdin(name: str) -> bool:
    """True for `-`, and for a path such as /dev/stdin or /proc/self/fd/0 that leads to the same open file.

    Opening such a path again would read a redirected file a second time, and fails for a socket. A device
    may have any number of readers. Never raises.
    """
    if name == STDIN:
        return True
    if not name.startswith(("/dev/", "/proc/")):
        return False
    try:
        own = os.fstat(0)
        return os.path.samestat(os.stat(name), own) and not stat.S_ISCHR(own.st_mode)
    except (OSError, ValueError):
        return False


class StdinKind(Enum):
    """The kind of file behind descriptor 0."""

    CLOSED = auto()
    TERMINAL = auto()
    DEVICE = auto()  # /dev/null and the like: nothing was piped in
    DATA = auto()  # a pipe, a file, a socket


class Stdin(NamedTuple):
    """Descriptor 0, and the callback that reports a wait for it.

    is_open is False if the program was started with stdin closed (`<&-`): whatever file has taken
    descriptor 0 since, it is not the user's. notice receives one line for stderr.
    """

    descriptor: int
    is_open: bool
    notice: Callable[[str], None]

    def kind(self) -> StdinKind:
        if not self.is_open:
            return StdinKind.CLOSED
        try:
            mode = os.fstat(self.descriptor).st_mode
        except OSError as error:  # reading it shows the reason
            return StdinKind.CLOSED if error.errno == errno.EBADF else StdinKind.DATA
        if stat.S_ISCHR(mode):
            return StdinKind.TERMINAL if os.isatty(self.descriptor) else StdinKind.DEVICE
        return StdinKind.DATA

    def read(self, notice: str = "") -> bytes:
        """All bytes up to the end. notice is shown once, when NOTICE_DELAY_S have passed without a byte.

        Raises BadInput for more than any request can hold, so that endless input cannot fill the memory.
        """
        blocks: list[bytes] = []
        size = 0
        for block in self.blocks(notice):
            blocks.append(block)
            size += len(block)
            if size > MAX_LINE_BYTES:
                raise BadInput(
                    f"has more than {MAX_LINE_BYTES >> 20} MiB",
                    place=STDIN_NAME,
                    fix="no request can be that large",
                )
        return b"".join(blocks)

    def blocks(self, notice: str = "") -> Iterator[bytes]:
        """Yield the bytes as they arrive. Raises MissingInput if stdin is closed or unreadable."""
        if self.kind() is StdinKind.CLOSED:
            raise MissingInput("stdin is closed", place=STDIN_NAME, fix="pipe something in or name a file")
        while True:
            if notice and not self._ready(NOTICE_DELAY_S):
                self.notice(notice)
                notice = ""
            try:
                data = os.read(self.descriptor, _BLOCK)
            except BlockingIOError:  # another process left the pipe non-blocking: wait anyway
                self._ready(None)
                continue
            except OSError as error:
                raise MissingInput(f"cannot read: {reason(error)}", place=STDIN_NAME) from error
            if not data:
                return
            yield data

    def _ready(self, timeout_s: float | None) -> bool:
        return bool(select.select([self.descriptor], [], [], timeout_s)[0])


def process_stdin(notice: Callable[[str], None], *, is_taken: bool) -> Stdin:
    """Standard input of this process. is_taken is True if it is not for a prompt or an input.

    Python sets sys.stdin to None if descriptor 0 was closed at the start.
    """
    return Stdin(0, sys.stdin is not None and not is_taken, notice)
