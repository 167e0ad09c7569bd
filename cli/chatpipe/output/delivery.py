"""One answer on its way out: handed to its format as it comes, and judged at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatpipe.errors import BrokenAnswer, ChatpipeError
from chatpipe.exchange import Answer
from chatpipe.inputs.values import Value
from chatpipe.output import notices
from chatpipe.output.formats import writer
from chatpipe.output.notices import Notices
from chatpipe.output.options import Printing
from chatpipe.output.records import usage_line
from chatpipe.output.target import Opened, kept
from chatpipe.response import judge

Fits = Callable[[Value], object | None]
# Formats that hand no tool calls on.
_FINAL = ("text", "audio")


class Out(Protocol):
    """What an answer is written to. started: some of it has left, or is in the file to be."""

    @property
    def started(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def keep_unreadable(self, data: bytes) -> None: ...


class Delivery:
    """The receiver of an exchange. finish() says how it ended."""

    def __init__(self, out: Out, printing: Printing, told: Notices, fits: Fits | None = None) -> None:
        """Answers are held to fits, which tells why a content is not of the form asked for, if it is not."""
        self._out = out
        self._printing = printing
        self._told = told
        self._fits = fits
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
        counted = _with_total_usage(answer)
        # Every format but this one shows the last answer as it came.
        broken = self._ended(counted if self._printing.format == "usage" else answer.completion, answer.body)
        if self._printing.usage:
            notices.write(usage_line(counted) + b"\n")
        if answer.fault is not None:
            return answer.fault
        if broken is not None:
            return broken
        if self._printing.format == "logprobs" and not self._out.started:
            self._told.note("no log probabilities in the answer: ask with --logprobs")
        verdict = self.verdict(answer)
        return None if verdict is None else AnswerFault(verdict)

    def verdict(self, answer: Answer) -> judge.Verdict | None:
        """What is not good about an answer that came; None where all is."""
        if answer.completion is None or answer.fault is not None:
            return None
        verdict = judge.verdict(
            answer.completion,
            allow=self._printing.allow,
            text_format=self._printing.format in _FINAL or answer.is_exhausted,
            fits=self._fits,
        )
        if verdict is None and self._printing.format == "audio":
            return judge.without_audio(answer.completion, allow=self._printing.allow)
        return judge.exhausted(verdict, len(answer.earlier) + 1) if answer.is_exhausted else verdict

    def _ended(self, completion: dict[str, Value], body: bytes | None) -> BrokenAnswer | None:
        """Write the end. What cannot be read as its format wants it is kept as it came, if it came whole."""
        try:
            self._writer.end(completion, body)
        except BrokenAnswer as fault:
            self._out.keep_unreadable(body or b"")
            return fault
        return None


def _with_total_usage(answer: Answer) -> dict[str, Value]:
    """The completion, with the usage of all turns where there were several: they were all paid for."""
    completion = answer.completion or {}
    if not answer.earlier:
        return completion
    from chatpipe.dialogue.converse import total_usage

    return {**completion, "usage": total_usage(completion.get("usage"), answer.earlier)}


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
