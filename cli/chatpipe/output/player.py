"""The items of a recording -> deliveries, one for each answer, as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from chatpipe.errors import BadInput, BrokenAnswer, ChatpipeError, NoAnswer, Status
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import leading_status
from chatpipe.output.delivery import Delivery
from chatpipe.output.target import OpenOutput
from chatpipe.response.answer_chunks import AnswerChunks
from chatpipe.response.boundary import AnswerBoundary, adds_content, is_tail
from chatpipe.response.capture import (
    CHUNK,
    CapturedAnswer,
    CapturedFailure,
    CapturedText,
    CaptureItem,
    Chunk,
    RawBytes,
    StreamEnd,
)
from chatpipe.response.result_line import ResultLine
from chatpipe.response.server_error import ServerError, error_of, is_notice
from chatpipe.system.console import Console
from chatpipe.system.escape import shorten
from chatpipe.wire import refusal_words
from chatpipe.wire.answer import Answer


class _StreamedAnswer:
    """A streamed answer that is being read: its delivery, its chunks, and where it ends.

    held has the chunks after its end that have no content. They may belong to the next answer.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.boundary = AnswerBoundary()
        self.held: list[Chunk] = []
        self._chunks = AnswerChunks(self._deliver)
        self.place = ""  # that of the last chunk
        self._is_event = True  # the last chunk came as an event
        self._error: ChatpipeError | None = None

    @property
    def has_error(self) -> bool:
        return self._error is not None

    def add(self, step: Chunk) -> None:
        self.boundary.add(step.chunk)
        self._is_event = step.is_event
        self.place = step.line.place()
        if not step.is_event:
            self.delivery.raw(b"data: " + values.one_line_json(step.payload) + b"\n\n")
        self._chunks.add(step.payload, step.chunk)
        self._look_for_error()

    def fail(self, fault: ChatpipeError) -> None:
        """End the answer by a fault of the recording."""
        self._error = self._error or fault

    def _look_for_error(self) -> None:
        if self._error is None and self._chunks.error is not None:
            what = f"an error was recorded: {shorten(self._chunks.error.message)}"
            is_stream = self._is_event or self._chunks.assembly.has_choices()
            self._error = (BrokenAnswer if is_stream else NoAnswer)(what, place=self.place)

    def answer(self, *, done: bool) -> Answer:
        """The answer as far as it came. done: `[DONE]` ended it."""
        self._chunks.end()
        self._look_for_error()
        error, assembly = self._error, self._chunks.assembly
        if error is None and not done and not assembly.is_finished():
            what = "the recorded stream was cut: neither finish_reason nor [DONE]"
            error = BrokenAnswer(what, place=self.place)
        if (flaw := self._chunks.flaw()) and (error is None or assembly.excess):
            error = BrokenAnswer(flaw, place=self.place)
        if error is None and not self._is_event:
            self.delivery.raw(b"data: [DONE]\n\n")
        completion = assembly.completion()
        return Answer(completion if completion["choices"] or error is None else None, None, error)

    def _deliver(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        self.delivery.chunk(payload, chunk)


class RecordingPlayer:
    """A player of recordings. begin creates the delivery of one answer; faults collects the bad ones."""

    def __init__(self, begin: Callable[[], Delivery]) -> None:
        self._begin = begin
        self._open: _StreamedAnswer | None = None
        self._last: Delivery | None = None  # that of the previous answer: comments after it belong to it
        self._unclaimed: list[bytes] = []  # bytes of an event stream before its first chunk
        self._tails: list[Chunk] = []  # chunks between answers
        self.answers = 0
        self.faults: list[ChatpipeError] = []

    def play(self, steps: Iterable[CaptureItem]) -> None:
        """Show a recording up to its end, or up to invalid data, which becomes the last fault."""
        try:
            for step in steps:
                self._handle(step)
        except BadInput as fault:
            if self._open is not None and not self._open.boundary.is_over():
                self._open.fail(fault)  # it was not cut: the rest of it cannot be read
            else:
                self.close()
                self.faults.append(fault)
        self.close()

    def close(self) -> None:
        """Finish an open answer, because the recording ends or another answer begins."""
        if self._open is not None:
            self._end(done=False)
        self._end_tails(done=False)
        self._last = None

    def _handle(self, step: CaptureItem) -> None:
        match step:
            case RawBytes(data):
                self._raw(data)
            case Chunk():
                self._chunk(step)
            case StreamEnd():
                if self._open is not None:
                    self._end(done=True)
                else:
                    self._end_tails(done=True)
            case CapturedAnswer(label, body, completion, line):
                self._whole(Answer(completion, body), label, line)
            case CapturedFailure(label, what, line, chunk):
                if chunk is not None and self._continues(chunk):
                    self._chunk(chunk)
                else:
                    self._whole(Answer(None, None, NoAnswer(what)), label, line)
            case CapturedText(source, text):
                if refusal_words.status_of(200, ServerError(text)) is None:
                    raise BadInput(f"neither an answer nor an error: '{shorten(text)}'", place=source.place())
                what = f"an error was recorded: {shorten(text)}"
                self._whole(Answer(None, None, NoAnswer(what)), source.place())

    def _continues(self, error: Chunk) -> bool:
        """Return True if an error is the last word about the open answer, or may precede an answer."""
        if self._open is None:
            return is_notice(error.chunk, in_answer=False)
        return not self._open.boundary.is_over()

    def _whole(self, answer: Answer, place: str, line: ResultLine | None = None) -> None:
        self.close()
        delivery = self._begin()
        if line is not None:
            delivery.recorded(line)
        self._finish(delivery, answer, place)
        self._last = delivery

    def _raw(self, data: bytes) -> None:
        delivery = self._last if self._open is None else self._open.delivery
        if delivery is None:
            self._unclaimed.append(data)
        else:
            delivery.raw(data)

    def conclude(self, out: OpenOutput, console: Console) -> int:
        """Replace the output if every answer was good. Otherwise keep what there is and report each fault."""
        if not self.answers and not self.faults:
            raise BadInput("there is no answer in the recording", fix="see chatpipe show --help")
        if not self.faults:
            out.replace()
            return Status.OK
        part = out.keep()
        for fault in self.faults:
            console.error(fault)
        if part is not None:
            console.note(f"what could be shown is in '{part}'")
        return leading_status(fault.status for fault in self.faults)

    def _chunk(self, step: Chunk) -> None:
        is_rest = is_tail(step.chunk) and error_of(step.chunk) is None
        answer = self._open
        if answer is not None and answer.boundary.begins_another(step.chunk, is_event=step.is_event):
            self._split_held(answer, step.chunk.get("id"))
            self._end(done=False)
            answer = None
        if answer is not None and answer.boundary.is_over() and not adds_content(step.chunk):
            answer.boundary.hold(step.chunk)
            answer.held.append(step)
        elif answer is not None:
            self._add_held(answer)
            self._add(answer, step)
        elif is_rest:
            self._tails.append(step)
        else:
            self._add(self._begin_answer(), step)

    def _begin_answer(self) -> _StreamedAnswer:
        """Begin an answer with what came before its first content."""
        answer = self._open = _StreamedAnswer(self._begin())
        for data in self._unclaimed:
            answer.delivery.raw(data)
        self._unclaimed.clear()
        tails, self._tails = self._tails, []
        for step in tails:
            answer.add(step)
        return answer

    def _add(self, answer: _StreamedAnswer, step: Chunk) -> None:
        answer.add(step)
        if answer.has_error:  # the last word of a server
            self._end(done=False)

    @staticmethod
    def _add_held(answer: _StreamedAnswer) -> None:
        held, answer.held = answer.held, []
        for step in held:
            answer.add(step)

    def _split_held(self, answer: _StreamedAnswer, next_id: Value) -> None:
        """Give the chunks after the end of an answer to it or to the next one, which begins."""
        at = len(answer.held)
        while at and answer.boundary.precedes(answer.held[at - 1].chunk, next_id):
            at -= 1
        self._tails, answer.held = answer.held[at:], answer.held[:at]

    def _end(self, *, done: bool) -> None:
        answer = self._open
        assert answer is not None
        self._add_held(answer)
        self._last, self._open = answer.delivery, None
        self._finish(answer.delivery, answer.answer(done=done), answer.place)

    def _end_tails(self, *, done: bool) -> None:
        """Handle chunks that no answer followed. After an answer they change nothing; alone they are one."""
        if self._tails and self._last is None:
            first = self._tails[0]
            is_chunk = (
                first.is_event or bool(first.chunk.get("choices")) or first.chunk.get("object") == CHUNK
            )
            if len(self._tails) == 1 and not done and not is_chunk:
                self._tails.clear()
                self._end_object(first)
                return
            self._begin_answer()
            self._end(done=done)
        elif self._last is not None:
            for step in self._tails:
                self._last.chunk(step.payload, step.chunk)
        self._tails.clear()

    def _end_object(self, step: Chunk) -> None:
        """Handle an object without choices that is all there is."""
        if step.chunk:
            self._whole(Answer(step.chunk, step.payload), step.line.place())
        else:
            what = "an empty object, not an answer"
            self.faults.append(BadInput(what, place=step.line.place(), fix="see chatpipe show --help"))

    def _finish(self, delivery: Delivery, answer: Answer, place: str) -> None:
        self.answers += 1
        fault = delivery.finish(answer)
        if fault is not None:
            fault.place = fault.place or place
            self.faults.append(fault)
