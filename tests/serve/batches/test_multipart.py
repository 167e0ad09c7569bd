"""multipart.py: forms in pieces of any size, and what is refused."""

from __future__ import annotations

import pytest

from chatpipe.serve.batches.multipart import FormReader, boundary_of
from chatpipe.system.spool import Room, Spool

PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
END = b"\r\n--b--\r\n"


def read(data: bytes, size: int = 1 << 20, room: int = 1 << 20) -> FormReader:
    shared = Room(room)
    reader = FormReader("b", lambda: Spool(shared), 1 << 20)
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    reader.end()
    return reader


def content(reader: FormReader) -> tuple[str, bytes] | None:
    file = reader.file
    return None if file is None else (file.name, b"".join(file.spool.pieces(0, file.spool.size)))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("data", "fields", "file"),
    [
        (PURPOSE + FILE + b"\r\n{}\n{}\n" + END, {"purpose": b"batch"}, b"{}\n{}\n"),
        (FILE + b"\r\n{}\r\n" + PURPOSE + b"--b--", {"purpose": b"batch"}, b"{}"),
        (FILE + b"Content-Type: application/jsonl\r\n\r\n{}" + END, {}, b"{}"),
        (FILE + b"\r\n" + END, {}, b""),
        (FILE + b"\r\n\r\n--a\r\n\r\n-\r\n--\r\n--" + END, {}, b"\r\n--a\r\n\r\n-\r\n--\r\n--"),
        (
            b"ignored\r\n" + FILE + b"\r\n{}\r\n--b  \r\n" + PURPOSE[5:] + b"--b--ignored",
            {"purpose": b"batch"},
            b"{}",
        ),
    ],
    ids=["usual", "file first", "with a type", "empty file", "like a boundary", "around it"],
)
def test_a_form_is_read_in_pieces_of_any_size(
    data: bytes, fields: dict[str, bytes], file: bytes, size: int
) -> None:
    reader = read(data, size)
    assert reader.fault is None
    assert reader.fields == fields
    assert content(reader) == ("a.jsonl", file)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="file"; filename="a \\"b\\";c.jsonl"', 'a "b";c.jsonl'),
        (b"form-data; filename=a.jsonl; name=file", "a.jsonl"),
        ('form-data; name="file"; filename="ä.jsonl"'.encode(), "ä.jsonl"),
    ],
)
def test_names_of_files(disposition: bytes, name: str) -> None:
    reader = read(b"--b\r\ncontent-disposition: " + disposition + b"\r\n\r\n{}" + END)
    assert content(reader) == (name, b"{}")


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (PURPOSE, 400, "ends before its last boundary"),
        (b"", 400, "ends before its last boundary"),
        (b"no form", 400, "ends before its last boundary"),
        (PURPOSE + FILE, 400, "ends before its last boundary"),
        (b"--bad\r\n\r\n" + END, 400, "not alone on its line"),
        (b"--b\r\n\r\n{}" + END, 400, "has no name"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n{}" + END, 400, "has no name"),
        (b"--b\r\nA: " + b"a" * 20_000, 400, "no end of its headers"),
        (PURPOSE + PURPOSE + b"--b--", 400, "has 'purpose' twice"),
        (FILE + b"\r\n{}\r\n" + FILE + b"\r\n{}" + END, 400, "has 'file' twice"),
        (FILE.replace(b'"file"', b'"data"') + b"\r\n{}" + END, 400, "is 'data', not 'file'"),
        (PURPOSE.replace(b"batch", b"b" * 70_000) + b"--b--", 400, "longer than 65536 bytes"),
        (b"".join(PURPOSE.replace(b"purpose", b"p%d" % n) for n in range(101)), 400, "more than 100 parts"),
        (FILE + b"\r\n" + b"a" * 2_000_000 + END, 413, "at most 1048576 bytes of files"),
    ],
)
@pytest.mark.parametrize("size", [1000, 1 << 22])
def test_what_is_no_form(data: bytes, status: int, words: str, size: int) -> None:
    reader = read(data, size)
    assert reader.fault is not None
    assert reader.fault.status == status
    assert words in reader.fault.message
    assert reader.file is None


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('Multipart/Form-Data; charset=utf-8; Boundary="a b;c"; x=1', "a b;c"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=" + "a" * 71, None),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: str | None) -> None:
    assert boundary_of(content_type) == boundary
