"""Results of a run: an item and its answer, its recorded line or its fault -> outcome and result line."""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from chatpipe.batch.items import Item
from chatpipe.batch.recorded_judge import RecordedJudge
from chatpipe.conversation.turns import TurnRules
from chatpipe.errors import ChatpipeError, ReplyTooLong, Status, Unreachable
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.engines import JOB_ENGINE
from chatpipe.options.outcomes import OK, OUTCOMES, UNSENT, Outcome, is_accepted
from chatpipe.options.output import Format
from chatpipe.response import judge
from chatpipe.response.completion import is_plain_text
from chatpipe.response.result_line import (
    LineError,
    LostAttempts,
    Metadata,
    ResultLine,
    make_good_lines,
    make_line,
    make_response,
    timestamp,
)
from chatpipe.system.escape import shorten
from chatpipe.wire.answer import Answer
from chatpipe.wire.stream_answer import other_fault

# Of a reply that is no answer. A result line is no place for more.
_MOST_BODY_BYTES = 1_000_000
# The faults of requests that were not sent: no budget, a run that ended, no recording, none that can be made.
_UNSENT = (Status.BUDGET, Status.SOME_FAILED, Status.NO_INPUT, Status.CANNOT_WRITE)


class Result(LineRecord):
    """The result of one line of input.

    line is its result line, without the newline. status is the exit status of a run in which all lines
    fail like this one. latency_s is None if the line was not sent in this run. fault is the reason
    why a request got no answer; an answer that is not good has none. earlier_usage is the usage of the
    turns before the answer, which were paid for too. server is the one that answered in this run. in_job:
    a job of the Batch API did, at its price. has_failed_tool: the command of a tool failed before the answer.
    is_plain: the completion is a plain text, so that there is nothing to warn of.
    """

    item: Item
    outcome: Outcome
    line: bytes
    completion: dict[str, Value] | None
    is_good: bool
    status: Status
    latency_s: float | None = None
    fault: ChatpipeError | None = None
    fingerprint: str = ""
    earlier_usage: tuple[Value, ...] = ()
    server: str | None = None
    in_job: bool = False
    has_failed_tool: bool = False
    is_plain: bool = False

    @property
    def was_sent(self) -> bool:
        """True if the line was sent in this run. A line in a job that failed as a whole was not."""
        return self.latency_s is not None and self.outcome is not UNSENT


class PlainAnswers(NamedTuple):
    """Answers of a job that are one good text each, to requests that follow one another in the input.

    responses has the value of `response` of each result line, as JSON.
    """

    completions: Sequence[dict[str, Value]]
    responses: Sequence[bytes]
    latency_s: float
    at: str


