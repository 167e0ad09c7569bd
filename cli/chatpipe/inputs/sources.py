"""Named inputs -> bytes and text that know their place.

Every file that goes into a request is read through one `Sources`, which remembers the names: they
are the prerequisites of `--depfile`, and `-o` may not be one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chatpipe.errors import BadInput, MissingInput, UsageFault, reason
from chatpipe.inputs.place import LINE_BYTES, Source
from chatpipe.inputs.stdin import Stdin

STDIN = "-"
STDIN_NAME = "<stdin>"
_BLOCK = 65536


class Limit(NamedTuple):
    """How much of a file is read at most, and what to do about one that has more."""

    size_bytes: int
    fix: str


_ANY = Limit(LINE_BYTES, "no request holds so much")


class Sources:
    """Files by name, `-` for stdin. names holds every file opened so far, in order, as it was typed."""

    def __init__(self, stdin: Stdin) -> None:
        self.stdin = stdin
        self.names: list[str] = []

    def read(self, name: str, option: str) -> Source:
        """The bytes of a file, or of stdin for `-`. Raises MissingInput, naming the option, and BadInput."""
        if name == STDIN:
            return Source(STDIN_NAME, self.stdin.read())
        return self.read_within(_ANY, name, option)

    def read_within(self, limit: Limit, name: str, option: str) -> Source:
        """The same of what may be huge. Raises BadInput for what has more bytes than the limit.

        Nothing is read of a file that is known to be larger, and a device or a pipe without an end
        is read up to the limit only.
        """
        if name == STDIN:
            return Source(STDIN_NAME, _within(limit, self.stdin.blocks(), STDIN_NAME, option))
        try:
            with open(name, "rb") as file:
                size = os.fstat(file.fileno()).st_size  # 0 of what is no regular file
                if size > limit.size_bytes:
                    raise _too_large(name, option, limit, size)
                data = _within(limit, iter(lambda: file.read(_BLOCK), b""), name, option)
        except (OSError, ValueError) as error:
            raise missing(name, option, error) from error
        self.names.append(name)
        return Source(name, data)

    def text(self, name: str, option: str) -> str:
        """The UTF-8 text of a file or stdin, one final newline removed. Raises BadInput, MissingInput."""
        return text_of(self.read(name, option))

    def lines(self, name: str, option: str) -> Iterator[Source]:
        """The physical lines, one at a time, without their ends. The last may lack one."""
        if name == STDIN:
            yield from _split(STDIN_NAME, self.stdin.blocks())
            return
        try:
            file = open(name, "rb")  # noqa: SIM115 - closed by the with below; only the opening is guarded here
        except (OSError, ValueError) as error:
            raise missing(name, option, error) from error
        self.names.append(name)
        with file:
            try:
                yield from _split(name, iter(lambda: file.read(_BLOCK), b""))
            except OSError as error:
                raise missing(name, option, error) from error


def text_of(source: Source) -> str:
    """UTF-8 text without one final newline (LF or CRLF). Raises BadInput for other bytes, NUL among them.

    A NUL is valid in JSON, but in a prompt it means that binary data was piped in by mistake.
    """
    data = source.data
    if b"\0" in data:
        raise BadInput(
            f"binary data, a NUL at byte {data.index(0)}", place=source.name, fix="a prompt is text in UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8",
            place=f"{source.name}:{line}",
            fix="convert it first, for example with iconv -t UTF-8",
        ) from error
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def one_owner(claims: Iterable[tuple[str, str]]) -> str | None:
    """The option that was given `-`, if one was. claims are (option, value). Raises UsageFault for two."""
    owners = [option for option, value in claims if value == STDIN]
    if len(owners) > 1:
        raise UsageFault(
            f"{owners[0]} and {owners[1]} both read stdin", fix="give one of them a file: stdin has one owner"
        )
    return owners[0] if owners else None


def missing(name: str, option: str, error: OSError | ValueError) -> MissingInput:
    """What to say of a file that could not be opened or read."""
    return MissingInput(f"cannot read '{name}': {reason(error)}", place=option)


def _within(limit: Limit, blocks: Iterator[bytes], name: str, option: str) -> bytes:
    held: list[bytes] = []
    size = 0
    for block in blocks:
        size += len(block)
        if size > limit.size_bytes:
            raise _too_large(name, option, limit, None)
        held.append(block)
    return b"".join(held)


def _too_large(name: str, option: str, limit: Limit, size: int | None) -> BadInput:
    """A size of None: no more is known than that it passes the limit."""
    most = f"{limit.size_bytes / 1e6:.0f} MB"
    what = (
        f"more than {most}" if size is None else f"{size / 1e6:,.1f} MB, more than the {most} that are taken"
    )
    return BadInput(f"'{name}' has {what}", place=option, fix=limit.fix)


def _split(name: str, blocks: Iterator[bytes]) -> Iterator[Source]:
    """Lines at LF only (a CR before it is a part of the end): U+2028 and its like may stand inside JSON."""
    number = 1
    held: list[bytes] = []  # the pieces of a line that spans blocks: joined once, not grown
    for block in blocks:
        first, *rest = block.split(b"\n")
        held.append(first)
        for piece in rest:
            data = b"".join(held)
            is_crlf = data.endswith(b"\r")
            yield Source(name, data[:-1], number, b"\r\n") if is_crlf else Source(name, data, number)
            number += 1
            held = [piece]
    last = b"".join(held)
    if last:
        yield Source(name, last, number, b"")
