"""One answer on its way out: handed to its format as it comes, and judged at its end."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.errors import ChatpipeError
from chatpipe.exchange import Answer
from chatpipe.inputs.values import Value
from chatpipe.output import notices
from chatpipe.output.formats import writer
from chatpipe.output.notices import Notices
from chatpipe.output.options import Printing
from chatpipe.output.records import usage_line
from chatpipe.output.target import Opened, kept
from chatpipe.response import judge


class Delivery:
    """The receiver of an exchange. finish() says how it ended."""

    def __init__(self, out: Opened, printing: Printing, told: Notices) -> None:
        self._out = out
        self._printing = printing
        self._told = told
        self._writer = writer(printing, out, told.aside)

    @property
    def started(self) -> bool:
        return self._out.started

    def raw(self, data: bytes) -> None:
        self._writer.raw(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        self._writer.chunk(payload, chunk)

    def finish(self, answer: Answer) -> ChatpipeError | None:
        """Write what is left of the answer. Returns why it is not good; None when it is."""
        if answer.completion is None:
            if answer.body is not None:
                self._out.keep_unreadable(answer.body)
            return answer.fault
        self._writer.end(answer.completion, answer.body)
        if self._printing.usage:
            notices.write(usage_line(answer.completion) + b"\n")
        if answer.fault is not None:
            return answer.fault
        if self._printing.format == "logprobs" and not self._out.started:
            self._told.note("no log probabilities in the answer: ask with --logprobs")
        verdict = judge.verdict(
            answer.completion, allow=self._printing.allow, text_format=self._printing.format == "text"
        )
        if verdict is None:
            return None
        return AnswerFault(verdict)


class AnswerFault(ChatpipeError):
    """An answer came, and it is not good: status 3, 4, 6 or 76."""

    def __init__(self, verdict: judge.Verdict) -> None:
        self.status = verdict.status
        super().__init__(verdict.what, fix=verdict.fix)


def conclude(out: Opened, fault: ChatpipeError | None) -> int:
    """Replace the output if all is good; else keep what came and raise the fault, which says where."""
    if fault is not None:
        raise kept(out, fault)
    out.replace()
    return 0
