"""Reports of failed lines: the file of --errors, and stderr if a record has no room for the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from chatpipe.batch.result import Result
from chatpipe.batch.run_format import error_message
from chatpipe.errors import CannotWrite, ChatpipeError, LineFailed
from chatpipe.options.outcomes import Outcome
from chatpipe.system.console import Console, FirstFew
from chatpipe.system.descriptor import BrokenPipe, open_emptied, open_special


@contextlib.contextmanager
def errors_file(path: str | None) -> Iterator[Callable[[bytes], None] | None]:
    """Open the file of --errors, and empty it if it is a regular one. Each line is written at once.

    A name of a descriptor, such as /dev/stderr, is that descriptor: what it leads to is not opened again.
    Raises CannotWrite.
    """
    if path is None:
        yield None
        return
    with open_special(path) or open_emptied(path) as file:

        def write(data: bytes) -> None:
            try:
                file.write(data)
            except BrokenPipe as error:  # it ends a filter silently only where results are written
                raise CannotWrite("cannot write: broken pipe", place=path) from error

        yield write


def line_failure(result: Result, name: str) -> ChatpipeError:
    """The failure of a line, with its place. name is the name of the input."""
    return result.item.fault or LineFailed(
        error_message(result), result.status, place=f"{name}:{result.item.line}"
    )


class FailureReporter:
    """Prints the first failures on stderr. name is the name of the input, for failures without a place."""

    def __init__(self, console: Console, name: str) -> None:
        self._few = FirstFew(console.error, console.note, "--errors FILE has them all")
        self._name = name

    def report(self, result: Result) -> None:
        self._few.report(line_failure(result, self._name))


class FailureNotice:
    """Prints the first failure of a run, so that nobody waits for the end of a run that cannot succeed.

    Before the first success the failure of a try counts, too. Until release() a notice waits: most runs that
    fail at once also end at once, with a line that says the same. name is the name of the input. With
    tries_only the failures of lines are printed elsewhere.
    """

    def __init__(self, console: Console, name: str, *, tries_only: bool = False) -> None:
        self._console = console
        self._name = name
        self._is_held = True
        self._waits: str | ChatpipeError | None = None
        self._try: str | None = None  # the reason of the one that was printed, or waits
        self._wants_line = not (tries_only or console.options.quiet)
        self._has_succeeded = False
        self._kinds: set[tuple[Outcome, int | None]] = set()  # of failures

    @property
    def wants_tries(self) -> bool:
        """True as long as the failure of a try would be printed."""
        return self._try is None and not (self._has_succeeded or self._kinds or self._console.options.quiet)

    def try_failed(self, line: int, text: str) -> None:
        """Report a failed try that will be repeated. text is its reason, then what happens next."""
        if self.wants_tries:
            self._try = text.partition(": trying again")[0]
            self._print(f"{self._name}:{line}: {text}")

    def observe(self, result: Result) -> None:
        """Report the result of a line."""
        if result.is_good:
            self._has_succeeded = True
            if isinstance(self._waits, str):  # that try was of no consequence
                self._waits = None
            return
        is_first = self._wants_line and not self._kinds
        self._kinds.add((result.outcome, result.fault.http_status if result.fault else None))
        if is_first and (result.was_sent or result.outcome is Outcome.input):
            failure = line_failure(result, self._name)
            if self._try is None or not failure.what.startswith(self._try):
                self._print(failure)

    def release(self) -> None:
        """Print what waits, and no longer wait."""
        self._is_held = False
        waits, self._waits = self._waits, None
        if waits is not None:
            self._print(waits)

    def discard(self) -> None:
        """Forget what waits."""
        self._waits = None

    def close(self, *, names_reason: bool) -> None:
        """End the run. names_reason: its last line has the reason of the first failure, if all are alike."""
        is_named = names_reason and len(self._kinds) == 1 and not self._has_succeeded
        if isinstance(self._waits, ChatpipeError) and not is_named:
            self.release()

    def _print(self, notice: str | ChatpipeError) -> None:
        if self._is_held:
            self._waits = notice
        elif isinstance(notice, str):
            self._console.note(notice)
        else:
            self._console.error(notice)
