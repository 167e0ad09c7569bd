"""The program: run a command, and turn whatever ends it into one line on stderr and an exit status.

`--version` and the completion of a name are answered without Click, and a command is imported only when
it runs, because start-up is most of the cost of a small request.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise

from chatpipe import __version__

TYPE_CHECKING = False  # as in typing, which --version does without: it takes a quarter of its time
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

    from chatpipe.options.output import ConsoleOptions

_COMPLETION_VARIABLE = "_CHATPIPE_COMPLETE"
# As error_record() of system/console.py would make it. Its modules do not fit into memory.
_RECORD_WITHOUT_MEMORY = (
    '{"error":{"status":74,"type":"cannot_write","message":"TEXT","place":null,"http_status":null,'
    '"request_id":null,"body":null}}'
)


class OutputClosed(BaseException):
    """The reader of our output closed the pipe. A filter then ends quietly."""


def main() -> NoReturn:
    """Run the command line of the process. End with an exit status, or by the signal that stopped it."""
    from chatpipe.errors import Interrupted

    signal_number: int | None = None
    interruption: Interrupted | None = None
    try:
        status = run(sys.argv[1:])
    except Interrupted as error:
        # Kept to the end: without it Python would destroy what was under way, and may complain on stderr.
        interruption = error
        signal_number = interruption.number
    except OutputClosed:
        signal_number = signal.SIGPIPE
    # A signal comes before every fault, and before a result that was complete when it arrived.
    if (signals := sys.modules.get("chatpipe.system.signals")) is not None:
        signal_number = signals.received() or signal_number
    if signal_number is not None:
        _clean_up()
        _end_by_signal(signal_number)
    # Everything has been written. A regular shutdown of a few hundred modules would cost another 5 ms.
    os._exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run the command line, report every fault on stderr, and return the exit status.

    Interrupted and OutputClosed propagate, because they end the process by a signal.
    """
    # A run creates about 40,000 objects that live until its end. The garbage collector, which by default
    # runs after every 700 new objects, took 5 of the 90 ms.
    gc.set_threshold(50_000)
    _open_standard_descriptors()
    try:
        if list(arguments) == ["--version"]:
            return _print(f"chatpipe {__version__}\n")
        if instruction := os.environ.get(_COMPLETION_VARIABLE):
            return _answer_completion(instruction)
        return _command(arguments)
    except Exception as error:
        try:
            return _report(error, arguments)
        except Exception as unreported:
            from chatpipe.errors import lacks_memory

            if not lacks_memory(error) and not lacks_memory(unreported):
                raise
            return _report_without_memory(arguments)


def _report_without_memory(arguments: Sequence[str]) -> int:
    """Report on stderr that there is no memory even for the modules of a report. Returns the status."""
    from chatpipe.errors import FREE_MEMORY, OUT_OF_MEMORY, Status

    text = f"{OUT_OF_MEMORY}: {FREE_MEMORY}"
    record = _RECORD_WITHOUT_MEMORY.replace("TEXT", text)
    os.write(2, f"{record if _wants_json(arguments) else f'chatpipe: {text}'}\n".encode())
    return Status.CANNOT_WRITE


def _report(error: Exception, arguments: Sequence[str]) -> int:
    """Report the fault on stderr, one line for each of several, and return its exit status."""
    from chatpipe.errors import BadConfiguration, Problems
    from chatpipe.final_fault import final_fault
    from chatpipe.server.stray_keys import hide_stray_keys
    from chatpipe.system.console import Console

    try:
        hide_stray_keys(os.environ, arguments)
    except OSError as broken:  # the names of the variables with keys are unknown: show nothing of the error
        what = f"{broken.filename} is missing or broken"
        error = BadConfiguration(what, fix="install chatpipe again")
    fault = final_fault(error, arguments, os.environ)
    options = _console_options(arguments)
    if options.debug and not isinstance(fault, Problems):
        _show_traceback(error)
    console = Console(options)
    for each in fault.faults if isinstance(fault, Problems) else [fault]:
        console.error(each)
    return fault.status


