"""The output of a result and the side files written with it: `-o`, `--depfile` and related options."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from chatpipe.errors import CannotWrite, ChatpipeError, UsageFault
from chatpipe.options.files import FileUse, Role
from chatpipe.options.output import OutputOptions
from chatpipe.system import replace as files
from chatpipe.system.file_uses import refuse_shared_files
from chatpipe.system.signals import delay_signals, interruptible


class OpenOutput:
    """An open output. started: some bytes have been written, to the output or to its temporary file.

    is_complete: replace() has succeeded, so that nothing which fails from now on is about the result.
    is_cut: a write has failed, so that the output has the beginning of the content.
    is_lost: moreover no other file has the content.
    """

    def __init__(
        self, target: OutputOptions, rule: bytes, output: files.ResultOutput, *, is_only_copy: bool
    ) -> None:
        self._target = target
        self._rule = rule
        self._output = output
        self.started = False
        self.is_complete = False
        self.is_cut = False
        self.is_lost = False
        self._is_only_copy = is_only_copy

    @property
    def is_kept(self) -> bool:
        """True if content that is no result is kept in a partial file: not for stdout, a pipe or a device."""
        return isinstance(self._output, files.Replacement)

    def write(self, data: bytes) -> None:
        if data:
            self.started = True
            try:
                self._output.write(data)
            except CannotWrite:
                self.is_cut = True
                self.is_lost = self._is_only_copy and self.is_kept
                raise

    def write_head(self, data: bytes) -> None:
        """Write what stands before all results, and is of no interest without one."""
        started = self.started
        self.write(data)
        self.started = started

    def keep_reply(self, data: bytes) -> bool:
        """Write a reply that is no answer: it is of interest in a partial file, but no result for stdout.

        Returns True if it was written.
        """
        if self._target.is_file:
            self.write(data)
        return self._target.is_file

    def replace(self) -> None:
        """Write the side file, then replace the file. Raises CannotWrite."""
        with delay_signals():
            if self._target.depfile is not None:
                files.write_side_file(self._target.depfile, self._rule, if_changed=self._target.if_changed)
            self._output.commit()
            self.is_complete = True

    def discard(self) -> None:
        """Drop the content of a file, which another file has as well."""
        self.started = False
        self._output.discard()

    def keep(self) -> str | None:
        """Keep the content after a failure. Returns the name of its file; None if nothing is kept."""
        with delay_signals():
            return self._output.keep_part() if self.started else None

    def keep_for(self, fault: ChatpipeError) -> None:
        """Keep the content after a fault, which then names its file, or says that the answer is lost."""
        try:
            part = self.keep()
        except CannotWrite as other:  # the fault is the cause, and where the answer is matters too
            fault.fix = f"{other.what}: {other.fix}"
            return
        if part is not None:
            fault.fix = self.kept_in(part) + (f", {fault.fix}" if fault.fix else "")
        elif self.is_lost:
            fault.what = f"{fault.what}: the answer is lost"

    def kept_in(self, part: str) -> str:
        """The text that names the partial file, and says how much of the content it has."""
        kept = f"{'the beginning of what' if self.is_cut else 'what'} arrived is in '{part}'"
        return f"{kept}, the rest is lost" if self.is_lost else kept


def refuse_shared(
    target: OutputOptions,
    reads: Iterable[FileUse],
    writes: Iterable[FileUse] = (),
    *,
    stdout: Role = "prints",
) -> None:
    """Raise UsageFault if the output, or another file that is written, is also used for something else.

    stdout is the role of stdout if it is the output.
    """
    refuse_shared_files([*reads, *target.uses(stdout), *writes])


def refuse_closed_stdout() -> None:
    """Raise CannotWrite if stdout was closed at start-up."""
    if sys.stdout is None:
        raise CannotWrite("stdout is closed", fix="redirect it")


@contextmanager
def open_target(
    target: OutputOptions,
    inputs: Sequence[str],
    *,
    escape: bool,
    is_only_copy: bool = False,
    may_be_empty: bool = False,
) -> Iterator[OpenOutput]:
    """Open the output before anything is sent, so that an output that cannot be written costs nothing.

    inputs lists the files that are a part of the request, for the rule of `--depfile`. Whatever ends the
    block before the output is complete, the content that came is kept, because it was paid for, and a
    fault names it. is_only_copy: if it cannot be written, it is lost, and the fault says so; a disk that is
    full is refused. may_be_empty: the block calls refuse_closed_stdout() before it writes, because most often
    nothing is written. A signal takes effect inside the block only.
    Raises CannotWrite, UsageFault, and Interrupted.
    """
    if not target.is_file and not may_be_empty:
        refuse_closed_stdout()
    with interruptible(), delay_signals():
        rule = _rule(target, inputs)
        with _open(target, escape=escape) as output:
            if is_only_copy:
                output.check_room()
            result = OpenOutput(target, rule, output, is_only_copy=is_only_copy)
            try:
                with interruptible():
                    yield result
            except ChatpipeError as fault:
                result.keep_for(fault)
                raise
            except BaseException as error:
                if (part := result.keep()) is not None:
                    error.add_note(result.kept_in(part))  # for a bug
                raise


def write_stdout(data: bytes, *, escape: bool) -> None:
    """Write the whole output of a command that has no option for it. Raises CannotWrite, and Interrupted."""
    with open_target(OutputOptions(), (), escape=escape) as out:
        out.write(data)
        out.replace()


def _open(target: OutputOptions, *, escape: bool) -> files.ResultOutput:
    path = "-" if target.path is None else target.path
    return files.open_output(path, special=target.is_special, if_changed=target.if_changed, escape=escape)


def _rule(target: OutputOptions, inputs: Sequence[str]) -> bytes:
    """The rule of `--depfile`, made before anything is sent: its errors must not cost an answer."""
    if target.depfile is None:
        return b""
    if target.depfile == "-":
        raise UsageFault("stdout is for results only", place="--depfile", fix="name a file")
    files.check_side_file(target.depfile)
    from chatpipe.output import depfile  # few calls write one

    return depfile.rule(target.depfile_target or target.path or "", inputs)
