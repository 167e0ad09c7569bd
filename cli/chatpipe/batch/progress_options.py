"""Progress options of a run: the kind of display, the size of the input and the terminal."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping

from chatpipe.batch.progress import ProgressOptions
from chatpipe.inputs.stdin import STDIN
from chatpipe.inputs.text_decoder import is_compressed
from chatpipe.options.run import ReportOptions
from chatpipe.system.console import Console
from chatpipe.system.descriptor import close_quietly
from chatpipe.system.terminal import named_columns

_STDIN, _STDOUT, _STDERR = range(3)
_BLOCK_BYTES = 1 << 20
# Lines are counted in this many bytes, which takes about 10 ms. The rest is assumed to be alike.
_COUNTED_BYTES = 16 << 20
_HEAD_BYTES = 4096
# The start of an array of requests. The first line of a log may begin with a bracket, too.
_ARRAY = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*["{\[]')


def progress_options(
    report: ReportOptions,
    console: Console,
    environ: Mapping[str, str],
    *,
    file: str,
    output: str | None,
    limit: int | None,
) -> ProgressOptions:
    """Choose the progress display, before stdin is read. report.progress is None to choose.

    A bar is chosen if it has the terminal to itself: no results, no failed lines, no typed input, and no
    program that reads the results, which may write to the terminal, too. A dumb terminal has no bar, only
    the summary.
    """
    if console.options.quiet:
        return ProgressOptions("none")
    shows_errors = report.errors is not None and _at_terminal(report.errors, None)
    among_lines = _at_terminal(output, _STDOUT) or shows_errors
    is_alone = not (among_lines or _at_terminal(file, _STDIN) or _is_pipe(output))
    has_terminal = console.on_terminal and is_alone
    is_dumb = environ.get("TERM") == "dumb"
    kind = report.progress or ("bar" if has_terminal and not is_dumb else "none")
    if kind != "bar":
        return ProgressOptions(kind, has_summary=report.progress is None and has_terminal)
    return ProgressOptions(
        kind,
        # In a log, every state of the bar remains.
        every_s=ProgressOptions().every_s if console.on_terminal else 1.0,
        columns=named_columns(environ),
        shares_terminal=among_lines,
        lines=_lines_of(file),
        limit=limit,
        has_summary=console.on_terminal,
    )


def _is_pipe(output: str | None) -> bool:
    """Return True if results go through a pipe or a socket to another program."""
    if output not in (None, "-"):
        return False
    try:
        mode = os.fstat(_STDOUT).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _at_terminal(path: str | None, standard: int | None) -> bool:
    """Return True if path is the user's terminal. `-` and None mean the standard descriptor, if given."""
    if path in (None, "-") and standard is not None:
        return os.isatty(standard)
    try:
        return path == "/dev/tty" or os.path.samestat(os.stat(path or ""), os.fstat(_STDERR))
    except (OSError, ValueError):
        return False


def _lines_of(file: str) -> float | None:
    """The approximate number of unread lines. None for a pipe, a device, or an unreadable file."""
    try:
        if file == STDIN:
            return _lines_left(_STDIN)
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a FIFO would wait for its writer
            return None
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        return _lines_left(descriptor)
    except OSError:
        return None
    finally:
        close_quietly(descriptor)


def _lines_left(descriptor: int) -> float | None:
    """The approximate number of unread lines, None where lines are not counted by their ends.

    The file position does not change. Raises OSError.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    start = offset = os.lseek(descriptor, 0, os.SEEK_CUR)
    head = os.pread(descriptor, _HEAD_BYTES, offset)
    if is_compressed(head) or _ARRAY.match(head):
        return None
    lines, last = 0, b"\n"
    while offset - start < _COUNTED_BYTES and (block := os.pread(descriptor, _BLOCK_BYTES, offset)):
        lines += block.count(b"\n")
        offset += len(block)
        last = block[-1:]
    if offset >= status.st_size:
        return lines + (last != b"\n")
    return lines * (status.st_size - start) / (offset - start) or None
