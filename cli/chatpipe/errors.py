"""The errors that end a command, and the exit status of each.

    ChatpipeError             70   the base class; raised itself, it is a bug
      UsageFault               2   the command line contradicts itself
      BudgetReached            7   --max-total-tokens or --max-cost leaves no room for a request
      BadInput                65   a request, a line or a file is wrong
        Problems              65   several of them, each reported on a line of its own
        TooLarge              65   a request is larger than a file of the provider may be
      MissingInput            66   a named file cannot be read
        NotRecorded           66   --replay has no recording of a request
      Unreachable             69   no server answers, or 5xx after all retries
        NoServerLeft          69   every server of a run is left out
      CannotWrite             74   stdout, -o or a side file
      TryLater                75   rate limit or time-out after all retries
        PausedTooLong         75   the pauses are longer than --max-pause
      BrokenAnswer            76   cut stream, not JSON, an error event in a stream
        ReplyTooLong          76   a reply without an end, cut off at its limit
        UnreadableReply       76   a reply of another kind: a web page, another API, malformed HTTP
      NoAccess                77   key or permission
        NoCredit              77   the account has to be paid for
        NoNewKey              77   the key has expired, and its command gives no other
      BadConfiguration        78   settings that cannot work
      Halted                   1   --halt ended the run
      NoAnswer                 1   a recorded line has no answer to show
      UnfinishedConversation   1   the run ended between two turns of a line
      ClientAtFault            1   the client of a local server did something wrong
      OutcomeFault             *   an answer or a line is not good; its outcome gives the status
        AnswerFault            *   one answer: 3 to 6, or 76 (response/judge.py)
        LineFailed             *   one line of a run
        RunRefused             *   the first lines of a run, all for the same reason
        SomeFailed             *   lines of a run: 1, or their status if all failed alike

Interrupted is not one of them: a signal ends the process. `main.py` is the only place that turns an
error into a line on stderr and an exit status.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from enum import IntEnum

TYPE_CHECKING = False  # as in typing, which --version does without
if TYPE_CHECKING:
    from typing import Any, Self


OUT_OF_MEMORY = "out of memory"
FREE_MEMORY = "free memory, or raise `ulimit -v`, and run the same command again"
# The words of the dynamic loader for a library that does not fit into memory. No error number is with them.
_UNMAPPED = ("failed to map segment", "cannot allocate memory", "cannot map zero-fill pages")


class Status(IntEnum):
    """Every exit status except those of signals. chatpipe(1) lists them. None is ever reused."""

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


def quantity(number: int, noun: str) -> str:
    """A number and its noun: `1 line`, `2 lines`, `2 tries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


class ChatpipeError(Exception):
    """One line for people, and the facts behind it for programs.

    what names the cause, in lower case and without a full stop. place is where it was found:
    `file:line`, `<stdin>`, an option. fix says what to do. place and fix may be empty. http_status,
    request_id and body come from the server's reply, if there was one. body is its raw bytes.
    refusal_status is the HTTP status that the refusal counts as: http_status, unless the body says better.
    reached_server is False if no connection to the server came about.
    """

    status = Status.BUG
    reached_server = True

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
        self.refusal_status = http_status
        self.request_id = request_id
        self.body = body
        super().__init__(what)

    def with_reply_of(self, other: ChatpipeError) -> Self:
        """Take the facts of a reply from another error. Returns this one."""
        self.http_status, self.refusal_status = other.http_status, other.refusal_status
        self.request_id, self.body = other.request_id, other.body
        return self

    @property
    def clause(self) -> str:
        """The cause for the middle of a sentence: without the full stop of a server's words."""
        return self.what if self.what.endswith("..") else self.what.removesuffix(".")

    def __str__(self) -> str:
        what = self.clause if self.fix else self.what
        return ": ".join(part for part in (self.place, what, self.fix) if part)


class UsageFault(ChatpipeError):
    status = Status.USAGE


class BudgetReached(ChatpipeError):
    status = Status.BUDGET


class BadInput(ChatpipeError):
    status = Status.BAD_INPUT


class Problems(BadInput):
    """All problems of the data at once. Each is reported on a line of its own."""

    def __init__(self, faults: Sequence[BadInput]) -> None:
        self.faults = faults
        super().__init__(quantity(len(faults), "problem"))


class TooLarge(BadInput):
    """A request that is larger than a file of the provider may be."""


class MissingInput(ChatpipeError):
    status = Status.NO_INPUT


class NotRecorded(MissingInput):
    """A request that was not recorded. Nothing was sent, or only to a `chatpipe serve --replay`."""


class Unreachable(ChatpipeError):
    status = Status.UNREACHABLE


class NoServerLeft(Unreachable):
    """None of several servers can be reached. The next line would find none either."""

    reached_server = False


class CannotWrite(ChatpipeError):
    status = Status.CANNOT_WRITE


class TryLater(ChatpipeError):
    status = Status.TRY_LATER


class PausedTooLong(TryLater):
    """The server asks for a longer pause than the user permits. The request was not sent."""


class BrokenAnswer(ChatpipeError):
    status = Status.BROKEN_ANSWER


class ReplyTooLong(BrokenAnswer):
    """A reply that was cut off at a limit of ours. The same request would end in the same way."""


class UnreadableReply(BrokenAnswer):
    """A reply that is no completion, or whose HTTP or compression cannot be read here.

    The server would send each one like that.
    """


class NoAccess(ChatpipeError):
    status = Status.NO_ACCESS


class NoCredit(NoAccess):
    """The account has no credit left. Every further request would be refused as well."""


class BadConfiguration(ChatpipeError):
    status = Status.BAD_CONFIGURATION


class Halted(ChatpipeError):
    status = Status.SOME_FAILED


class NoAnswer(ChatpipeError):
    status = Status.SOME_FAILED


class UnfinishedConversation(ChatpipeError):
    """Some turns of a line were paid for, but there is no final answer."""

    status = Status.SOME_FAILED


class ClientAtFault(ChatpipeError):
    """A client did something that no client should do."""

    status = Status.SOME_FAILED


class OutcomeFault(ChatpipeError):
    """An answer or a line that is not good. Its outcome decides the status."""

    def __init__(self, what: str, status: Status, *, place: str = "", fix: str = "") -> None:
        self.status = status
        super().__init__(what, place=place, fix=fix)


class AnswerFault(OutcomeFault):
    pass


class LineFailed(OutcomeFault):
    pass


class RunRefused(OutcomeFault):
    """The first lines of a run failed alike. It has the facts of the reply to the first of them."""

    def __init__(self, what: str, status: Status, first: ChatpipeError, *, place: str, fix: str) -> None:
        super().__init__(what, status, place=place, fix=fix)
        self.with_reply_of(first)


class SomeFailed(OutcomeFault):
    pass


class Interrupted(BaseException):
    """A signal that ends the run. It is not an Exception, so that only code that cleans up catches it.

    completion is the part of a streamed answer that had come, without secrets; None if there was none.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.completion: dict[str, Any] | None = None
        super().__init__(number)


def reason(error: OSError | ValueError) -> str:
    """The system's message as a clause: `no such file or directory`.

    Python checks names itself: one with a NUL is a ValueError, whose words differ between its versions.
    """
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if not isinstance(error, OSError):
        return "NUL byte in its name"
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def lacks_memory(error: Exception) -> bool:
    """Return True if the cause is a lack of memory: of Python, of the system, or for a library."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError):
        words = str(error).lower()
        return any(each in words for each in _UNMAPPED)
    return isinstance(error, MemoryError)
