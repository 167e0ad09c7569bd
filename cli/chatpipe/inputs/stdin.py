"""Standard input as a filter reads it: only where something was put there, and never in silence.

What is read belongs to one owner: the option that was given `-`, else the prompt. Who owns it is
decided by the caller; here is how it is read.
"""

import os
import select
import stat
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from chatpipe.errors import BadInput, MissingInput, reason
from chatpipe.inputs.place import LINE_BYTES

# Long enough for `git log | chatpipe ask ...`, short enough that nobody thinks the program hangs.
PATIENCE_S = 2.0
_BLOCK = 65536


class Kind(Enum):
    """What is behind descriptor 0."""

    CLOSED = auto()
    TERMINAL = auto()
    DEVICE = auto()  # /dev/null and its like: nothing was piped in
    DATA = auto()  # a pipe, a file, a socket


class Stdin(NamedTuple):
    """Descriptor 0, and whom to tell that it is being waited for.

    opened is False when the program was started with stdin closed (`<&-`): whatever has taken
    descriptor 0 since is not the user's. notice is given one line for stderr.
    """

    descriptor: int
    opened: bool
    notice: Callable[[str], None]

    def kind(self) -> Kind:
        if not self.opened:
            return Kind.CLOSED
        try:
            mode = os.fstat(self.descriptor).st_mode
        except OSError:
            return Kind.CLOSED
        if stat.S_ISCHR(mode):
            return Kind.TERMINAL if os.isatty(self.descriptor) else Kind.DEVICE
        return Kind.DATA

    def read(self, notice: str = "") -> bytes:
        """All bytes to the end. notice is shown if none has come after PATIENCE_S.

        Raises BadInput for more than any request can hold: what never ends is not to fill the memory.
        """
        blocks: list[bytes] = []
        size = 0
        for block in self.blocks(notice):
            blocks.append(block)
            size += len(block)
            if size > LINE_BYTES:
                raise BadInput(
                    f"has more than {LINE_BYTES >> 20} MiB", place="<stdin>", fix="no request holds so much"
                )
        return b"".join(blocks)

    def blocks(self, notice: str = "") -> Iterator[bytes]:
        """The bytes as they come, to the end. Raises MissingInput when stdin is closed or unreadable."""
        if self.kind() is Kind.CLOSED:
            raise MissingInput("stdin is closed", place="<stdin>", fix="pipe something in or name a file")
        if notice and not self._ready(PATIENCE_S):
            self.notice(notice)
        while True:
            try:
                data = os.read(self.descriptor, _BLOCK)
            except BlockingIOError:  # somebody left the pipe non-blocking: wait as if it were not
                self._ready(None)
                continue
            except OSError as error:
                raise MissingInput(f"cannot read: {reason(error)}", place="<stdin>") from error
            if not data:
                return
            yield data

    def _ready(self, timeout_s: float | None) -> bool:
        return bool(select.select([self.descriptor], [], [], timeout_s)[0])
