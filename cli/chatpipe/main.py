"""The program: runs a command, and turns whatever ends it into one line on stderr and an exit status.

`--version` is answered before Click is imported, and every command is imported only when it runs:
starting is most of what a small request costs.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TextIO

from chatpipe import __version__

if TYPE_CHECKING:
    import click

    from chatpipe.errors import ChatpipeError, UsageFault

_COMPLETION_VARIABLE = "_CHATPIPE_COMPLETE"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class ReaderGone(BaseException):
    """Whoever read our output went away: the quiet end of a filter."""


def main() -> NoReturn:
    """The `chatpipe` script. Ends the process by an exit status or by the signal that stopped it.

    Until there is something to clean up a signal simply ends the process: Python's own handler for
    Ctrl-C would break into imports, where C code does not expect it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from chatpipe.errors import Interrupted

    try:
        status = run(sys.argv[1:])
    except Interrupted as interrupted:
        _clean_up()
        _die_by(interrupted.number)
    except ReaderGone:
        _die_by(signal.SIGPIPE)
    # Everything has been written. Taking down a few hundred modules one by one would cost another 5 ms.
    os._exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; every fault is told on stderr here.

    Interrupted and ReaderGone pass through: they end the process by a signal.
    """
    # A run makes some 40,000 objects that live to its end, and looking for garbage among them, which
    # Python does by default after every 700, took 5 of its 90 ms.
    gc.set_threshold(50_000)
    _open_standard_descriptors()
    try:
        if list(arguments) == ["--version"]:
            return _version()
        return _command(arguments)
    except Exception as error:
        return _told(error, arguments)


def _told(error: Exception, arguments: Sequence[str]) -> int:
    """Tell the fault on stderr, each of several on a line, and give its status."""
    from chatpipe.errors import ChatpipeError, Problems
    from chatpipe.output.notices import Notices
    from chatpipe.output.options import Telling

    fault = error if isinstance(error, ChatpipeError) else _bug(error)
    if "--debug" in arguments and not isinstance(fault, Problems):
        _show_traceback(error)
    told = Notices(Telling(error_format=_error_format(arguments)))
    for each in fault.faults if isinstance(fault, Problems) else [fault]:
        told.error(each)
    return fault.status


def _command(arguments: Sequence[str]) -> int:
    """Run the command; whatever it raises comes out as a ChatpipeError."""
    import click

    from chatpipe.commands.table import cli, refuse_misplaced
    from chatpipe.errors import CannotWrite, reason
    from chatpipe.output.sink import BrokenPipe

    try:
        if instruction := os.environ.get(_COMPLETION_VARIABLE):
            return _complete(instruction)
        refuse_misplaced(arguments)
        with cli.make_context("chatpipe", list(arguments)) as context:
            status = cli.invoke(context)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as exit_:  # --help
        return _flushed(exit_.exit_code)
    except click.UsageError as error:
        raise _usage_fault(error, arguments) from error
    except BrokenPipe as error:
        raise ReaderGone from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise ReaderGone from error
        if error.errno in _FULL:
            raise CannotWrite(f"cannot write: {reason(error)}", place="stdout") from error
        raise


def _bug(error: Exception) -> ChatpipeError:
    from chatpipe.errors import ChatpipeError

    return ChatpipeError(f"a bug: {type(error).__name__}: {error}", fix="please report what --debug shows")


def _version() -> int:
    """Answered without Click. What cannot be written is told as in any command."""
    try:
        _stdout().write(f"chatpipe {__version__}\n")
        return _flushed(0)
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        from chatpipe.errors import CannotWrite, reason

        raise CannotWrite(f"cannot write: {reason(error)}", place="stdout") from error


def _stdout() -> TextIO:
    """What Click and we write short texts to. Raises CannotWrite when it was closed at the start."""
    if sys.stdout is None:
        from chatpipe.errors import CannotWrite

        raise CannotWrite("stdout is closed", fix="redirect it, or use --output FILE")
    return sys.stdout


def _flushed(status: int) -> int:
    """What was written may still be in the buffer; a full disk is found out here."""
    _stdout().flush()
    return status


def _usage_fault(error: click.UsageError, arguments: Sequence[str]) -> UsageFault:
    """Click's complaint in our form: lower case, no full stop, and where the help is."""
    from difflib import get_close_matches

    import click

    from chatpipe.commands.table import COMMANDS
    from chatpipe.errors import UsageFault

    # Of some faults Click does not say where they were found.
    named = f"chatpipe {arguments[0]}" if arguments and arguments[0] in COMMANDS else "chatpipe"
    command = error.ctx.command_path if error.ctx is not None else named
    text = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.NoSuchOption):
        known = [name for each in error.ctx.command.params for name in each.opts] if error.ctx else []
        near = [name for name in known if name.startswith(error.option_name)]
        near = near or get_close_matches(error.option_name, known, 1)
        text = f"no such option '{error.option_name}'" + (f", did you mean '{near[0]}'?" if near else "")
    return UsageFault(text[:1].lower() + text[1:], fix=f"see {command} --help")


def _complete(instruction: str) -> int:
    """Answer the shell, whose completion script asks by a variable."""
    from click.shell_completion import shell_complete

    from chatpipe.commands.table import cli

    return _flushed(shell_complete(cli, {}, "chatpipe", _COMPLETION_VARIABLE, instruction))


def _error_format(arguments: Sequence[str]) -> str:
    """`--error-format json` also holds for errors in the command line that says it."""
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    asked = "--error-format=json" in words or ("--error-format", "json") in pairwise(words)
    return "json" if asked else "text"


def _open_standard_descriptors() -> None:
    """Put /dev/null where stdin, stdout or stderr are closed.

    Else the first socket that is opened gets descriptor 1, and the answer goes to the server.
    Python has set sys.stdin, sys.stdout and sys.stderr to None then, which still tells.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one


def _clean_up() -> None:
    """Remove a temporary file that was made just as the signal came, before its owner was there."""
    if (files := sys.modules.get("chatpipe.output.files")) is not None:
        files.discard_all()


def _die_by(number: int) -> NoReturn:
    """End by the signal itself, so that a shell's loop and make stop too."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # where the signal is blocked


def _show_traceback(error: Exception) -> None:
    import traceback

    from chatpipe.output import notices

    notices.write(notices.hidden("".join(traceback.format_exception(error))).encode("utf-8", "replace"))
