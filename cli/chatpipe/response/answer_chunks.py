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

    error is the first one that a chunk reports, and error_payload that chunk. After end(), it may be a
    notice that no answer followed: see is_notice(). requested is the number of choices that were requested,
    None if it is not known.
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
        self._notice: tuple[ServerError, bytes] | None = None

    def add(self, payload: bytes, chunk: dict[str, Value]) -> None:
        if self._indexes.are_plain and has_plain_index(chunk):  # nearly all chunks, without a detour
            self._deliver(payload, chunk)
            self._assemble(chunk)
            if not may_have_error(chunk):
                return
        else:
            self._take(self._indexes.place(payload, with_deltas(chunk)))
        error = error_of(chunk)
        if error is None or self.error is not None:
            return
        if is_notice(chunk, in_answer=self.assembly.has_choices()):
            self._notice = error, payload
        else:
            self.error, self.error_payload = error, payload

    def end(self) -> None:
        """Pass on what had to wait for a next chunk. Call it once, after the last chunk."""
        self._take(self._indexes.end())
        if self._notice is not None and self.error is None and not self.assembly.has_choices():
            self.error, self.error_payload = self._notice

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
        if (usage := reported_usage(chunk)) is not None:
            self.assembly.add({"usage": usage})

    def _take(self, chunks: list[PlacedChunk]) -> None:
        for payload, chunk in chunks:
            self._deliver(payload, chunk)
            self._assemble(chunk)
