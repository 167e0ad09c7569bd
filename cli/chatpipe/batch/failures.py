"""Where the failed lines of a run go: the file of --errors, and stderr where no record has room for why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from chatpipe.batch.result import Result
from chatpipe.batch.run_format import error_message
from chatpipe.errors import CannotWrite, LineFailed, reason
from chatpipe.system.console import Console, FirstFew


@contextlib.contextmanager
def errors_file(path: str | None) -> Iterator[Callable[[bytes], None] | None]:
    """The file of --errors, emptied now; each line is written as it comes."""
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
    """Tells the first failures on stderr. name is the input's, for the place of what has none itself."""

    def __init__(self, console: Console, name: str) -> None:
        self._few = FirstFew(console.error, console.note, "--errors FILE has them all")
        self._name = name

    def report(self, result: Result) -> None:
        place = f"{self._name}:{result.item.line}"
        self._few.report(result.item.fault or LineFailed(error_message(result), result.status, place=place))
