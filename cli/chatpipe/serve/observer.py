"""The records of a server about its clients: the log of requests, and the verdict."""

from __future__ import annotations

import time

from chatpipe.errors import CannotWrite, ClientAtFault, quantity
from chatpipe.inputs import values
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import Reply
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.attempts import Attempt, Outcome, credential_of
from chatpipe.serve.reply_steps import ReplyPlan
from chatpipe.serve.request_log import LogEntry, RequestLog, open_log
from chatpipe.serve.router import json_reply
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.verdict import ClientVerdict
from chatpipe.serve.verdict_report import verdict_lines, verdict_record
from chatpipe.system.console import Console
from chatpipe.system.replace import check_side_file, write_side_file


class Observer:
    """Watches the clients of one server: each request from its arrival to the end of its reply.

    reports_each is True if it reports every reply by itself, and not only the verdict.
    """

    def __init__(self, options: ServeOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._verdict = ClientVerdict()
        self._log: RequestLog | None = None
        self.reports_each = options.log is not None or bool(console.options.verbose)

    def open(self) -> None:
        """Open the files, before a client comes. Raises CannotWrite, and UsageFault for one with two uses."""
        self._log = open_log(self._options.log, self._options.uses)
        if self._options.verdict is not None:
            check_side_file(self._options.verdict)

    def arrived(self, request: ServedRequest, body: ChatBody, connections: int, now: float) -> Attempt:
        """Judge a request for a completion, whose reply has this attempt.

        connections are those that are open. now is monotonic.
        """
        return self._verdict.begin(body, credential_of(request.raw_headers), connections, now)

    def answered(self, request: ServedRequest, body: ChatBody, connections: int, now: float) -> None:
        """Judge a request for a completion whose good answer is sent as it arrives. now is monotonic."""
        self._verdict.answer(body, credential_of(request.raw_headers), connections, now)

    def ended(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool, is_stopping: bool) -> None:
        """Note the end of a reply. Raises BrokenPipe of the log."""
        if plan.attempt is not None:
            now = time.monotonic()
            outcome = _outcome(plan, is_complete=is_complete, is_stopping=is_stopping)
            if "stall" in plan.faults:
                plan.attempt.stalled_s = entry.longest_pause_s(now)
            plan.attempt.end(outcome, plan.status, plan.headers, now, time.time())
            self._verdict.end(plan.attempt)
        if self._console.options.verbose:
            self._console.detail(entry.summary(plan, is_complete=is_complete))
        if self._log is not None:
            self._write(self._log, entry.record(plan, is_complete=is_complete))

    def _write(self, log: RequestLog, record: dict[str, values.Value]) -> None:
        """Write a line of the log. Clients get their replies also while its disk is full."""
        try:
            log.write(record)
        except CannotWrite as error:
            self._console.warn_once([f"{error}: further requests are missing from the log"])

    def reply(self) -> Reply:
        """The verdict so far."""
        return json_reply(200, self._record())

    def report(self) -> None:
        """Report the verdict. Raises CannotWrite."""
        if self._verdict.requests:
            for line in verdict_lines(self._verdict):
                self._console.note(line)
        if self._options.verdict is not None:
            write_side_file(self._options.verdict, values.dumps(self._record()) + b"\n")

    def judge(self) -> None:
        """Raise CannotWrite if the log lacks lines, or ClientAtFault if that is to be the end."""
        if self._log is not None and (fault := self._log.fault) is not None:
            what = f"{fault.what}: the log lacks {quantity(self._log.lost, 'line')}"
            raise CannotWrite(what, place=fault.place, fix=fault.fix)
        if self._options.fail_on_verdict and (wrong := self._verdict.wrong):
            raise ClientAtFault(
                f"the client was wrong {quantity(wrong, 'time')}",
                fix="chatpipe man serve explains the findings",
            )

    def _record(self) -> values.Value:
        return verdict_record(self._verdict, time.time() - time.monotonic())


def _outcome(plan: ReplyPlan, *, is_complete: bool, is_stopping: bool) -> Outcome:
    if not is_complete:
        return "stopped" if is_stopping else "left"
    if plan.status >= 400:
        return "refused"
    if plan.ending is not None or not plan.status:
        return "lost"
    if plan.is_cut:
        return "cut"
    return "spoiled" if plan.is_spoiled else "answered"
