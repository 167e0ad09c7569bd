"""The delivery of one answer: pass it to its format as it arrives, and judge it at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Protocol

from chatpipe.errors import AnswerFault, BrokenAnswer, ChatpipeError
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import OUTCOMES, Outcome
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import create_writer
from chatpipe.output.records import call_lines, usage_line
from chatpipe.output.target import OpenOutput
from chatpipe.response import judge
from chatpipe.response.caveats import caveats
from chatpipe.response.completion import choices, messages, reasoning_of
from chatpipe.response.usage import reported_usage, total_usage
from chatpipe.system import console
from chatpipe.system.console import Console
from chatpipe.wire.answer import Answer

if TYPE_CHECKING:
    from chatpipe.response.result_line import ResultLine

ContentCheck = Callable[[Value], object | None]
# The largest reply that is printed if it is not an answer and no file takes it.
_SHOWN_BYTES = 4096


class AnswerOutput(Protocol):
    """The output of one answer.

    started: some bytes have been written, to their destination or to a temporary file. is_kept: content
    that is no result is kept as FILE.chatpipe-part. keep_reply() takes a reply that is no answer, and returns
    True if it stored it.
    """

    @property
    def started(self) -> bool: ...

    @property
    def is_kept(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def keep_reply(self, data: bytes) -> bool: ...


class StderrOut:
    """An output that sends a refused answer to stderr, because no file keeps it."""

    started = False
    is_kept = False

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, data: bytes) -> None:
        self._console.server_text(data.decode("utf-8", "replace"))

    def keep_reply(self, data: bytes) -> bool:
        """Return False: the answer is readable, only its content is not what was asked for."""
        return False


class Delivery:
    """A receiver that writes one answer in the format asked for. finish() returns its fault."""

    def __init__(
        self,
        out: AnswerOutput,
        options: FormatOptions,
        console: Console,
        violation_of: ContentCheck | None = None,
        *,
        is_recorded: bool = False,
    ) -> None:
        """Write to out. violation_of returns what is wrong with a content, None if it has the form asked for.

        is_recorded: the answer came earlier, so no request can be changed.
        """
        self._is_recorded = is_recorded
        self._out = out
        self._options = options
        self._console = console
        self._violation_of = violation_of
        self._writer = create_writer(options, out, console.server_text)

    @property
    def started(self) -> bool:
        return self._out.started or self._writer.is_holding

    @property
    def takes(self) -> Literal["bytes", "chunks"]:
        return "bytes" if self._options.properties.is_event_stream else "chunks"

    def raw(self, data: bytes) -> None:
        self._writer.raw(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        self._writer.chunk(payload, chunk)

    def expect_end(self) -> None:
        self._writer.expect_end()

    def recorded(self, line: ResultLine) -> None:
        """Take the result line that holds the answer, or the reason why there is none."""
        self._writer.recorded(line)

    def finish(self, answer: Answer) -> ChatpipeError | None:
        """Write the rest of the answer. Returns the reason why it is not good; None if it is."""
        if answer.fault is not None:
            self._writer.fail(answer.fault, is_end=answer.completion is None)
        if answer.completion is None:
            return None if answer.fault is None else self._with_body(answer.fault, answer.body)
        format = self._options.properties
        with_total = _with_total_usage(answer)
        format_fault = self._end(with_total if format.counts_all_turns else answer.completion, answer.body)
        if self._options.usage:
            console.write_json(usage_line(with_total))
        fault = answer.fault or format_fault
        if fault is not None:
            self._emit_calls(answer.completion, is_result=False)
            return fault
        found = caveats(answer.completion, only_text=format.calls_are_final, only_first=format.is_audio)
        self._console.warn_once(found)
        if format.note_if_empty and not self._out.started:
            self._console.note(format.note_if_empty)
        verdict = self.verdict(answer)
        self._emit_calls(answer.completion, is_result=verdict is None)
        if verdict is None:
            return None
        fix = OUTCOMES[verdict.outcome].recorded_fix if self._is_recorded else verdict.fix
        unfit = AnswerFault(verdict.what, verdict.status, fix=fix)
        if not choices(answer.completion) and not format.is_verbatim:
            return self._with_body(unfit, answer.body)
        return unfit

    def keep_part(self, completion: dict[str, Value] | None) -> None:
        """Write the part that came before a signal, into the file that keeps it; None if there is none.

        A format that writes an answer as it arrives has already done so, except for the calls that it omits.
        A fault is ignored, because the signal decides how the program ends.
        """
        if not (completion and self._out.is_kept and choices(completion)):
            return
        omits_calls = self._options.properties.omits_calls and any(call_lines(completion))
        if omits_calls or not self._out.started:
            with suppress(ChatpipeError):
                self._writer.end(completion, None)
                self._emit_calls(completion, is_result=False)

    def verdict(self, answer: Answer) -> judge.Verdict | None:
        """The verdict on a whole answer; None if it is good, or if no whole answer came."""
        if answer.completion is None or answer.fault is not None:
            return None
        verdict = judge.verdict(
            answer.completion,
            allow=self._options.allow,
            text_format=self._options.properties.omits_calls or answer.turns_exhausted,
            needs_code=self._options.properties.is_code,
            violation_of=self._violation_of,
        )
        if verdict is None and self._options.properties.is_audio:
            return judge.audio_verdict(answer.completion, allow=self._options.allow)
        return (
            judge.turns_verdict(verdict, len(answer.earlier_usage) + 1) if answer.turns_exhausted else verdict
        )

    def _end(self, completion: dict[str, Value], body: bytes | None) -> BrokenAnswer | None:
        """Write the end. If the format cannot read an answer in one piece, keep its bytes as received.

        Text in the place of code goes to stderr if no file keeps it: stdout may be the input of a shell.
        """
        options, writer = self._options, self._writer
        takes_text = self._out.is_kept or Outcome.mismatch in options.allow
        if options.properties.is_code and not takes_text and judge.lacks_code(completion):
            writer = create_writer(options, StderrOut(self._console), self._console.server_text)
        try:
            writer.end(completion, body)
        except BrokenAnswer as fault:
            self._with_body(fault, body)
            return fault
        if options.reasoning == "stderr" and not writer.writes_reasoning:
            for reasoning in filter(None, map(reasoning_of, messages(completion))):
                writer.stderr_line(reasoning)
        return None

    def _emit_calls(self, completion: Mapping[str, Value], *, is_result: bool) -> None:
        """Emit tool calls as `-f tool-calls` does, if the format omits them: they were paid for.

        They go into the partial file or to stderr, but never into a result or into audio.
        """
        if not self._options.properties.omits_calls:
            return
        lines = b"".join(call_lines(completion))
        if self._options.properties.is_text and self._out.is_kept and not is_result:
            self._out.write(lines)
        elif lines:
            self._console.server_text(lines.decode())

    def _with_body(self, fault: ChatpipeError, body: bytes | None) -> ChatpipeError:
        """The fault, after the reply's body was kept in the file, printed, or reported as large."""
        if not body or self._out.keep_reply(body):
            return fault
        fault.body = body  # an error in JSON holds it
        if self._console.options.error_format == "json":
            return fault
        if len(body) > _SHOWN_BYTES:
            fix = f"--output FILE keeps the {len(body)} bytes that came"
            fault.fix = fix + (f", {fault.fix}" if fault.fix else "")
        else:
            text = body.decode("utf-8", "backslashreplace")
            self._console.server_text(text if text.endswith("\n") else text + "\n")
        return fault


def _with_total_usage(answer: Answer) -> dict[str, Value]:
    """The completion with the usage of all turns: each of them was paid for."""
    completion = answer.completion or {}
    if not answer.earlier_usage:
        return completion
    return {**completion, "usage": total_usage(reported_usage(completion), answer.earlier_usage)}


def finish_output(out: OpenOutput, fault: ChatpipeError | None) -> int:
    """Replace the output, or raise the fault if there is one: open_target() then keeps a partial file."""
    if fault is not None:
        raise fault
    out.replace()
    return 0
