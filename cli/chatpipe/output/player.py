"""The items of a recording -> deliveries, one for each answer, as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatpipe.errors import BadInput, BrokenAnswer, ChatpipeError, NoAnswer, Status
from chatpipe.inputs import values
from chatpipe.inputs.place import Source
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import leading_status
from chatpipe.output.delivery import Delivery
from chatpipe.output.target import OpenOutput
from chatpipe.response.assemble import Assembly
from chatpipe.response.capture import (
    CapturedAnswer,
    CapturedFailure,
    CaptureItem,
    Chunk,
    RawBytes,
    StreamEnd,
)
from chatpipe.response.completion import NOT_TEXT, choices
from chatpipe.response.finish_reasons import has_ended
from chatpipe.response.server_error import error_of
from chatpipe.system.console import Console
from chatpipe.system.escape import shorten
from chatpipe.wire.answer import Answer


class RecordingPlayer:
    """A player of recordings. begin creates the delivery of one answer; faults collects the bad ones."""

    def __init__(self, begin: Callable[[], Delivery]) -> None:
        self._begin = begin
        self._delivery: Delivery | None = None  # that of the streamed answer being read
        self._last: Delivery | None = None  # the previous one: comments after its end still belong to it
        self._unclaimed: list[bytes] = []  # bytes of an event stream before its first chunk
        self._assembly = Assembly()
        self._id: Value = ""
        self._finished: set[Value] = set()  # indexes of choices that have a finish_reason
        self._error: ChatpipeError | None = None
        self._line: Source | None = None
        self._is_event = True
        self.answers = 0
        self.faults: list[ChatpipeError] = []

    def play(self, steps: Iterable[CaptureItem]) -> None:
        """Show a recording up to its end, or up to invalid data, which becomes the last fault."""
        try:
            for step in steps:
                self._handle(step)
        except BadInput as fault:
            self.close()
            self.faults.append(fault)
        self.close()

    def close(self) -> None:
        """Finish an open answer, because the recording ends or another answer begins."""
        if self._delivery is not None:
            self._end(done=False)

    def _handle(self, step: CaptureItem) -> None:
        match step:
            case RawBytes(data):
                self._raw(data)
            case Chunk():
                self._chunk(step)
            case StreamEnd():
                if self._delivery is not None:
                    self._end(done=True)
            case CapturedAnswer(body, completion):
                self.close()
                self._finish(self._begin(), Answer(completion, body))
            case CapturedFailure(place, what):
                self.close()
                self.answers += 1
                self.faults.append(NoAnswer(what, place=place))

    def _raw(self, data: bytes) -> None:
        delivery = self._delivery or self._last
        if delivery is None:
            self._unclaimed.append(data)
        else:
            delivery.raw(data)

    def conclude(self, out: OpenOutput, console: Console) -> int:
        """Replace the output if every answer was good. Otherwise keep FILE.part and report each fault."""
        if not self.answers and not self.faults:
            raise BadInput("there is no answer in the recording")
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
        if self._is_new_answer(step.chunk):
            self._end(done=False)
        if self._delivery is None:
            self._delivery = self._begin()
            for data in self._unclaimed:
                self._delivery.raw(data)
            self._unclaimed.clear()
        # Azure's annotations have an empty id and belong to the current answer.
        self._id = step.chunk.get("id") or self._id
        self._line = step.line
        self._is_event = step.is_event
        if not step.is_event:
            self._delivery.raw(b"data: " + values.one_line(step.payload) + b"\n\n")
        self._delivery.chunk(step.payload, step.chunk)
        self._assembly.add(step.chunk)
        for choice in choices(step.chunk):
            if isinstance(choice, dict) and has_ended(choice.get("finish_reason")):
                self._finished.add(_index(choice))
        if (error := error_of(step.chunk)) is not None:
            what = f"an error was recorded: {shorten(error.message)}"
            self._error = BrokenAnswer(what, place=step.line.place())

    def _is_new_answer(self, chunk: dict[str, Value]) -> bool:
        """Return True if a chunk begins a new answer: by a new id, or a second role of a finished choice."""
        if self._delivery is None:
            return False
        new_id = chunk.get("id")
        if self._id and new_id and new_id != self._id:
            return True
        return any(_has_role(each) and _index(each) in self._finished for each in choices(chunk))

    def _end(self, *, done: bool) -> None:
        delivery, assembly, error = self._delivery, self._assembly, self._error
        assert delivery is not None
        place = self._line.place() if self._line is not None else ""
        self._last, self._delivery, self._assembly = delivery, None, Assembly()
        self._id, self._error = "", None
        self._finished.clear()
        if error is None and not done and not assembly.is_finished():
            what = "the recorded stream was cut: neither finish_reason nor [DONE]"
            error = BrokenAnswer(what, place=place)
        if error is None and assembly.is_unreadable():
            error = BrokenAnswer(NOT_TEXT, place=place)
        if error is None and not self._is_event:
            delivery.raw(b"data: [DONE]\n\n")
        self._finish(delivery, Answer(assembly.completion(), None, error))

    def _finish(self, delivery: Delivery, answer: Answer) -> None:
        self.answers += 1
        fault = delivery.finish(answer)
        if fault is not None:
            self.faults.append(fault)


def _has_role(choice: Value) -> bool:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    return isinstance(delta, dict) and bool(delta.get("role"))


def _index(choice: dict[str, Value]) -> Value:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
