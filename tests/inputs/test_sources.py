"""Named inputs: lines, text, owners of stdin, and files that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.errors import BadInput, MissingInput, Status, UsageFault
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import SizeLimit, Sources, stdin_owner
from chatpipe.inputs.stdin import Stdin
from chatpipe.inputs.text_decoder import source_text
from support.parametrize import cases
from support.pipes import filled
from support.refusals import refused


def nothing_said(text: str) -> None:
    raise AssertionError(f"said: {text}")


def sources(descriptor: int = -1) -> Sources:
    return Sources(Stdin(descriptor, descriptor >= 0, nothing_said))


def piped(data: bytes) -> Sources:
    """Sources whose stdin is a pipe that holds these bytes (64 KiB at most)."""
    return sources(filled(data))


LINES = [
    pytest.param(b"", [], id="empty"),
    pytest.param(b"a\nb\n", [(1, b"a"), (2, b"b")], id="two lines"),
    pytest.param(b"a\nb", [(1, b"a"), (2, b"b")], id="no final newline"),
    pytest.param(b"\n", [(1, b"")], id="one blank line"),
    pytest.param(b"\n\na\n", [(1, b""), (2, b""), (3, b"a")], id="blank lines are counted"),
    pytest.param(b"a\r\nb\r\n", [(1, b"a"), (2, b"b")], id="CRLF"),
    pytest.param(b"a\rb\n", [(1, b"a\rb")], id="a CR alone ends nothing"),
    pytest.param(b"a\r\r\n", [(1, b"a\r")], id="one CR of two belongs to the line end"),
    pytest.param(
        "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\n".encode(),
        [(1, "a\u2028b\u2029c\u0085d\x0b\x0c\x1c".encode())],
        id="nor does U+2028 or any other",
    ),
    pytest.param(b"a\nb\0\n", [(1, b"a"), (2, b"b\0")], id="NUL is for the reader of the line"),
    pytest.param(b"\xff\n\xfe", [(1, b"\xff"), (2, b"\xfe")], id="invalid UTF-8, too"),
    pytest.param(b"\xef\xbb\xbfa\n", [(1, b"a")], id="byte order mark"),
    pytest.param(
        b"x" * 65535 + b"\r\n" + b"y" * 70000 + b"\nz",
        [(1, b"x" * 65535), (2, b"y" * 70000), (3, b"z")],
        id="lines across blocks, CR and LF in two of them",
    ),
    pytest.param(b"x" * 200_000, [(1, b"x" * 200_000)], id="one line of several blocks"),
    pytest.param(b"x" * 65535 + b"\n", [(1, b"x" * 65535)], id="a block, exactly"),
]


@pytest.mark.parametrize(("data", "lines"), LINES)
def test_lines_of_a_file(tmp_path: Path, data: bytes, lines: list[tuple[int, bytes]]) -> None:
    name = str(tmp_path / "f")
    Path(name).write_bytes(data)
    read = sources()
    assert [(each.name, each.line, each.data) for each in read.lines(name, "FILE")] == [
        (name, *line) for line in lines
    ]
    assert read.names == [name]


@pytest.mark.parametrize(("data", "lines"), [case for case in LINES if len(case.values[0]) < 60_000])  # type: ignore[arg-type]
def test_lines_of_stdin(data: bytes, lines: list[tuple[int, bytes]]) -> None:
    read = piped(data)
    assert [(each.line, each.data) for each in read.lines("-", "FILE")] == lines
    assert read.names == []


def test_line_ends_are_kept_beside_the_lines() -> None:
    assert [each.end for each in piped(b"a\nb\r\nc").lines("-", "FILE")] == [b"\n", b"\r\n", b""]


@given(st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))))
def test_lines_are_those_between_newlines(lines: list[bytes]) -> None:
    """Behind the first one, which shows that the input is text."""
    data = b"".join(line + b"\n" for line in [b"text", *lines])
    assert [source.data for source in piped(data).lines("-", "FILE")] == [b"text", *lines]


def test_lines_come_one_at_a_time() -> None:
    """A producer that goes on for ever is followed as it writes."""
    reader, writer = os.pipe()
    lines = sources(reader).lines("-", "FILE")
    os.write(writer, b"a\nb")
    assert next(lines).data == b"a"
    os.write(writer, b"c\n")
    assert next(lines).data == b"bc"
    os.close(writer)
    assert list(lines) == []


def test_attachments_are_read_byte_by_byte(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + bytes(range(256)) * 300
    path = tmp_path / "f"
    path.write_bytes(data)
    assert sources().read_raw(FIVE, str(path), "--file") == Source(str(path), data, 1)
    assert piped(b"\0\xff\r\n").read_raw(FIVE, "-", "--file") == Source("<stdin>", b"\0\xff\r\n", 1)


def test_names_are_kept_as_typed_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a"):
        Path(name).write_text("1")
    read = sources()
    read.read("./b", "--request")
    read.text("a", "--user-file")
    list(read.lines("../" + tmp_path.name + "/b", "FILE"))
    assert read.names == ["./b", "a", f"../{tmp_path.name}/b"]


@cases(
    ("name", "why"),
    {
        "missing": ("missing", "no such file or directory"),
        "no name": ("", "no such file or directory"),
        "a directory": (".", "is a directory"),
        "a NUL in the name": ("a\0b", "NUL byte in its name"),
        "a name too long": ("x" * 300, "file name too long"),
    },
)
@pytest.mark.parametrize("way", ["read", "text", "lines"])
def test_file_that_cannot_be_read_is_66_and_named(name: str, why: str, way: str) -> None:
    read = sources()
    with refused(MissingInput, f"--messages: cannot read '{name}': {why}", status=Status.NO_INPUT):
        list(getattr(read, way)(name, "--messages"))
    assert read.names == []


@cases(
    ("option", "name", "line"),
    {
        "schema": (
            "--schema",
            '{"a":1}',
            """cannot read '{"a":1}': no such file or directory: give JSON itself by --schema-json""",
        ),
        "tool": (
            "--tool",
            ' {"name":"f"}',
            """cannot read ' {"name":"f"}': no such file or directory: pipe JSON in, with '-' for the file""",
        ),
        "a long array": (
            "--messages",
            f'["{"x" * 300}"]',
            f"""cannot read '["{"x" * 58}...': file name too long: pipe JSON in, with '-' for the file""",
        ),
    },
)
def test_json_in_place_of_a_file_is_told(option: str, name: str, line: str) -> None:
    with refused(MissingInput, f"{option}: {line}"):
        sources().read(name, option)


@pytest.mark.parametrize("way", ["read", "text", "lines"])
def test_stdin_that_is_closed_is_66(way: str) -> None:
    with pytest.raises(MissingInput, match="stdin is closed"):
        list(getattr(sources(), way)("-", "--messages"))


@cases(
    ("data", "text"),
    {
        "nothing": (b"", ""),
        "no newline": (b"a", "a"),
        "one newline": (b"a\n", "a"),
        "one of two newlines": (b"a\n\n", "a\n"),
        "CRLF": (b"a\r\n", "a"),
        "a CR alone stays": (b"a\r", "a\r"),
        "a newline alone": (b"\n", ""),
        "blanks stay": (b" a \n", " a "),
        "not ASCII": ("ä\u2028".encode(), "ä\u2028"),
        "inner CRLF stay": (b"a\r\nb\r\n", "a\r\nb"),
    },
)
def test_one_final_newline_is_removed(data: bytes, text: str) -> None:
    assert source_text(Source("f", data)) == text


CONVERT = "is not UTF-8: convert it first, for example with iconv -f {} -t UTF-8 f"


@cases(
    ("data", "line"),
    {
        "byte": (b"a\nb\xff\n", f"f:2: byte 0xff {CONVERT.format('WINDOWS-1252')}"),
        "cut": (b"\xc3", f"f:1: byte 0xc3 {CONVERT.format('WINDOWS-1252')}"),
        "no character of Windows": (b"\xff\x90", f"f:1: byte 0xff {CONVERT.format('ISO-8859-1')}"),
        "NUL": (b"a\0", "f: binary data, a NUL at byte 1: give text in UTF-8"),
    },
)
def test_bytes_that_are_not_text_are_65(data: bytes, line: str) -> None:
    with refused(BadInput, line, status=Status.BAD_INPUT):
        source_text(Source("f", data))


@cases(
    ("claims", "owner"),
    {
        "nobody": ([], None),
        "files only": ([("--request", "f"), ("--messages", "")], None),
        "one": ([("--request", "f"), ("--messages", "-")], "--messages"),
        "a file named -": ([("--request", "./-")], None),
        "a device": ([("--request", "/dev/null")], None),
        "no descriptor": ([("--request", "/proc/self/fd/987")], None),
        "a NUL": ([("--request", "/dev/\0")], None),
    },
)
def test_owner_of_stdin(claims: list[tuple[str, str]], owner: str | None) -> None:
    assert stdin_owner(claims) == owner


def test_two_owners_of_stdin_are_2() -> None:
    with refused(
        UsageFault,
        "--request and --user-file both read stdin: give one of them a file",
        status=Status.USAGE,
    ):
        stdin_owner([("--request", "-"), ("--image", "x"), ("--user-file", "-")])


# Limits

FIVE = SizeLimit(5_000_000, "send less")


@pytest.mark.parametrize("size", [0, 1, 4_999_999, 5_000_000])
def test_a_file_within_the_limit_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    found = sources()
    assert found.read_raw(FIVE, str(path), "--file") == Source(str(path), b"x" * size)
    assert found.names == [str(path)]


def test_one_byte_above_the_limit_is_65(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5_000_001)
    with refused(BadInput, f"--file: '{path}' has 5.0 MB, more than the limit of 5 MB: send less"):
        sources().read_raw(FIVE, str(path), "--file")


def test_stdin_has_the_limit_too() -> None:
    assert piped(b"x" * 9).read_raw(SizeLimit(9, ""), "-", "--file") == Source("<stdin>", b"x" * 9)
    with refused(BadInput, "--file: '<stdin>' has more than 0 MB: send less"):
        piped(b"x" * 10).read_raw(SizeLimit(9, "send less"), "-", "--file")


def test_no_file_within_a_limit_is_66() -> None:
    with refused(MissingInput, "--file: cannot read '/none': no such file or directory"):
        sources().read_raw(FIVE, "/none", "--file")
