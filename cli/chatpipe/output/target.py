"""Where a result goes, with what is written beside it: `-o`, `--depfile` and their like."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from chatpipe.errors import CannotWrite, ChatpipeError, Interrupted, UsageFault
from chatpipe.output import files
from chatpipe.output.options import Target

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDOUT_NAMES = (None, "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class Opened:
    """An output that is being written. started: some bytes have left, or are in the file to be."""

    def __init__(self, target: Target, rule: bytes, output: files.Output) -> None:
        self._target = target
        self._rule = rule
        self._output = output
        self.started = False

    @property
    def is_kept(self) -> bool:
        """Whether what is written is kept aside where it is no result: not so of stdout, a pipe, a device."""
        return isinstance(self._output, files.Replacement)

    def write(self, data: bytes) -> None:
        if data:
            self.started = True
            self._output.write(data)

    def keep_unreadable(self, data: bytes) -> bool:
        """What came instead of an answer: worth a look in a FILE.part, but no result for stdout.

        Returns whether it was taken.
        """
        if self._target.is_file:
            self.write(data)
        return self._target.is_file

    def replace(self) -> None:
        """All went well: side files, then the file itself. If a side file fails, what came is kept."""
        if self._target.depfile is not None:
            try:
                files.write_side_file(self._target.depfile, self._rule, if_changed=self._target.if_changed)
            except CannotWrite as fault:
                raise kept(self, fault) from fault
        self._output.commit()

    def keep(self) -> str | None:
        """It did not go well: the name of the FILE.part that has what came; None when nothing is kept."""
        return self._output.keep_part() if self.started else None


def kept(out: Opened, fault: ChatpipeError) -> ChatpipeError:
    """The fault, which now says where what came is kept."""
    part = out.keep()
    if part is not None:
        fault.fix = f"what came is in '{part}'" + (f", {fault.fix}" if fault.fix else "")
    return fault


@contextmanager
def opened(
    target: Target, inputs: Sequence[str], *, escape: bool, beside: Sequence[str] = ()
) -> Iterator[Opened]:
    """Open before anything is sent, so that an output that cannot be written costs nothing.

    beside: files that are read, too, but are no part of the request, such as that of the key.
    What is neither replaced nor kept is gone at the end, unless a signal came with a part of the
    answer there: that was paid for and is kept. Raises CannotWrite, UsageFault, and Interrupted.
    """
    _refuse_inputs(target, (*inputs, *beside))
    if target.path in _STDOUT_NAMES and sys.stdout is None:
        raise CannotWrite("stdout is closed", fix="redirect it, or use --output FILE")
    rule = _rule(target, inputs)
    path = "-" if target.path is None else target.path
    with interruptible(), files.open_output(path, if_changed=target.if_changed, escape=escape) as output:
        result = Opened(target, rule, output)
        try:
            yield result
        except Interrupted:
            result.keep()
            raise


def _refuse_inputs(target: Target, inputs: Sequence[str]) -> None:
    """What is written may not be what is read, redirected stdin among it, also where nobody reads it."""
    for option, path in (("--output", target.path), ("--depfile", target.depfile)):
        if path is not None and files.same_file(path, (*inputs, "-")):
            raise UsageFault(f"'{path}' is an input, too", place=option, fix="write to another file")


def _rule(target: Target, inputs: Sequence[str]) -> bytes:
    """The rule of `--depfile`. Made first: what make cannot read, or nobody write, is not worth an answer."""
    if target.depfile is None:
        return b""
    if target.depfile == "-":
        raise UsageFault("stdout is for results only", place="--depfile", fix="name a file")
    if target.is_file and files.is_one_place(target.depfile, target.path or ""):
        raise UsageFault("the rule and the result in one place", place="--depfile", fix="name another file")
    files.try_side_file(target.depfile)
    from chatpipe.output import depfile  # few runs write one

    return depfile.rule(target.depfile_target or target.path or "", inputs)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal end the block as Interrupted, so that it is cleaned up. What is ignored stays so."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number in _SIGNALS if before[number] is not signal.SIG_IGN]  # as under nohup
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)