def _command(arguments: Sequence[str]) -> int:
    """Run the command. Raises errors of Click as a ChatpipeError, and OutputClosed for a closed pipe."""
    import click

    from chatpipe.commands.table import cli, refuse_first_word, usage_fault
    from chatpipe.system.descriptor import BrokenPipe

    try:
        refuse_first_word(arguments, os.environ)
        with cli.make_context("chatpipe", list(arguments)) as context:
            status = cli.invoke(context)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as exit_:  # --help
        return _flush(exit_.exit_code)
    except click.UsageError as error:
        raise usage_fault(error, arguments, os.environ) from error
    except BrokenPipe as error:
        raise OutputClosed from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise OutputClosed from error
        raise


def _print(text: str) -> int:
    """Print a text without Click. A failed write is reported as in any command."""
    try:
        _stdout().buffer.write(text.encode("utf-8", "surrogateescape"))
        return _flush(0)
    except BrokenPipeError as error:
        raise OutputClosed from error
    except OSError as error:
        from chatpipe.system.descriptor import cannot_write

        raise cannot_write("stdout", error) from error


def _stdout() -> TextIO:
    """The stream for short texts of Click and of our own. Raises CannotWrite if it was closed at start-up."""
    if sys.stdout is None:
        from chatpipe.errors import CannotWrite

        raise CannotWrite("stdout is closed", fix="redirect it")
    return sys.stdout


def _flush(status: int) -> int:
    """Flush stdout, which is where a full disk is detected, and return status."""
    _stdout().flush()
    return status


def _answer_completion(instruction: str) -> int:
    """Answer the shell's completion script, which passes its request in an environment variable."""
    from chatpipe.flags.known_names import known_names
    from chatpipe.flags.shell_answers import SHELLS

    shell = SHELLS.get(instruction.removesuffix("_complete"))
    if shell is None:
        return 1
    words, incomplete = shell.words(os.environ)
    candidates = known_names(words, incomplete)
    if candidates is None:
        from chatpipe.commands.table import value_candidates

        candidates = value_candidates(words, incomplete)
    return _print("".join(f"{shell.line(each)}\n" for each in candidates))


def _console_options(arguments: Sequence[str]) -> ConsoleOptions:
    """The form of a fault: --debug and --error-format, found without Click, which may be what failed."""
    from chatpipe.options.output import ConsoleOptions

    error_format = "json" if _wants_json(arguments) else "text"
    is_debug = "--debug" in _before_operands(arguments)
    return ConsoleOptions(error_format=error_format, debug=is_debug)


def _wants_json(arguments: Sequence[str]) -> bool:
    format = ""  # of several the last counts, as for Click
    for word, following in pairwise((*_before_operands(arguments), "")):
        name, _, value = word.partition("=")
        if name == "--error-format":
            format = value if "=" in word else following
    return format == "json"


def _before_operands(arguments: Sequence[str]) -> Sequence[str]:
    """The words before `--`, which may be options."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _open_standard_descriptors() -> None:
    """Open /dev/null on each of stdin, stdout and stderr that is closed.

    Otherwise the first socket could get descriptor 1, and the answer would go to the server. Python has
    already set sys.stdin, sys.stdout or sys.stderr to None, so a closed stream is still recognizable.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def _clean_up() -> None:
    """Remove a temporary file that was created just before the signal and has no owner yet."""
    if (files := sys.modules.get("chatpipe.system.atomic")) is not None:
        files.discard_all()


def _end_by_signal(number: int) -> NoReturn:
    """End the process by the signal itself, so that a shell loop or make stops too."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # if the signal is blocked


def _show_traceback(error: Exception) -> None:
    import traceback

    from chatpipe.system import console, escape, secrets

    text = secrets.hide("".join(traceback.format_exception(error)))  # it may quote the server
    console.write(escape.escape_controls(text).encode())
