"""Reports of failed lines: the file of --errors, and stderr if a record has no room for the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from chatpipe.batch.result import Result
from chatpipe.batch.run_format import error_message
from chatpipe.errors import CannotWrite, LineFailed, reason
from chatpipe.system.console import Console, FirstFew


@contextlib.contextmanager
def errors_file(path: str | None) -> Iterator[Callable[[bytes], None] | None]:
    """Open and truncate the file of --errors. Each line is written at once. Raises CannotWrite."""
    if path is None:
        yield None
        return
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below; only opening is guarded here
    except (OSError, ValueError) as error:
        raise CannotWrite(f"cannot write: {reason(error)}", place=path) from error

    def write(data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise CannotWrite(f"cannot write: {reason(error)}", place=path) from error

    with file:
        yield write


class FailureReporter:
    """Prints the first failures on stderr. name is the name of the input, for failures without a place."""

    def __init__(self, console: Console, name: str) -> None:
        self._few = FirstFew(console.error, console.note, "--errors FILE has them all")
        self._name = name

    def report(self, result: Result) -> None:
        place = f"{self._name}:{result.item.line}"
        self._few.report(result.item.fault or LineFailed(error_message(result), result.status, place=place))
