"""The input of a run that is read more than once: what is no file is copied into one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

from chatpipe.batch.input import RunInput, open_lines
from chatpipe.batch.items import Item, ItemReader
from chatpipe.batch.job import Job
from chatpipe.errors import CannotWrite, reason
from chatpipe.inputs.lines import LineReader
from chatpipe.inputs.sources import Sources, missing_input
from chatpipe.system.descriptor import close_quietly, write_all


class InputPasses:
    """The items of a run. Another pass needs the input twice: see open_passes()."""

    def __init__(self, job: Job, lines: LineReader, stack: ExitStack, path: str) -> None:
        self._job = job
        self._stack = stack
        self._path = path
        self._first = self._pass(lines, job.reader)

    def read_head(self) -> None:
        """See RunInput.read_head()."""
        self._first.read_head()

    def items(self) -> AsyncIterator[Item]:
        return self._first.items()

    def again(self) -> AsyncIterator[Item]:
        """All items, from the beginning, without their warnings. Raises MissingInput."""
        job = self._job
        reader = job.reader if job.read_again is None else job.read_again()
        lines = _lines_of(self._path, job, reader, self._stack)
        found = self._pass(lines, reader, warns=False)
        found.read_head()
        return found.items()

    def _pass(self, lines: LineReader, reader: ItemReader, *, warns: bool = True) -> RunInput:
        job = self._job
        own_ids_once = job.resume.match == "id"
        return RunInput(lines, reader, job.input, job.console, own_ids_once=own_ids_once, warns=warns)


@contextmanager
def open_passes(job: Job, sources: Sources) -> Iterator[InputPasses]:
    """Open the input of a run. Raises MissingInput, and CannotWrite for a copy of it."""
    with ExitStack() as stack:
        if not job.options.engine.is_jobs or os.path.isfile(job.file):
            path = job.file
            lines = stack.enter_context(open_lines(job.file, sources, job.reader.form))
        else:
            path = stack.enter_context(_copied(job, sources))
            lines = _lines_of(path, job, job.reader, stack)
        yield InputPasses(job, lines, stack, path)


def _lines_of(path: str, job: Job, reader: ItemReader, stack: ExitStack) -> LineReader:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:  # it was there at the first pass
        raise missing_input(job.input_name, "FILE", error) from error
    stack.callback(close_quietly, descriptor)
    return LineReader(descriptor, job.input_name, reader.form)


@contextmanager
def _copied(job: Job, sources: Sources) -> Iterator[str]:
    """The path of a temporary copy of an input that can be read only once."""
    with open_lines(job.file, sources, job.reader.form) as lines:
        try:
            with tempfile.NamedTemporaryFile(prefix="chatpipe-") as copy:
                for block in lines.read_blocks():
                    write_all(copy.fileno(), block)
                yield copy.name
        except OSError as error:
            what = f"cannot keep the input in a temporary file: {reason(error)}"
            raise CannotWrite(what, fix="set TMPDIR to a folder on a larger disk") from error
