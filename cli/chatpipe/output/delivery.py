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
from chatpipe.output.records import call_lines, choices, usage_line
from chatpipe.output.target import Opened, kept
from chatpipe.response import judge

Fits = Callable[[Value], object | None]
# Formats that hand no tool calls on.
_FINAL = ("text", "audio")
# Formats that hand on all that came, whatever it is.
_ENTIRE = ("json", "chunks", "sse")
# Of what came instead of an answer so much is shown where no file takes it.
_SHOWN_BYTES = 4096


class Out(Protocol):
    """What an answer is written to. started: some of it has left, or is in the file to be.

    is_kept: what is written is kept aside where it is no result. keep_unreadable() says whether it has
    taken what is no answer.
    """

    @property
    def started(self) -> bool: ...

    @property
    def is_kept(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def keep_unreadable(self, data: bytes) -> bool: ...


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
            return None if answer.fault is None else self._with_body(answer.fault, answer.body)
        counted = _with_total_usage(answer)
        # Every format but this one shows the last answer as it came.
        broken = self._ended(counted if self._printing.format == "usage" else answer.completion, answer.body)
        if self._printing.usage:
            notices.write(usage_line(counted) + b"\n")
        fault = answer.fault or broken
        if fault is not None:
            self._hand_over_calls(answer.completion, is_result=False)
            return fault
        if self._printing.format == "logprobs" and not self._out.started:
            self._told.note("no log probabilities in the answer: ask with --logprobs")
        verdict = self.verdict(answer)
        self._hand_over_calls(answer.completion, is_result=verdict is None)
        if verdict is None:
            return None
        if not choices(answer.completion) and self._printing.format not in _ENTIRE:
            return self._with_body(AnswerFault(verdict), answer.body)
        return AnswerFault(verdict)

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
            self._with_body(fault, body)
            return fault
        return None

    def _hand_over_calls(self, completion: Mapping[str, Value], *, is_result: bool) -> None:
        """Tool calls, which were paid for, where the format has no place for them: as `-f tool-calls`.

        They go to what is kept aside, but never into a result, nor into sound.
        """
        if self._printing.format not in _FINAL:
            return
        lines = b"".join(call_lines(completion))
        if self._printing.format == "text" and self._out.is_kept and not is_result:
            self._out.write(lines)
        elif lines:
            self._told.aside(lines.decode())

    def _with_body(self, fault: ChatpipeError, body: bytes | None) -> ChatpipeError:
        """The fault, with what came instead of an answer kept in the file, or shown, or said to be large."""
        if not body or self._out.keep_unreadable(body):
            return fault
        fault.body = body  # an error in JSON holds it
        if self._told.telling.error_format == "json":
            return fault
        if len(body) > _SHOWN_BYTES:
            fix = f"--output FILE keeps the {len(body)} bytes that came"
            fault.fix = fix + (f", {fault.fix}" if fault.fix else "")
        else:
            text = body.decode("utf-8", "backslashreplace")
            self._told.aside(text if text.endswith("\n") else text + "\n")
        return fault


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
