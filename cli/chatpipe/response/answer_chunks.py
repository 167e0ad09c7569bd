"""The chunks of one streamed answer -> its receiver at once, and the completion at the end.

`ask` reads them from a server and `show` from a recording. Both go through this class, so that the same
bytes come to the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from chatpipe.inputs.values import Value
from chatpipe.response.assemble import MAX_CHOICES, Assembly
from chatpipe.response.choice_indexes import ChoiceIndexes, PlacedChunk, has_plain_index
from chatpipe.response.chunks import with_deltas
from chatpipe.response.completion import NOT_TEXT
from chatpipe.response.server_error import ServerError, error_of, is_notice, may_have_error
from chatpipe.response.usage import reported_usage

_MIXED = "the reply has pieces of more choices than --n, which cannot be told apart"
_SECOND_ANSWER = "the reply has a second answer where one was asked for"


class AnswerChunks:
    """One streamed answer. deliver gets each chunk with its payload, in order.

    error is the first one that a chunk reports, and error_payload that chunk. A notice, see is_notice(), is
    no part of the answer. If no answer follows, end() takes the last notice: as an error if it has a message.
    requested is the number of choices that were requested, None if it is not known.
    """

    __slots__ = ("_assemble", "_deliver", "_indexes", "_notice", "assembly", "error", "error_payload")

    def __init__(
        self, deliver: Callable[[bytes, Mapping[str, Value]], None], requested: int | None = None
    ) -> None:
        self._deliver = deliver
        self._indexes = ChoiceIndexes(requested)
        self.assembly = Assembly(math.inf if requested is None else max(requested, MAX_CHOICES))
        self._assemble = self.assembly.add
        self.error: ServerError | None = None
        self.error_payload = b""
        self._notice: tuple[bytes, dict[str, Value]] | None = None

    def add(self, payload: bytes, chunk: dict[str, Value]) -> None:
        if self._indexes.are_plain and has_plain_index(chunk):  # nearly all chunks, without a detour
            self._deliver(payload, chunk)
            self._assemble(chunk)
            if may_have_error(chunk):
                self._look_for_error(payload, chunk)
        else:
            placed = self._indexes.place(payload, with_deltas(chunk))
            if not placed and error_of(chunk) is not None and not is_notice(chunk, in_answer=True):
                placed = self._indexes.end()  # an error does not wait for a next chunk: none may come
            self._take(placed)

    def end(self) -> None:
        """Pass on what had to wait for a next chunk. Call it once, after the last chunk."""
        self._take(self._indexes.end())
        if self._notice is not None and self.error is None and not self.assembly.has_choices():
            payload, chunk = self._notice
            self._assemble(chunk)
            self._look_for_error(payload, chunk)

    def flaw(self) -> str:
        """The reason why an answer is not good although it came to its end; empty if there is none."""
        if self.assembly.excess:
            return f"the answer was cut off: {self.assembly.excess}"
        if self.assembly.is_unreadable():
            return NOT_TEXT
        if self._indexes.are_mixed:
            return _MIXED
        return _SECOND_ANSWER if self.assembly.has_second_answer() else ""

    def add_late(self, chunk: dict[str, Value]) -> None:
        """Take the usage of a chunk after the end of the answer, and nothing else."""
        self.assembly.add(_usage_alone(chunk))

    def _look_for_error(self, payload: bytes, chunk: dict[str, Value]) -> None:
        if self.error is None and (error := error_of(chunk)) is not None:
            self.error, self.error_payload = error, payload

    def _take(self, chunks: list[PlacedChunk]) -> None:
        for payload, chunk in chunks:
            self._deliver(payload, chunk)
            if is_notice(chunk, in_answer=self.assembly.has_choices()):
                self._notice = payload, chunk
                self._assemble(_usage_alone(chunk))
            else:
                self._assemble(chunk)
                self._look_for_error(payload, chunk)


def _usage_alone(chunk: dict[str, Value]) -> dict[str, Value]:
    """A chunk that has the usage of another one and nothing else."""
    usage = reported_usage(chunk)
    return {} if usage is None else {"usage": usage}
