"""What the bytes of an input are, in blocks of any size, for every option that reads a text."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from chatpipe.errors import BadInput, NoAccess, Status
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.messages import parse_document, parse_messages, parse_request
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.inputs.text_decoder import TextDecoder, decode, refuse_other_kinds
from chatpipe.limits.prices import load_prices
from chatpipe.options.server import KeySource
from chatpipe.server.keys import KEY_WAYS, find_key, header_lines
from support.parametrize import cases
from support.refusals import refused

BOM = b"\xef\xbb\xbf"
TEXT = "Grüße, 世界\n".encode()


def zstd(data: bytes) -> bytes:
    packed: bytes = import_module("backports.zstd").compress(data)
    return packed


def decoded(data: bytes, step: int, *, keeps_bom: bool = False) -> bytes:
    decoder = TextDecoder("f", keeps_bom=keeps_bom)
    blocks = [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join(piece for block in [*blocks, decoder.end()] for piece in block)


@cases(
    "data, text",
    {
        "nothing": (b"", b""),
        "text": (TEXT, TEXT),
        "a byte order mark": (BOM + TEXT, TEXT),
        "nothing behind it": (BOM, b""),
        "two of them": (BOM + BOM, BOM),
        "a part of one": (BOM[:2], BOM[:2]),
        "gzip": (gzip.compress(TEXT), TEXT),
        "gzip in two members, and NULs": (gzip.compress(TEXT) + gzip.compress(TEXT) + bytes(9), TEXT + TEXT),
        "gzip of nothing": (gzip.compress(b""), b""),
        "gzip, a byte order mark inside": (gzip.compress(BOM + TEXT), TEXT),
        "zstd": (zstd(TEXT), TEXT),
        "zstd in three frames": (zstd(TEXT) + zstd(b"") + zstd(TEXT), TEXT + TEXT),
        "the first byte of gzip": (b"\x1f", b"\x1f"),
        "the beginning of other formats": (
            b"PAR1 is a word, and so is PK\n",
            b"PAR1 is a word, and so is PK\n",
        ),
        "one character a byte": (b"caf\xe9 au lait\n", b"caf\xe9 au lait\n"),
        "colours and overstrikes": (b"\x1b[1m_\bx\f\n", b"\x1b[1m_\bx\f\n"),
        "controls in UTF-8": ("\x01ü\n".encode(), "\x01ü\n".encode()),
        "a NUL on the second line": (b"a\nb\0\n", b"a\nb\0\n"),
        "a NUL in JSON": (b'{"a":"\0"}\n', b'{"a":"\0"}\n'),
        "a long line": (b"x" * 70_000 + b"\0", b"x" * 70_000 + b"\0"),
    },
)
def test_text_is_read(data: bytes, text: bytes) -> None:
    for step in (1, 3, 1 << 20):
        if len(data) < 1000 or step > 3:
            assert decoded(data, step) == text
    assert decode("f", data) == text


def test_a_byte_order_mark_is_kept_where_it_is_a_part_of_the_table() -> None:
    assert decoded(BOM + TEXT, 2, keeps_bom=True) == BOM + TEXT
    assert decoded(gzip.compress(BOM + TEXT), 2, keeps_bom=True) == BOM + TEXT


REFUSED = {
    "UTF-16": ("aü\n".encode("utf-16"), "UTF-16, not UTF-8 text: read it with iconv -f UTF-16 -t UTF-8 f"),
    "UTF-16, big-endian": (
        b"\xfe\xff" + "a\n".encode("utf-16-be"),
        "UTF-16, not UTF-8 text: read it with iconv -f UTF-16 -t UTF-8 f",
    ),
    "UTF-16 without a mark": (
        "a\n".encode("utf-16-le"),
        "UTF-16, not UTF-8 text: read it with iconv -f UTF-16LE -t UTF-8 f",
    ),
    "UTF-16 without a mark, big-endian": (
        '{"a"}\n'.encode("utf-16-be"),
        "UTF-16, not UTF-8 text: read it with iconv -f UTF-16BE -t UTF-8 f",
    ),
    "UTF-32": ("a\n".encode("utf-32"), "UTF-32, not UTF-8 text: read it with iconv -f UTF-32 -t UTF-8 f"),
    "UTF-32 without a mark": (
        "a\n".encode("utf-32-be"),
        "UTF-32, not UTF-8 text: read it with iconv -f UTF-32BE -t UTF-8 f",
    ),
    "gzip twice": (gzip.compress(gzip.compress(TEXT)), "gzip, not UTF-8 text: read it with zcat f"),
    "UTF-16 in gzip": (
        gzip.compress(TEXT.decode().encode("utf-16")),
        "UTF-16, not UTF-8 text: read it with zcat f | iconv -f UTF-16 -t UTF-8",
    ),
    "PDF in gzip": (
        gzip.compress(b"%PDF-1.7\n"),
        "PDF, not UTF-8 text: unpack it, and read it with pdftotext FILE -",
    ),
    "bzip2": (
        import_module("bz2").compress(TEXT),
        "bzip2, not UTF-8 text: read it with bzcat f",
    ),
    "xz": (import_module("lzma").compress(TEXT), "xz, not UTF-8 text: read it with xzcat f"),
    "Parquet": (
        b"PAR1\x15\x04\x15\x1e",
        "Parquet, not UTF-8 text: read it with duckdb -jsonlines -c \"FROM read_parquet('f')\"",
    ),
    "ZIP": (b"PK\x03\x04\x14\0\0\0", "a ZIP archive, not UTF-8 text: read it with unzip -p f"),
    "PDF": (
        b"%PDF-1.7\n%\xe2\xe3\n",
        "PDF, not UTF-8 text: read it with pdftotext f -, or send it with chatpipe ask --file f",
    ),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0", "an image, not UTF-8 text: send it with chatpipe ask --image f"),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image, not UTF-8 text: send it with chatpipe ask --image f"),
    "GIF": (b"GIF89a\x01\0\x01\0", "an image, not UTF-8 text: send it with chatpipe ask --image f"),
    "an image in gzip": (
        gzip.compress(b"\x89PNG\r\n\x1a\n\0\0"),
        "an image, not UTF-8 text: give text in UTF-8",
    ),
    "a program": (b"\x7fELF\2\1\1\0", "binary data, a NUL at byte 7: give text in UTF-8"),
    "noise": (b"\x80\x01\xfe\n", "binary data, byte 0x80: give text in UTF-8"),
}


@cases("data, message", REFUSED)
def test_all_else_is_refused_with_the_command_that_reads_it(data: bytes, message: str) -> None:
    for step in (1, 3, 1 << 20):
        with refused(BadInput, f"f: {message}", status=Status.BAD_INPUT):
            decoded(data, step)
    with refused(BadInput, f"f: {message}"):
        decode("f", data)


@pytest.mark.parametrize(
    "name",
    ["UTF-16", "UTF-16 without a mark", "UTF-32 without a mark", "gzip twice", "UTF-16 in gzip", "bzip2"],
)
@pytest.mark.parametrize("file", ["f", "it's -1 $f.txt", "-f"])
def test_that_command_works_as_it_stands(tmp_path: Path, name: str, file: str) -> None:
    data = REFUSED[name][0]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(BadInput) as caught:
        decode(file, data)
    command = caught.value.fix.removeprefix("read it with ")
    done = subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert decode("f", done.stdout).decode().endswith("\n")


@cases(
    "data, message",
    {
        "gzip": (gzip.compress(TEXT), "gzip, not UTF-8 text: zcat f > NEW makes text of it"),
        "zstd": (zstd(TEXT), "zstd, not UTF-8 text: zstdcat f > NEW makes text of it"),
        "UTF-16": (
            "{}\n".encode("utf-16"),
            "UTF-16, not UTF-8 text: iconv -f UTF-16 -t UTF-8 f > NEW makes text of it",
        ),
        "an image": (b"\x89PNG\r\n\x1a\n\0\0", "an image, not UTF-8 text: give text in UTF-8"),
    },
)
def test_a_file_that_is_read_where_it_lies_is_refused_likewise(data: bytes, message: str) -> None:
    with refused(BadInput, f"f: {message}", status=Status.BAD_INPUT):
        refuse_other_kinds(data[:64], "f")


@pytest.mark.parametrize("data", [b"", TEXT, BOM + TEXT, b"\0" * 20, b"{", b"\x80\n"])
def test_text_and_what_is_not_known_is_left_to_its_reader(data: bytes) -> None:
    refuse_other_kinds(data, "f")


@cases(
    "data, message",
    {
        "gzip that ends early": (gzip.compress(TEXT)[:-9], "its gzip data end early: get the whole file"),
        "its header alone": (b"\x1f\x8b\x08", "its gzip data end early: get the whole file"),
        "gzip that is broken": (
            gzip.compress(TEXT)[:-8] + b"12345678",
            "its gzip data are broken: get the file again",
        ),
        "zstd that ends early": (zstd(TEXT)[:-3], "its zstd data end early: get the whole file"),
    },
)
def test_compressed_data_that_are_not_whole(data: bytes, message: str) -> None:
    for step in (1, 1 << 20):
        with refused(BadInput, f"f: {message}"):
            decoded(data, step)


def test_text_that_unpacks_without_an_end_is_refused() -> None:
    with refused(BadInput, "f: has more than 1 MB of text"):
        decode("f", gzip.compress(b" " * 20_000_000), 1_000_000)


def test_zstd_without_its_library_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatpipe.inputs.decompress._module", lambda name: None)
    with refused(BadInput, "<stdin>: zstd, not UTF-8 text: read it with zstdcat"):
        decode("<stdin>", zstd(TEXT))


# Every input


def sources() -> Sources:
    return Sources(Stdin(-1, False, lambda text: None))


def key_of(path: str) -> str | None:
    way = next(way for way in KEY_WAYS if way.option == "--key-file")
    found = find_key([KeySource(way, path)], {})
    return None if found is None else found.text


INPUTS: dict[str, tuple[Callable[[str], object], str, object]] = {
    "a role option": (lambda path: sources().text(path, "--system-file"), "Hi\n", "Hi"),
    "--request": (
        lambda path: parse_request(sources().read(path, "--request")).value,
        '{"model":"m"}\n',
        {"model": "m"},
    ),
    "--messages": (
        lambda path: [each.value for each in parse_messages(sources().read(path, "--messages"))],
        '{"role":"user"}\n',
        [{"role": "user"}],
    ),
    "--schema, --tool": (
        lambda path: parse_document(sources().read(path, "--schema")).value,
        '{"type":"object"}\n',
        {"type": "object"},
    ),
    "--prices": (
        lambda path: load_prices(path, print)["m"].input,
        '["m"]\ninput = 1\noutput = 2\n',
        1.0,
    ),
    "--key-file": (key_of, "sk-1\n", "sk-1"),
    "--header-file": (header_lines, "A: b\nC: d\n", ["A: b", "C: d"]),
    "operands of text": (
        lambda path: [line.data for line in sources().lines(path, "FILE")],
        "a\nb\n",
        [b"a", b"b"],
    ),
    "operands of JSONL": (
        lambda path: [line.data for line in sources().lines(path, "FILE", InputForm.JSONL)],
        '"a"\n"b"\n',
        [b'"a"', b'"b"'],
    ),
}


@cases(
    "encode, message",
    {
        "as it is": (str.encode, None),
        "a byte order mark": (lambda text: BOM + text.encode(), None),
        "Windows line ends": (lambda text: text.replace("\n", "\r\n").encode(), None),
        "gzip": (lambda text: gzip.compress(text.encode()), None),
        "zstd": (lambda text: zstd(text.encode()), None),
        "UTF-16": (lambda text: text.encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        "binary": (lambda text: b"\0" + text.encode(), "binary data, a NUL at byte 0"),
        "gzip that ends early": (lambda text: gzip.compress(text.encode())[:-4], "gzip data end early"),
    },
)
def test_every_text_is_read_alike(
    tmp_path: Path, encode: Callable[[str], bytes], message: str | None
) -> None:
    for name, (read, text, expected) in INPUTS.items():
        path = tmp_path / "in"
        path.write_bytes(encode(text))
        if message is None:
            assert read(str(path)) == expected, name
            continue
        with pytest.raises((BadInput, NoAccess)) as caught:
            read(str(path))
        place = name if name == "--key-file" else path
        assert str(caught.value).startswith(f"{place}: "), name
        assert message in str(caught.value), name