class ResultBuilder:
    """The builder of all results of a run.

    allow holds the outcomes that count as good; `failed` stands for all outcomes without an answer.
    properties describe the output's format. server and engine are the names in records of what
    answered, unless an answer names others. lost has the lost attempts by line: see Budget. takes_any_text
    is true if no plain text needs a verdict: there is no schema, and the output is no code.
    """

    def __init__(
        self,
        allow: frozenset[str],
        properties: Format,
        rules: TurnRules | None = None,
        *,
        server: str | None = None,
        engine: str | None = None,
        lost: dict[int, LostAttempts] | None = None,
    ) -> None:
        self._allow = allow
        self._lost: dict[int, LostAttempts] = {} if lost is None else lost
        self._calls_are_final = properties.calls_are_final
        self._needs_code = properties.is_code
        self._rules = rules
        self.takes_any_text = rules is None and not properties.is_code
        self._recorded = RecordedJudge(rules, needs_code=properties.is_code)
        self._server = server
        self._engine = engine

    def of_answer(self, item: Item, fingerprint: str, answer: Answer, latency_s: float) -> Result:
        """The result of a request that was sent."""
        fault = answer.fault
        if fault is not None:
            return self._of_fault(item, fingerprint, answer, fault, latency_s)
        completion = answer.completion
        assert completion is not None
        is_plain = is_plain_text(completion)
        verdict = None if is_plain and self.takes_any_text else self._verdict(item, completion, answer)
        if verdict is not None and not completion.get("choices"):
            other = other_fault(completion)
            if other is not None:
                return self._of_fault(item, fingerprint, answer, other, latency_s)
        outcome = OK if verdict is None else verdict.outcome
        body: Value = completion
        if answer.body is not None and not _has_lone_surrogate(item.custom_id):
            body = orjson.Fragment(values.standard_line(answer.body))
        return self._build(
            item,
            self._metadata(item, outcome, fingerprint, answer, latency_s),
            make_response(200, answer.request_id, body),
            None if verdict is None else LineError(str(outcome), verdict.what),
            completion=completion,
            is_plain=is_plain,
        )

    def of_plain(self, items: Sequence[Item], answers: PlainAnswers) -> list[Result]:
        """The results of requests that a job has answered. Needs takes_any_text."""
        assert self.takes_any_text
        completions, responses, latency_s, at = answers
        metadata = Metadata(0, OK, "", 1, latency_s, (), at, self._server, JOB_ENGINE)
        names = [(item.custom_id, item.line, item.fingerprint) for item in items]
        rows = zip(items, make_good_lines(names, responses, metadata), completions, strict=True)
        server, status = self._server, Status.OK
        return [
            Result(
                *(item, OK, line, completion, True, status, latency_s, None, item.fingerprint, ()),
                *(server, True, False, True),
            )
            for item, line, completion in rows
        ]

    def of_input(self, item: Item) -> Result:
        """The result of a line that is invalid itself."""
        assert item.fault is not None
        return self._build(
            item, Metadata(item.line, Outcome.input), None, LineError("input", str(item.fault))
        )

    def of_unsent(self, item: Item, fingerprint: str, why: str) -> Result:
        """The result of a line that was not sent."""
        metadata = Metadata(item.line, Outcome.unsent, fingerprint)
        return self._build(item, metadata, None, LineError("unsent", why))

    def of_abandoned(self, item: Item, fingerprint: str) -> Result | None:
        """The result of a line that was at the server when the run ended. None for one that was not."""
        lost = self._lost.get(item.line)
        if lost is None:
            return None
        fault = Unreachable("the run ended before the answer")
        answer = Answer(None, None, fault, attempts=lost.last)
        return self._of_fault(item, fingerprint, answer, fault, None)

    def of_record(self, item: Item, fingerprint: str, line: bytes, outcome: str) -> Result:
        """The result of a line that has a recorded answer: that result line, under the item's own names.

        fingerprint is the item's. The line may have another one.
        """
        found = ResultLine(values.loads_exact(line))
        judged = self._recorded.outcome(item, fingerprint, found, Outcome(outcome))
        is_good = self._is_good(judged, found.completion)
        reason = "" if is_good else self._reason(item, fingerprint, found, judged)
        renamed = found.renamed(item.custom_id, item.line, judged, is_good=is_good, reason=reason)
        return Result(
            item,
            judged,
            line if renamed.record == found.record else values.dumps(renamed.record),
            found.completion,
            is_good,
            Status.OK if is_good else OUTCOMES[judged].status,
            fingerprint=found.fingerprint or "",
            earlier_usage=found.earlier_usage,
            has_failed_tool=found.has_failed_tool,
            is_plain=found.completion is not None and is_plain_text(found.completion),
        )

    def _metadata(
        self, item: Item, outcome: Outcome, fingerprint: str, answer: Answer, latency_s: float | None
    ) -> Metadata:
        lost = self._lost.pop(item.line, None) if self._lost else None
        return Metadata(
            item.line,
            outcome,
            fingerprint,
            answer.attempts,
            latency_s,
            answer.earlier_usage,
            answer.at or timestamp(time.time()),
            answer.server or self._server,
            answer.engine or self._engine,
            answer.failed_tools,
            None if lost is None else lost.usage,
        )

    def _verdict(self, item: Item, completion: dict[str, Value], answer: Answer) -> judge.Verdict | None:
        """The verdict on the completion of an answer of this run."""
        calls_are_final = self._calls_are_final or answer.turns_exhausted
        verdict = judge.verdict(
            completion,
            allow=frozenset(),
            text_format=calls_are_final or self._has_calls_left(answer),
            needs_code=self._needs_code,
            violation_of=None if self._rules is None else self._rules.for_line(item.body or {}).violation,
        )
        if answer.turns_exhausted:
            return judge.turns_verdict(verdict, len(answer.earlier_usage) + 1)
        return verdict

    def _has_calls_left(self, answer: Answer) -> bool:
        """Return True for a job's answer whose calls another engine would have run."""
        has_tools = self._rules is not None and self._rules.tools is not None
        return has_tools and answer.engine == JOB_ENGINE

    def _of_fault(
        self, item: Item, fingerprint: str, answer: Answer, fault: ChatpipeError, latency_s: float | None
    ) -> Result:
        """The result of a request without a whole answer.

        http: the server refused it, by its status or in a reply with status 200. unsent: the budget had
        no room for a further turn, or the run ended before that turn. truncated: it was cut off at its
        limit. network: anything else. The line holds the part of the answer that came.
        """
        response, outcome, code = None, Outcome.network, "network"
        refused = fault.refusal_status
        if answer.completion is not None:
            response = make_response(200, answer.request_id, answer.completion)
        elif fault.http_status is not None:
            response = make_response(fault.http_status, fault.request_id, _error_body(fault))
            refused = fault.http_status if fault.http_status >= 300 else refused
        elif answer.body is not None and not isinstance(fault, ReplyTooLong):  # it may have been paid for
            response = make_response(200, answer.request_id, _body_value(answer.body[:_MOST_BODY_BYTES]))
        if answer.completion is None and refused is not None:
            outcome, code = Outcome.http, f"http_{refused}"
        elif fault.status in _UNSENT:
            outcome, code = Outcome.unsent, "unsent"
        elif isinstance(fault, ReplyTooLong):
            outcome, code = Outcome.truncated, "truncated"
        return self._build(
            item,
            self._metadata(item, outcome, fingerprint, answer, latency_s),
            response,
            LineError(code, fault_message(fault)),
            completion=answer.completion if outcome is Outcome.truncated else None,
        )._replace(status=fault.status, fault=fault)

    def _reason(self, item: Item, fingerprint: str, found: ResultLine, known: Outcome) -> str:
        """The reason why a recorded answer is not good; empty if the recorded one holds.

        It may have been good for the run that recorded it. If that run had other rules, the outcome alone is
        known.
        """
        if found.record.get("error") and not self._recorded.judges_anew(item, fingerprint, found):
            return ""
        verdict = self._recorded.verdict(item, found.completion or {})
        if verdict is not None and verdict.outcome is known:
            return verdict.what
        return "" if found.record.get("error") else f"recorded as '{known}'"

    def _is_good(self, outcome: Outcome, completion: dict[str, Value] | None) -> bool:
        """Return True if the line is a success. Of a reply that was cut off there may be nothing to read."""
        if outcome is OK:  # nearly always
            return completion is not None
        return is_accepted(outcome, self._allow) and (completion is not None or not OUTCOMES[outcome].paid)

    def _build(
        self,
        item: Item,
        metadata: Metadata,
        response: Value,
        error: LineError | None,
        *,
        completion: dict[str, Value] | None = None,
        is_plain: bool = False,
    ) -> Result:
        outcome = metadata.outcome
        is_good = self._is_good(outcome, completion)
        return Result(
            item,
            outcome,
            make_line(item.custom_id, metadata, response, None if is_good else error),
            completion,
            is_good,
            OUTCOMES[outcome].status,
            metadata.latency_s,
            None,
            metadata.fingerprint,
            metadata.earlier_usage,
            metadata.server,
            metadata.engine == JOB_ENGINE,
            bool(metadata.failed_tools),
            is_plain,
        )


def _has_lone_surrogate(text: str) -> bool:
    """Return True if text has half of a surrogate pair. JSON may contain one, but orjson cannot write it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def fault_message(fault: ChatpipeError) -> str:
    """The message of a fault with the server's own error code, by which a script can tell errors apart."""
    body = _error_body(fault)
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str) or not code or code in fault.what:
        return fault.what
    return f"{fault.what} ({shorten(code)})"


def _error_body(fault: ChatpipeError) -> Value:
    """The body of the server's reply: as JSON if it is JSON, otherwise as text."""
    return _body_value(fault.body or b"")


def _body_value(data: bytes) -> Value:
    try:
        return values.loads(data)
    except NotJSON:
        return data.decode("utf-8", "replace")
