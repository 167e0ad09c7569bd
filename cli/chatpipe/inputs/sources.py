"""Named inputs -> bytes and text that know their place.

Every file that goes into a request is read through one `Sources`, which records the names: they
are the prerequisites in `--depfile`, and `-o` must not name one of them. Texts are decoded (text_decoder.py),
attachments are not. A file that only a row names is read by `read_inside`, because rows are untrusted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from chatpipe.errors import BadInput, MissingInput, UsageFault, reason
from chatpipe.inputs.place import MAX_LINE_BYTES, Source
from chatpipe.inputs.stdin import STDIN_NAME, Stdin, is_stdin, process_stdin
from chatpipe.named_tuple import NamedTuple

if TYPE_CHECKING:
    from chatpipe.inputs.line_decoder import InputForm

_BLOCK = 65536
_NAME_EXCERPT = 60  # characters that a message shows of JSON in place of a name

# A block in which the file of this name is opened and read. If it waits, the text says so.
Wait = Callable[[str, str], AbstractContextManager[None]]


class SizeLimit(NamedTuple):
    """The maximum size of a file, and the advice for one that exceeds it."""

    size_bytes: int
    fix: str


_ANY = SizeLimit(MAX_LINE_BYTES, "no request can be that large")


def _silent_wait(name: str, text: str) -> AbstractContextManager[None]:
    return nullcontext()


class Sources:
    """Files by name, and stdin: see is_stdin. files has the option and the name of each file read so far.

    stdin_owner is the option that has stdin if that is neither a prompt nor an input, such as a key.
    """

    def __init__(self, stdin: Stdin, wait: Wait = _silent_wait, stdin_owner: str | None = None) -> None:
        self.stdin = stdin
        self.stdin_owner = stdin_owner
        self._wait = wait
        self.files: list[tuple[str, str]] = []

    @property
    def names(self) -> list[str]:
        """The names of the files opened so far, as typed."""
        return [name for _, name in self.files]

    def add(self, name: str, option: str) -> None:
        """Note that the file has been read."""
        self.files.append((option, name))

    def read(self, name: str, option: str) -> Source:
        """The text of a file, or of stdin for `-`, as UTF-8. Raises BadInput, MissingInput at the option."""
        return _decoded(self.read_raw(_ANY, name, option))

    def read_raw(self, limit: SizeLimit, name: str, option: str) -> Source:
        """The bytes of a file as they are. Raises BadInput if there are more of them than the limit.

        A file whose known size exceeds the limit is not read at all. An endless device or pipe is read
        only up to the limit.
        """
        if is_stdin(name):
            return Source(STDIN_NAME, _joined(limit, self.stdin.blocks(), STDIN_NAME, option))
        try:
            with self._note_wait(name, option), open(name, "rb") as file:
                size = os.fstat(file.fileno()).st_size  # 0 if it is not a regular file
                refuse_size(size, name, option, limit)
                data = _joined(limit, iter(lambda: file.read(_BLOCK), b""), name, option)
        except (OSError, ValueError) as error:
            raise missing_input(name, option, error) from error
        self.add(name, option)
        return Source(name, data)

    def text(self, name: str, option: str) -> str:
        """The UTF-8 text of a file or stdin without one final newline. Raises BadInput, MissingInput."""
        return _text_of(self.read_raw(_ANY, name, option))

    def piped_text(self, notice: str = "") -> str:
        """The text of stdin. notice is shown if it keeps us waiting. Raises BadInput, MissingInput."""
        return _text_of(Source(STDIN_NAME, self.stdin.read(notice)))

    def lines(self, name: str, option: str, form: InputForm | None = None) -> Iterator[Source]:
        """Yield the lines one at a time, without their line endings: see LineDecoder. None is text.

        Raises MissingInput, and BadInput after the last line that can be read.
        """
        if is_stdin(name):
            yield from _decode_lines(STDIN_NAME, form, self.stdin.blocks())
            return
        try:
            with self._note_wait(name, option):
                file = open(name, "rb")  # noqa: SIM115 - closed by the with below; this try covers only the start
                start = file.read(_BLOCK)
        except (OSError, ValueError) as error:
            raise missing_input(name, option, error) from error
        self.add(name, option)
        try:
            blocks = chain([start], iter(lambda: file.read(_BLOCK), b""))
            yield from _decode_lines(name, form, blocks)
        except OSError as error:
            raise missing_input(name, option, error) from error
        finally:
            with contextlib.suppress(OSError):  # an iterator that is dropped would print it
                file.close()

    def _note_wait(self, name: str, option: str) -> AbstractContextManager[None]:
        return self._wait(name, f"waiting for '{name}': {option}")


def refuse_missing_folder(folder: str, option: str) -> None:
    """Raise MissingInput if the folder does not exist: no file could be inside it."""
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (OSError, ValueError) as error:
        raise missing_input(folder, option, error) from error


def is_file(name: str) -> bool:
    """True if a file has this name. A word that is meant as text rarely is one. Never raises."""
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except (OSError, ValueError):
        return False


def read_inside(folder: str, name: str, max_bytes: int) -> bytes:
    """The bytes of a regular file that untrusted data names, in folder or below it.

    Symbolic links and `..` are followed if the resolved path is inside folder. Raises BadInput without
    a place.
    """
    try:
        root = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(root, name))
        if os.path.commonpath((root, path)) != root:
            raise BadInput(f"'{name}' is not inside '{folder}'")
        # O_NONBLOCK: opening a FIFO must not block the run. O_NOFOLLOW: links are resolved above, so
        # a link at this path was put there since.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return _content(descriptor, name, max_bytes)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot read '{name}': {reason(error)}") from error


def process_sources(notice: Callable[[str], None], wait: Wait, stdin_owner: str | None = None) -> Sources:
    """The sources of this process. stdin_owner: see Sources."""
    return Sources(process_stdin(notice, is_taken=stdin_owner is not None), wait, stdin_owner)


def stdin_owner(claims: Iterable[tuple[str, str]]) -> str | None:
    """The option whose value is stdin, if any. claims are (option, value). Raises UsageFault for two."""
    owners = [option for option, value in claims if is_stdin(value)]
    if len(owners) > 1:
        raise UsageFault(f"{owners[0]} and {owners[1]} both read stdin", fix="give one of them a file")
    return owners[0] if owners else None


def missing_input(name: str, option: str, error: OSError | ValueError) -> MissingInput:
    """A MissingInput for a file that could not be opened or read, with advice if the name is none."""
    from chatpipe.inputs.missing_names import advice

    is_no_name = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG)
    fix = advice(name, option) if is_no_name else ""
    if name.lstrip().startswith(("{", "[")) and len(name) > _NAME_EXCERPT:
        name = f"{name[:_NAME_EXCERPT]}..."
    return MissingInput(f"cannot read '{name}': {reason(error)}", place=option, fix=fix)


def _content(descriptor: int, name: str, max_bytes: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"'{name}' is not a file")
    if status.st_size > max_bytes:
        raise BadInput(f"'{name}' is larger than {max_bytes // 1_000_000} MB")
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


def _joined(limit: SizeLimit, blocks: Iterator[bytes], name: str, option: str) -> bytes:
    """All blocks joined. Raises BadInput as soon as they exceed the limit."""
    kept: list[bytes] = []
    size = 0
    for block in blocks:
        size += len(block)
        if size > limit.size_bytes:
            raise _too_large(name, option, limit, None)
        kept.append(block)
    return b"".join(kept)


def refuse_size(size: int, name: str, option: str, limit: SizeLimit = _ANY) -> None:
    """Raise BadInput for the size of a file that exceeds the limit."""
    if size > limit.size_bytes:
        raise _too_large(name, option, limit, size)


def _too_large(name: str, option: str, limit: SizeLimit, size: int | None) -> BadInput:
    """A BadInput for a file above the limit. size is None if the exact size is unknown."""
    maximum = f"{limit.size_bytes / 1e6:.0f} MB"
    what = (
        f"more than {maximum}" if size is None else f"{size / 1e6:,.1f} MB, more than the limit of {maximum}"
    )
    return BadInput(f"'{name}' has {what}", place=option, fix=limit.fix)


# The decoders are imported where there is something to decode: many requests read neither file nor stdin.


def _decoded(raw: Source) -> Source:
    from chatpipe.inputs.text_decoder import decode

    return raw._replace(data=decode(raw.name, raw.data))


def _text_of(raw: Source) -> str:
    from chatpipe.inputs.text_decoder import source_text

    return source_text(_decoded(raw))


def _decode_lines(name: str, form: InputForm | None, blocks: Iterator[bytes]) -> Iterator[Source]:
    from chatpipe.inputs.line_decoder import LineDecoder

    decoder = LineDecoder(name) if form is None else LineDecoder(name, form)
    for block in blocks:
        yield from decoder.feed(block)
    yield from decoder.end()
