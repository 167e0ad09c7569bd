"""An item and what came of it -> its outcome and its result line: the Batch API's, with one more key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from chatpipe.batch.items import Item
from chatpipe.conversation.turns import TurnRules
from chatpipe.errors import ChatpipeError, Status
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.options.outcomes import OUTCOMES, Outcome, is_accepted
from chatpipe.response import judge
from chatpipe.response.chunks import shorten
from chatpipe.wire.answer import Answer


class Result(NamedTuple):
    """One result line, without its newline. fault is why the line failed; an unwelcome answer has none.

    status is what a run ends in when all its lines fail alike. earlier is the usage of turns before
    the answer, which were paid for, too.
    """

    item: Item
    outcome: Outcome
    line: bytes
    completion: dict[str, Value] | None
    is_good: bool
    status: Status
    attempts: int = 0
    latency_s: float | None = None
    fault: ChatpipeError | None = None
    fingerprint: str = ""
    earlier_usage: tuple[Value, ...] = ()


def turns_of(result: Result) -> int:
    """How many turns of a line were sent: what is unsent, in the end, was so behind those before it."""
    return _turns(result.outcome, result.earlier_usage)


class ResultBuilder:
    """Makes the results of a run. allow: outcomes that count as good, `failed` for all without answer."""

    def __init__(
        self, allow: frozenset[str], *, calls_are_final: bool, rules: TurnRules | None = None
    ) -> None:
        """calls_are_final: text is written, so nobody can answer a tool call. rules: of the turns."""
        self._allow = allow
        self._calls_are_final = calls_are_final
        self._rules = rules

    def of_answer(self, item: Item, fingerprint: str, answer: Answer, latency_s: float) -> Result:
        """The result of a request that was sent."""
        fault = answer.fault
        if fault is not None:
            return self._failed(item, fingerprint, answer, fault, latency_s)
        completion = answer.completion
        assert completion is not None
        verdict = judge.verdict(
            completion,
            allow=frozenset(),
            text_format=self._calls_are_final or answer.turns_exhausted,
            fits=None if self._rules is None else self._rules.for_line(item.body or {}).violation,
        )
        if answer.turns_exhausted:
            verdict = judge.turns_verdict(verdict, len(answer.earlier_usage) + 1)
        outcome = Outcome.ok if verdict is None else verdict.outcome
        body: Value = completion
        if answer.body is not None and not _is_half(item.custom_id):
            body = orjson.Fragment(values.standard_line(answer.body))
        response = {"status_code": 200, "request_id": answer.request_id, "body": body}
        error = None if verdict is None else {"code": str(outcome), "message": verdict.what}
        return self._result(
            item,
            fingerprint,
            outcome,
            response,
            error,
            completion=completion,
            status=Status.OK if verdict is None else verdict.status,
            tries=answer.attempts,
            latency_s=latency_s,
            earlier=answer.earlier_usage,
        )

    def of_input(self, item: Item) -> Result:
        """The result of a line that is wrong itself."""
        assert item.fault is not None
        error = {"code": "input", "message": str(item.fault)}
        return self._result(item, "", Outcome.input, None, error, status=item.fault.status)

    def of_unsent(self, item: Item, fingerprint: str, why: str) -> Result:
        """The result of a line that was not sent."""
        error = {"code": "unsent", "message": why}
        return self._result(item, fingerprint, Outcome.unsent, None, error, status=Status.SOME_FAILED)

    def of_record(self, item: Item, line: bytes, outcome: str) -> Result:
        """The result of a line that was answered before: the recorded one, under this line's own names."""
        record = values.loads(line)
        response = record.get("response")
        completion = response.get("body") if isinstance(response, dict) else None
        is_good = is_accepted(Outcome(outcome), self._allow)
        error = None if is_good else record.get("error") or {"code": outcome, "message": "as recorded"}
        about = {**(record.get("chatpipe") or {}), "line": item.line, "outcome": outcome}
        renamed = {**record, "custom_id": item.custom_id, "error": error, "chatpipe": about}
        text = line if renamed == record else values.dumps(renamed)
        status = Status.OK if is_good else OUTCOMES[Outcome(outcome)].status
        name = about.get("fingerprint") or ""
        earlier = tuple(about.get("earlier_usage") or ())
        return Result(
            item, Outcome(outcome), text, completion, is_good, status, fingerprint=name, earlier_usage=earlier
        )

    def _failed(
        self, item: Item, fingerprint: str, answer: Answer, fault: ChatpipeError, latency_s: float
    ) -> Result:
        """http: the server said no. network: no whole answer came; what did come is there all the same.

        unsent: the budget had no room for a further turn, or the run ended before it.
        """
        response = None
        if answer.completion is not None:
            response = {"status_code": 200, "request_id": answer.request_id, "body": answer.completion}
        outcome, code = Outcome.network, "network"
        if fault.http_status is not None and fault.http_status >= 300:
            outcome, code = Outcome.http, f"http_{fault.http_status}"
            response = {
                "status_code": fault.http_status,
                "request_id": fault.request_id,
                "body": _body(fault.body or b""),
            }
        elif fault.status in (Status.BUDGET, Status.SOME_FAILED):
            outcome, code = Outcome.unsent, "unsent"
        return self._result(
            item,
            fingerprint,
            outcome,
            response,
            {"code": code, "message": _with_code(fault)},
            fault=fault,
            status=fault.status,
            tries=answer.attempts,
            latency_s=latency_s,
            earlier=answer.earlier_usage,
        )

    def _result(
        self,
        item: Item,
        fingerprint: str,
        outcome: Outcome,
        response: Value,
        error: Value,
        *,
        status: Status,
        fault: ChatpipeError | None = None,
        completion: dict[str, Value] | None = None,
        tries: int = 0,
        latency_s: float | None = None,
        earlier: tuple[Value, ...] = (),
    ) -> Result:
        is_good = is_accepted(outcome, self._allow)
        turns: dict[str, Value] = (
            {"turns": _turns(outcome, earlier), "earlier_usage": list(earlier)} if earlier else {}
        )
        record = {
            "id": f"chatpipe-{fingerprint or item.custom_id}",
            "custom_id": item.custom_id,
            "response": response,
            "error": None if is_good else error,
            "chatpipe": {
                "line": item.line,
                "outcome": str(outcome),
                "fingerprint": fingerprint or None,
                "attempts": tries,
                "latency_s": None if latency_s is None else round(latency_s, 3),
                **turns,
            },
        }
        line = values.dumps(record)
        return Result(
            item, outcome, line, completion, is_good, status, tries, latency_s, fault, fingerprint, earlier
        )


def _is_half(text: str) -> bool:
    """Whether it has half a surrogate pair, which JSON may name and orjson does not write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _turns(outcome: Outcome, earlier: Sequence[Value]) -> int:
    return len(earlier) + (outcome is not Outcome.unsent)


def _with_code(fault: ChatpipeError) -> str:
    """What went wrong, with the server's own code for it, by which a script can tell more."""
    error = _body(fault.body or b"")
    about = error.get("error") if isinstance(error, dict) else None
    code = about.get("code") if isinstance(about, dict) else None
    if not isinstance(code, str) or not code or code in fault.what:
        return fault.what
    return f"{fault.what} ({shorten(code)})"


def _body(data: bytes) -> Value:
    """The server's error as JSON where it is, else as text."""
    try:
        return values.loads(data)
    except NotJSON:
        return data.decode("utf-8", "replace")
