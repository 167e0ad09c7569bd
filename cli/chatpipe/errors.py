"""What can go wrong, and the exit status each ends in.

    ChatpipeError             one line on stderr, then exit with .status
      UsageFault          2   the command line contradicts itself
      BadInput           65   a request, a line or a file is wrong
        Problems         65   several at once
      MissingInput       66   a file that was named cannot be read
      Unreachable        69   no server there, or 5xx after all retries
      CannotWrite        74   stdout, -o or a side file
      TryLater           75   rate limit or time-out after all retries
      BrokenAnswer       76   cut stream, not JSON, an error event in a stream
      NoAccess           77   key, permission or credit
      BadConfiguration   78   settings that cannot work
    AnswerFault         3-6   not an exception: an answer came, but it is not good (response/judge.py)

`main.py` is the only place that turns these into a line and a status.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Status(IntEnum):
    """Every exit status but those of a signal. Listed in chatpipe(1); never reused."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    TRUNCATED = 3
    REFUSED = 4
    MISMATCH = 5
    TOOL_CALLS = 6
    BUDGET = 7
    BAD_INPUT = 65
    NO_INPUT = 66
    UNREACHABLE = 69
    BUG = 70
    CANNOT_WRITE = 74
    TRY_LATER = 75
    BROKEN_ANSWER = 76
    NO_ACCESS = 77
    BAD_CONFIGURATION = 78
    OUT_OF_TIME = 124


class ChatpipeError(Exception):
    """One line for people, and the facts behind it for programs.

    what says the cause, in lower case and without a full stop; place is where it was found
    (`file:line`, `<stdin>`, an option) and fix what to do, either may be empty. http_status,
    request_id and body are those of the server's reply when one came; body is its raw bytes.
    """

    status = Status.BUG

    def __init__(
        self,
        what: str,
        *,
        place: str = "",
        fix: str = "",
        http_status: int | None = None,
        request_id: str | None = None,
        body: bytes | None = None,
    ) -> None:
        self.what = what
        self.place = place
        self.fix = fix
        self.http_status = http_status
        self.request_id = request_id
        self.body = body
        super().__init__(what)

    def __str__(self) -> str:
        # A server's words may end in a full stop, which a colon must not follow.
        what = self.what.removesuffix(".") if self.fix else self.what
        return ": ".join(part for part in (self.place, what, self.fix) if part)


class UsageFault(ChatpipeError):
    status = Status.USAGE


class BadInput(ChatpipeError):
    status = Status.BAD_INPUT


class Problems(BadInput):
    """Everything that is wrong with the data, told at once: each a line of its own."""

    def __init__(self, faults: Sequence[BadInput]) -> None:
        self.faults = faults
        super().__init__(f"{len(faults)} problems")


class MissingInput(ChatpipeError):
    status = Status.NO_INPUT


class Unreachable(ChatpipeError):
    status = Status.UNREACHABLE


class CannotWrite(ChatpipeError):
    status = Status.CANNOT_WRITE


class TryLater(ChatpipeError):
    status = Status.TRY_LATER


class BrokenAnswer(ChatpipeError):
    status = Status.BROKEN_ANSWER


class NoAccess(ChatpipeError):
    status = Status.NO_ACCESS


class BadConfiguration(ChatpipeError):
    status = Status.BAD_CONFIGURATION


class Interrupted(BaseException):
    """A signal came that ends the run. Not an Exception: only what cleans up may catch it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def reason(error: OSError | ValueError) -> str:
    """The system's words, as a clause: `no such file or directory`. A NUL in a name is a ValueError."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text[:1].lower() + text[1:]
