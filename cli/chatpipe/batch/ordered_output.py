"""The results of a run on their way to the output: as they arrive, or in the order of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatpipe.batch.result import Result


class OrderedOutput:
    """Writes results with emit. is_ordered: a result waits until all with a smaller number are written.

    emit_missing writes the record of a line without a result, if the place of a record identifies its line.
    next_number is the number of the next result in order. lost counts the answers of this run that could not
    be written.
    """

    def __init__(
        self,
        emit: Callable[[Sequence[Result]], None],
        *,
        is_ordered: bool,
        emit_missing: Callable[[], None] | None = None,
    ) -> None:
        self._emit = emit
        self._emit_missing = emit_missing
        self._is_ordered = is_ordered
        self._waiting: dict[int, Result] = {}
        self.next_number = 0
        self.lost = 0

    def put(self, number: int, result: Result) -> None:
        """Write a result, and those that waited for it, or let it wait. Raises what emit raises."""
        if not self._is_ordered:
            self.write((result,))
            return
        self._waiting[number] = result
        while (ready := self._waiting.pop(self.next_number, None)) is not None:
            self.next_number += 1
            self.write((ready,))

    def finish(self) -> None:
        """Write the results that still wait for an earlier one, because they were paid for."""
        for number in sorted(self._waiting):
            if self._emit_missing is not None:
                for _ in range(self.next_number, number):
                    self._emit_missing()
            self.next_number = number + 1
            self.write((self._waiting.pop(number),))

    def write(self, results: Sequence[Result]) -> None:
        """Write results. Once that has failed, none is written: the last line may be incomplete."""
        try:
            self._emit(results)
        except BaseException:
            self._emit, self._emit_missing = self._lose, None
            self._lose(results)
            raise

    def _lose(self, results: Sequence[Result]) -> None:
        self.lost += sum(result.latency_s is not None for result in results)
