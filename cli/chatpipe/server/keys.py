"""The ways to give the API key, one row each, and the files with headers.

`--help` imports this module, so it stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    CannotWrite,
    ChatpipeError,
    MissingInput,
    NoAccess,
    UsageFault,
    reason,
)
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, KeySource, KeyWaits, KeyWay
from chatpipe.options.tool_commands import split_command
from chatpipe.server.children import child_environment
from chatpipe.system import secrets
from chatpipe.system.slow_file import read_start

_MAX_BYTES = 65536
_FIRST_LINE = "sed -n '/./{p;q;}'"  # the first that is not blank, as in key_text.py
_MARKS = str.maketrans("", "", "-_.")
_TOO_LONG = f"has more than {_MAX_BYTES >> 10} kB"


class FoundKey(NamedTuple):
    """A key and its source. text may also be the shell words that read the key.

    lines is the number of lines of the source that are not blank. The key is the first of them.
    """

    text: str
    source: KeySource
    lines: int = 1


def find_key(
    sources: Sequence[KeySource], environ: Mapping[str, str], waits: KeyWaits = SILENT_WAITS
) -> FoundKey | None:
    """The API key of the first source that is not optional or holds one, None if there is none.

    From now on it is hidden. Raises NoAccess if the source holds no usable key, UsageFault for a wrong
    option, and BadConfiguration for a wrong setting.
    """
    source = chosen_source(sources, environ)
    if source is None:
        return None
    # No child gets a key: not even a command, the one that it replaces.
    names = {each.value for each in sources if each is not source and each.variable is not None}
    environ = {name: value for name, value in environ.items() if name not in names} if names else environ
    _refuse_unset(source, sources, environ)
    with _place_of(source):
        text = source.way.read(source.value, environ, waits)
    secrets.add(text.strip().partition("\n")[0].strip())  # before anything can fail with it
    return FoundKey(_key_in(text, source, waits), source, sum(map(bool, map(str.strip, text.splitlines()))))


def _refuse_unset(source: KeySource, sources: Sequence[KeySource], environ: Mapping[str, str]) -> None:
    """Raise NoAccess for a setting that lists variables of which none is set; all are named."""
    names = [each.value for each in sources if each.variable is not None and each.setting == source.setting]
    if source.setting is not None and len(names) > 1 and not environ.get(source.value, "").strip():
        what = f"none of the variables is set: {', '.join(names)}"
        raise NoAccess(what, place=source.place, fix="export one of them, or name another one")


@contextmanager
def _place_of(source: KeySource) -> Iterator[None]:
    """Give the faults of a block that reads a source its place, and the status of a missing key."""
    try:
        yield
    except BadInput as fault:
        raise NoAccess(fault.what, place=source.place, fix=fault.fix) from fault
    except UsageFault as fault:
        if source.setting is None:
            raise
        raise BadConfiguration(fault.what, place=source.place, fix=fault.fix) from fault
    except ChatpipeError as fault:
        if source.setting is not None or not fault.place:
            fault.place = source.place
        raise


def chosen_source(sources: Sequence[KeySource], environ: Mapping[str, str]) -> KeySource | None:
    """The source that the key is read from. Only a variable is looked at, the others must hold a key."""
    for source in sources:
        if not source.is_optional or environ.get(source.value, "").strip():
            return source
    return None


class KeyReader:
    """Reads the keys of several servers, each key once."""

    def __init__(self, environ: Mapping[str, str], waits: KeyWaits) -> None:
        self._environ = environ
        self._waits = waits
        self._keys: dict[KeySource, FoundKey | None] = {}

    def find(self, sources: Sequence[KeySource]) -> FoundKey | None:
        """The key of a server with these sources. See find_key()."""
        source = chosen_source(sources, self._environ)
        if source is None:
            return None
        if source not in self._keys:
            self._keys[source] = find_key(sources, self._environ, self._waits)
        return self._keys[source]


def key_words(sources: Sequence[KeySource], environ: Mapping[str, str]) -> FoundKey | None:
    """The shell expression that reads the key, instead of the key."""
    source = chosen_source(sources, environ)
    if source is None:
        return None
    with _place_of(source):
        return FoundKey(source.way.shell_words(source.value), source)


def header_lines(path: str | None, note: Callable[[str], None] = SILENT_WAITS.note) -> list[str]:
    """The lines of `--header-file` that are not blank. Raises MissingInput, BadInput and UsageFault.

    note gets a line if the file keeps us waiting.
    """
    if path is None:
        return []
    try:
        data = read_start(path, _MAX_BYTES, f"waiting for '{path}': --header-file", note)
    except (OSError, ValueError) as error:
        raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--header-file") from error
    if len(data) > _MAX_BYTES:
        raise BadInput(
            f"'{path}' {_TOO_LONG}", place="--header-file", fix="no server accepts that many headers"
        )
    from chatpipe.server.headers import parse_header  # few calls have such a file

    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, line in lines:
        parse_header(line, f"{path}:{number}")  # which has no place of its own later
    return [line for _, line in lines]


def _key_in(text: str, source: KeySource, waits: KeyWaits) -> str:
    """The key in the text of a source. Raises NoAccess."""
    key = text.strip()
    if key.isascii() and key.translate(_MARKS).isalnum():
        return key
    from chatpipe.server.key_text import key_in  # nearly all keys are letters, digits and marks

    return key_in(text, source, waits.note)


def _read_file(path: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    try:
        data = read_start(path, _MAX_BYTES, f"waiting for '{path}': --key-file", waits.note)
    except (OSError, ValueError) as error:
        raise NoAccess(f"cannot read '{path}': {reason(error)}", place="--key-file") from error
    return _key_text(data, f"'{path}'", "--key-file")


def _key_text(data: bytes, name: str, place: str) -> str:
    if len(data) > _MAX_BYTES:
        from chatpipe.server.key_text import ONE_LINE

        raise NoAccess(f"{name} {_TOO_LONG}", place=place, fix=ONE_LINE)
    return data.decode("utf-8", "replace")


def _first_line_of_file(path: str) -> str:
    import shlex

    return f"$({_FIRST_LINE} {shlex.quote(path if not path.startswith('-') else f'./{path}')})"


def _read_descriptor(number: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    descriptor = int(number)
    try:
        text = f"waiting for descriptor {descriptor}: --key-fd"
        data = read_start(descriptor, _MAX_BYTES, text, waits.note)
    except (OSError, OverflowError, TypeError) as error:  # the last two: not a descriptor number
        raise NoAccess(
            f"cannot read descriptor {descriptor}: {_descriptor_message(error)}", place="--key-fd"
        ) from error
    return _key_text(data, f"descriptor {descriptor}", "--key-fd")


def _first_line_of_descriptor(number: str) -> str:
    return f"$({_FIRST_LINE} <&{number})"


def _run_command(command: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    # They load subprocess, which takes 10 ms with shlex, and few keys come from a command.
    from chatpipe.server.key_command import CommandStopped, read_output
    from chatpipe.system.signals import interruptible, signal_name

    words = _split(command)
    environ = child_environment(environ)
    try:
        # A wait that is stopped otherwise may be in a thread, which can set no handler.
        with interruptible() if waits.has_stopped is None else nullcontext():
            output, status = read_output(words, environ, waits)
    except CommandStopped as stopped:
        raise NoAccess(f"'{words[0]}' {stopped}", place="--key-command") from stopped
    except BlockingIOError as error:  # the limit of processes; the command may be all right
        fix = "raise the limit that 'ulimit -u' shows"
        raise CannotWrite("cannot start another process", place="--key-command", fix=fix) from error
    except (OSError, ValueError) as error:
        raise NoAccess(f"cannot run '{words[0]}': {reason(error)}", place="--key-command") from error
    if status:
        ended = f"ended with status {status}" if status > 0 else f"was killed by {signal_name(-status)}"
        raise NoAccess(f"'{words[0]}' {ended}", place="--key-command")
    return output.decode("utf-8", "replace")


def _substitute_command(command: str) -> str:
    import shlex

    # Split and quoted again, because we run it without a shell: nothing is expanded.
    return f"$({shlex.join(_split(command))} | {_FIRST_LINE})"


def _split(command: str) -> list[str]:
    arguments = split_command(command, "--key-command")
    if not arguments:
        raise UsageFault("an empty command", place="--key-command")
    return arguments


def _read_variable(name: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    if not environ.get(name, "").strip():
        raise NoAccess(f"variable '{name}' is not set", fix="export it, or name another one")
    return environ[name]


def _variable_words(name: str) -> str:
    return f"${name}"


def _read_keyring(entry: str, environ: Mapping[str, str], waits: KeyWaits) -> str:
    from chatpipe.server.keychain import read_password  # few keys come from a keyring

    return read_password(entry, waits.note)


def _keyring_words(entry: str) -> str:
    from chatpipe.server.keychain import shell_words

    return shell_words(entry)


def _descriptor_message(error: Exception) -> str:
    return reason(error) if isinstance(error, OSError) else "not a descriptor"


ENVIRONMENT = KeyWay(
    "--key-env",
    "NAME",
    "Environment variable that contains the API key",
    "variable",
    _read_variable,
    _variable_words,
)
# The first that is given counts.
KEY_WAYS = (
    KeyWay("--key-file", "FILE", "File that contains the API key", "file", _read_file, _first_line_of_file),
    KeyWay(
        "--key-command",
        "CMD",
        "Command that prints the API key; it is run without a shell",
        "command",
        _run_command,
        _substitute_command,
    ),
    KeyWay(
        "--key-fd",
        "N",
        "File descriptor from which the API key is read",
        "descriptor",
        _read_descriptor,
        _first_line_of_descriptor,
    ),
    ENVIRONMENT,
)
# For profiles only: an option would name an entry in every call.
KEYRING = KeyWay(
    "", "SERVICE/USER", "Entry of the system's keyring", "keyring", _read_keyring, _keyring_words
)
