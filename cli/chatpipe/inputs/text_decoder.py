"""Bytes of an input -> its text in UTF-8: a byte order mark is dropped, gzip and zstd are unpacked.

The first bytes show what an input is. One that is no text in UTF-8 is refused, with the command that
reads it. Attachments do not pass through here: they are sent as they are.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from chatpipe.errors import BadInput
from chatpipe.inputs.place import MAX_LINE_BYTES, Source
from chatpipe.inputs.stdin import STDIN_NAME
from chatpipe.named_tuple import NamedTuple

if TYPE_CHECKING:
    from chatpipe.inputs.decompress import Decompressor

BOM = b"\xef\xbb\xbf"
GZIP_START = b"\x1f\x8b\x08"
# Reading waits for no more than the first line. Of a longer line, this much is enough.
_START_BYTES = 1 << 16


class _Kind(NamedTuple):
    """A kind of input that is no plain text.

    command turns the file FILE into text, or standard input if it is_filter. coding is the HTTP name of a
    compression. option sends it as a part of a message.
    """

    title: str
    command: str = ""
    is_filter: bool = True
    coding: str = ""
    option: str = ""


def _encoded(encoding: str) -> _Kind:
    return _Kind(encoding.removesuffix("LE").removesuffix("BE"), f"iconv -f {encoding} -t UTF-8 FILE")


# By their first bytes; the first that matches counts. Sources: Unicode 16.0 section 23.8, RFC 1952,
# RFC 8878, and the specification of each format.
_KINDS = (
    ((b"\xff\xfe\0\0", b"\0\0\xfe\xff"), _encoded("UTF-32")),
    ((b"\xff\xfe", b"\xfe\xff"), _encoded("UTF-16")),
    ((GZIP_START,), _Kind("gzip", "zcat FILE", coding="gzip")),
    ((b"\x28\xb5\x2f\xfd",), _Kind("zstd", "zstdcat FILE", coding="zstd")),
    (tuple(b"BZh%d1AY&SY" % level for level in range(1, 10)), _Kind("bzip2", "bzcat FILE")),
    ((b"\xfd7zXZ\0",), _Kind("xz", "xzcat FILE")),
    ((b"PAR1\x15",), _Kind("Parquet", "duckdb -jsonlines -c \"FROM read_parquet('FILE')\"", is_filter=False)),
    ((b"PK\x03\x04",), _Kind("a ZIP archive", "unzip -p FILE", is_filter=False)),
    ((b"%PDF-",), _Kind("PDF", "pdftotext FILE -", is_filter=False, option="--file")),
    ((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"), _Kind("an image", option="--image")),
)
# Characters of ASCII in an encoding without a byte order mark, two of them: where the NULs are.
_NULS = (
    (8, (1, 2, 3, 5, 6, 7), _encoded("UTF-32LE")),
    (8, (0, 1, 2, 4, 5, 6), _encoded("UTF-32BE")),
    (4, (1, 3), _encoded("UTF-16LE")),
    (4, (0, 2), _encoded("UTF-16BE")),
)
_UTF_BYTES = 8  # enough to see an encoding
# Bytes that text hardly has. Together with bytes that are not UTF-8 they show binary data.
_CONTROLS = bytes({*range(32)} - {*b"\b\t\n\v\f\r\x1b"})


class TextDecoder:
    """A decoder of an input that arrives in blocks of any size. The input is called name in errors.

    With keeps_bom, a byte order mark of UTF-8 is passed on.
    """

    def __init__(self, name: str, *, keeps_bom: bool = False, outer: _Kind | None = None) -> None:
        """Decode text that was unpacked from the compression outer, if that is given."""
        self._name = name
        self._keeps_bom = keeps_bom
        self._outer = outer
        self._start = bytearray()
        self._is_plain = False
        self._packed: _CompressedText | None = None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """The text of a block. Raises BadInput after the text that can be had."""
        if self._is_plain:
            yield block
        elif self._packed is not None:
            yield from self._packed.feed(block)
        else:
            self._start += block
            if _shows_kind(self._start):
                yield from self._begin()

    def end(self) -> Iterator[bytes]:
        """The text that was held back. Raises BadInput for compressed data that end early."""
        if not self._is_plain and self._packed is None:
            yield from self._begin()
        if self._packed is not None:
            yield from self._packed.end()

    def _begin(self) -> Iterator[bytes]:
        start = bytes(self._start)
        self._start.clear()
        kind = _kind_of(start)
        if kind is None:
            _refuse_binary(start, self._name)
            self._is_plain = True
            yield start if self._keeps_bom else start.removeprefix(BOM)
            return
        decompressor = None
        if kind.coding and self._outer is None:
            from chatpipe.inputs.decompress import open_decompressor  # few inputs are compressed

            decompressor = open_decompressor(kind.coding, start)
        if decompressor is None:
            raise BadInput(f"{kind.title}, not UTF-8 text", place=self._name, fix=self._fix(kind))
        text = TextDecoder(self._name, keeps_bom=self._keeps_bom, outer=kind)
        self._packed = _CompressedText(decompressor, text, f"its {kind.title} data", self._name)
        yield from self._packed.feed(start)

    def _fix(self, kind: _Kind) -> str:
        if self._outer is None:
            read = f"read it with {self._command(kind)}" if kind.command else ""
            send = f"send it with {self._sender(kind.option)}" if kind.option else ""
            return ", or ".join(filter(None, (read, send)))
        if not kind.command:
            return "give text in UTF-8"
        outer = self._command(self._outer)
        if kind.coding:  # compressed twice: the other layer is unpacked here
            return f"read it with {outer}"
        inner = with_name(kind.command, STDIN_NAME, is_filter=kind.is_filter)
        return f"read it with {outer} | {inner}" if kind.is_filter else f"unpack it, and read it with {inner}"

    def _sender(self, option: str) -> str:
        """The option that sends the file. Only a command that reads a prompt has it on stdin."""
        return f"{option} -" if self._name == STDIN_NAME else f"chatpipe ask {option} {quoted(self._name)}"

    def _command(self, kind: _Kind) -> str:
        return with_name(kind.command, self._name, is_filter=kind.is_filter)


class _CompressedText:
    """The decoder of compressed text. title names the compressed data in errors."""

    def __init__(self, decompressor: Decompressor, text: TextDecoder, title: str, name: str) -> None:
        self._decompressor = decompressor
        self._text = text
        self._title = title
        self._name = name

    def feed(self, block: bytes) -> Iterator[bytes]:
        from chatpipe.inputs.decompress import BrokenData

        try:
            for piece in self._decompressor.feed(block):
                yield from self._text.feed(piece)
        except BrokenData as error:
            raise BadInput(f"{self._title} are broken", place=self._name, fix="get the file again") from error

    def end(self) -> Iterator[bytes]:
        if not self._decompressor.is_complete:
            raise BadInput(f"{self._title} end early", place=self._name, fix="get the whole file")
        yield from self._text.end()


def decode(name: str, data: bytes, max_bytes: int = MAX_LINE_BYTES) -> bytes:
    """The text of a whole input in UTF-8. Raises BadInput, also if more than max_bytes were compressed."""
    if _kind_of(data) is None:
        _refuse_binary(data, name)
        return data.removeprefix(BOM)
    decoder = TextDecoder(name)
    pieces = []
    size = 0
    for piece in chain(decoder.feed(data), decoder.end()):
        size += len(piece)
        if size > max_bytes:
            raise BadInput(f"has more than {max_bytes / 1e6:.3g} MB of text", place=name)
        pieces.append(piece)
    return b"".join(pieces)


def refuse_other_kinds(start: bytes, name: str) -> None:
    """Raise BadInput if a file that is read where it lies is compressed, or of another encoding or format.

    start has its first bytes, eight or more if there are so many. The advice makes another file of it.
    """
    kind = _kind_of(start)
    if kind is not None:
        command = with_name(kind.command, name) if kind.command else ""
        fix = f"{command} > NEW makes text of it" if command else "give text in UTF-8"
        raise BadInput(f"{kind.title}, not UTF-8 text", place=name, fix=fix)


def source_text(source: Source) -> str:
    """The UTF-8 text of a source without one final newline (LF or CRLF). Raises BadInput for other bytes.

    A NUL raises BadInput, too. It is valid UTF-8, but in a prompt it means that binary data was piped
    in by mistake.
    """
    data = source.data
    if b"\0" in data:
        raise _binary(f"a NUL at byte {data.index(0)}", source.name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise not_utf8(error, source.name, f"{source.name}:{line}") from error
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def not_utf8(error: UnicodeDecodeError, name: str, place: str) -> BadInput:
    """A BadInput for text in a character set of one byte a character, found at place in the input name."""
    command = with_name(f"iconv -f {_encoding_of(error.object)} -t UTF-8 FILE", name)
    what = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
    return BadInput(what, place=place, fix=f"convert it first, for example with {command}")


def conversion(data: bytes, name: str) -> str:
    """The shell command that makes UTF-8 text of the input name; "" if none is known for such data."""
    kind = _kind_of(data)
    if kind is not None:
        return with_name(kind.command, name, is_filter=kind.is_filter) if kind.command else ""
    if len(data.translate(None, _CONTROLS)) < len(data):
        return ""
    return with_name(f"iconv -f {_encoding_of(data)} -t UTF-8 FILE", name)


def _encoding_of(data: bytes) -> str:
    """The likely character set of text, one byte a character."""
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:  # five bytes mean nothing there
        return "ISO-8859-1"
    return "WINDOWS-1252"


def is_compressed(start: bytes) -> bool:
    """Return True if an input that begins with these bytes, at least 4 or all, is gzip or zstd."""
    kind = _kind_of(start)
    return kind is not None and bool(kind.coding)


def _shows_kind(start: bytearray) -> bool:
    """Return True if the bytes are enough to see what the input is."""
    if len(start) >= _START_BYTES or _is_like_json(start) or start.startswith(BOM):
        return True
    if b"\n" in start:
        return len(start) >= _UTF_BYTES or b"\0" not in start
    kind = _kind_of(start)
    return kind is not None and bool(kind.coding)


def _is_like_json(start: bytes | bytearray) -> bool:
    """Return True for the start of JSON in UTF-8. In any other encoding, the second byte would be 0."""
    return start[:1] in (b"{", b"[", b'"') and start[1:2] not in (b"", b"\0")


def _kind_of(start: bytes | bytearray) -> _Kind | None:
    for prefixes, kind in _KINDS:
        if start.startswith(prefixes):
            return kind
    if 0 in start[:_UTF_BYTES]:
        for size, places, kind in _NULS:
            nuls = [at for at, byte in enumerate(start[:size]) if not byte]
            if nuls == [*places] and start[:size].replace(b"\0", b"").isascii():
                return kind
    return None


def _refuse_binary(start: bytes, name: str) -> None:
    """Raise BadInput if the first line is no text in any character set."""
    if _is_like_json(start):
        return  # perhaps a bad line, but the others may be good
    line = start[:_START_BYTES].partition(b"\n")[0]
    if len(line.translate(None, _CONTROLS)) == len(line):
        return
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)  # the start may end inside a character
    except UnicodeDecodeError as error:
        raise _binary(f"byte 0x{line[error.start]:02x}", name) from error
    if b"\0" in line:
        raise _binary(f"a NUL at byte {line.index(0)}", name)


def _binary(what: str, name: str) -> BadInput:
    return BadInput(f"binary data, {what}", place=name, fix="give text in UTF-8")


def with_name(command: str, name: str, *, is_filter: bool = True) -> str:
    """A shell command with the input name instead of FILE. Without a name, is_filter: it reads stdin."""
    if name == STDIN_NAME:
        return command.replace(" <FILE", "").replace(" FILE", "") if is_filter else command
    word = quoted(name)
    if "'FILE'" in command and word != name:  # quotes within quotes
        return command
    return command.replace("FILE", word)


def quoted(name: str) -> str:
    """The name of a file as a word of a shell command."""
    import shlex  # for errors only

    return shlex.quote(f"./{name}" if name.startswith("-") else name)
