"""The first lines that a run sent. If all of them fail in the same way, the others would fail, too.

Refusals are fast and answers are slow: of 16 lines in flight, the first 15 results may be refusals although
the server answers most lines. Therefore lines count in the order in which they were sent, and nothing is
decided while one of them is in flight. Pure: the driver says what was sent and what came.
"""

from __future__ import annotations

import re
from itertools import islice

from chatpipe.batch.result import Result
from chatpipe.errors import ChatpipeError, RunRefused, Status, UnreadableReply
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import Outcome
from chatpipe.response.server_error import ServerError, error_of

# This many refusals that are alike, or lines that found no server, end a run in which nothing has succeeded.
LINES = 20
# A key that is not permitted to do anything is noticed earlier.
_FORBIDDEN = 3
# The characters of the shortest word with digits that identifies one reply.
_IDENTIFIER = 16


class _Failure(NamedTuple):
    """The failure of a line. kind is equal for failures that are alike, None for one that may pass."""

    line: int
    fault: ChatpipeError | None
    kind: object


class FirstLines:
    """The first lines of one run.

    window is the number of lines that are in flight at most. stops_early False switches the rules of
    `--halt never` off. name is the name of the input.
    """

    def __init__(self, window: int, name: str, *, stops_early: bool = True) -> None:
        self._window = max(1, min(window, LINES))
        self._name = name
        self._stops_early = stops_early
        # By number, in the order sent. None: in flight.
        self._lines: dict[int, _Failure | None] = {}
        self._answered = 0
        self._has_succeeded = False

    def send(self, number: int) -> None:
        """Count a line that is sent. number: see RunRequest."""
        if not self._has_succeeded and self._answered < LINES:  # no later line can be among the first
            self._lines[number] = None

    def observe(self, number: int, result: Result) -> ChatpipeError | None:
        """Count the result of any line. Returns the fault that ends the run, or None."""
        if self._has_succeeded:
            return None
        if result.is_good or result.completion is not None:  # paid for now or in an earlier run
            self._has_succeeded = True
            self._lines.clear()
            return None
        if number not in self._lines:
            return None
        fault = result.fault
        if result.outcome is Outcome.unsent or (fault is not None and _concerns_one_line(fault)):
            del self._lines[number]
        else:
            self._lines[number] = _Failure(result.item.line, fault, _kind_of(fault))
            self._answered += 1
        return self._verdict()

    def _verdict(self) -> ChatpipeError | None:
        first = list(islice(self._lines.values(), LINES))
        forbidden = _whole(first, _FORBIDDEN)
        if forbidden and all(_is_forbidden(each.fault) for each in forbidden):
            return forbidden[0].fault
        if not self._stops_early:
            return None
        alone = _whole(first, self._window)
        if alone and all(each.fault is not None and not each.fault.reached_server for each in alone):
            return self._stop(alone, "found no server", Status.UNREACHABLE)
        refused = _whole(first, LINES)
        if refused and refused[0].kind is not None and len({each.kind for each in refused}) == 1:
            what = "failed alike" if refused[0].kind is UnreadableReply else "were refused alike"
            return self._stop(refused, what, None)
        return None

    def _stop(self, lines: list[_Failure], what: str, status: Status | None) -> RunRefused:
        line, fault, _ = lines[0]
        assert fault is not None
        count = "the first line" if len(lines) == 1 else f"the first {len(lines)} lines"
        stopped = f"{fault.clause}: stopped, because {count} {what}"
        separator = " or " if fault.fix.endswith("?") else ", or "
        fix = separator.join(filter(None, (fault.fix, "continue with --halt never")))
        place = f"{self._name}:{line}"
        return RunRefused(stopped, fault.status if status is None else status, fault, place=place, fix=fix)


def _whole(first: list[_Failure | None], count: int) -> list[_Failure]:
    """The failures of the first lines, once each of these has failed; until then an empty list."""
    answered = [each for each in first[:count] if each is not None]
    return answered if len(answered) == count else []


def _is_forbidden(fault: ChatpipeError | None) -> bool:
    return fault is not None and fault.status is Status.NO_ACCESS and fault.refusal_status == 403


def _concerns_one_line(fault: ChatpipeError) -> bool:
    if fault.http_status is None:
        return False
    from chatpipe.wire.line_refusals import concerns_one_line  # its tables are needed after a refusal only

    error = _reported(fault)
    if error is None:
        return concerns_one_line(fault.http_status, (), fault.what.partition("': ")[2])
    return concerns_one_line(fault.http_status, (str(error.code), error.type or ""), error.message)


def _kind_of(fault: ChatpipeError | None) -> object:
    """The status, the code and the message of a refusal, without what differs between two that are alike."""
    if isinstance(fault, UnreadableReply):  # each line may be paid for, and none has an answer
        return UnreadableReply
    if fault is None or fault.http_status is None:
        return None
    error = _reported(fault)
    code = None if error is None else (str(error.code), error.type)
    message = re.sub(r"[\w-]+", _without_digits, re.sub(r", after \d+ tries$", "", fault.what))
    return fault.refusal_status, code, message


def _without_digits(word: re.Match[str]) -> str:
    """The word without its digits; nothing of an identifier such as `req_8f2ab40c71d2e95b`."""
    text = re.sub("[0-9]", "", word[0])
    return "" if len(word[0]) >= _IDENTIFIER and text != word[0] else text


def _reported(fault: ChatpipeError) -> ServerError | None:
    """The error in the body of a reply, None if there is none."""
    try:
        return error_of(values.loads(fault.body or b""))
    except NotJSON:
        return None
