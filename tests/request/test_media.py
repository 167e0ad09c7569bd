"""Images, sounds and documents -> content parts, told by their bytes."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadInput, MissingInput, UsageFault
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.options.prompt import Attachment, MediaKind
from chatpipe.request import media
from support.parametrize import cases
from support.pipes import filled
from support.refusals import refused

PNG = b"\x89PNG\r\n\x1a\n rest"
OPTIONS: dict[MediaKind, str] = {
    "image": "--image",
    "audio": "--audio-file",
    "file": "--file",
    "file-id": "--file-id",
}


def part(kind: MediaKind, value: str, detail: str | None = None, stdin: int = -1) -> dict[str, Any]:
    return media.content_part(
        Attachment(kind, value, OPTIONS[kind]), detail, Sources(Stdin(stdin, stdin >= 0, print))
    )


@pytest.fixture
def file(folder: Path) -> Callable[[bytes], str]:
    """Writes a file that is called "some name.bin"."""

    def write(data: bytes) -> str:
        path = folder / "some name.bin"
        path.write_bytes(data)
        return str(path)

    return write


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://example.com/a.png?b=c#d",
        "HTTPS://EXAMPLE.COM/A",
        "data:image/png;base64,iVBORw0KGgo=",
        "Data:image/avif;charset=x;BASE64,AAAA",
        "data:image/jpg;base64,/9j/",
    ],
)
def test_url_of_an_image_is_handed_on(url: str) -> None:
    assert part("image", url) == {"type": "image_url", "image_url": {"url": url}}
    assert part("image", url, "low") == {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("ftp://a/b.png", "URLs are not fetched: save it in a file first"),
        ("file:///a.png", "write /a.png"),
        *(("http:a.png", ""), ("https:/a", ""), ("data", "")),
    ],
)
def test_anything_else_is_a_path(name: str, fix: str) -> None:
    with refused(MissingInput, what=f"cannot read '{name}': no such file or directory", fix=fix):
        part("image", name)


@cases(
    ("data", "media_type"),
    {
        "PNG": (PNG, "image/png"),
        "JPEG": (b"\xff\xd8\xff\xe0 rest", "image/jpeg"),
        "GIF 87": (b"GIF87a rest", "image/gif"),
        "GIF 89": (b"GIF89a rest", "image/gif"),
        "WebP": (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
    },
)
def test_an_image_is_recognised_by_its_bytes(
    file: Callable[[bytes], str], data: bytes, media_type: str
) -> None:
    url = f"data:{media_type};base64,{coded(data)}"
    assert part("image", file(data)) == {"type": "image_url", "image_url": {"url": url}}


@cases(
    "data",
    {
        "PDF": b"%PDF-1.7",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "BMP": b"BM rest",
        "WAV": b"RIFF\x10\0\0\0WAVEfmt ",
        "a PNG that went through a text filter": b"\x89PNG\n\x1a\n",
        "no GIF": b"GIF88a",
        "two bytes": b"\xff\xd8",
    },
)
def test_another_file_is_no_image(file: Callable[[bytes], str], data: bytes) -> None:
    path = file(data)
    with refused(BadInput, place="--image", what=f"'{path}' is not a PNG, JPEG, GIF or WebP image"):
        part("image", path)


@cases(
    ("data", "name"),
    {
        "WAV": (b"RIFF\x10\0\0\0WAVEfmt ", "wav"),
        "MP3 with a tag": (b"ID3\x04 rest", "mp3"),
        "MPEG 1 layer III": (b"\xff\xfb\x90\x00", "mp3"),
        "MPEG 2 layer III": (b"\xff\xf3\x90\x00", "mp3"),
        "MPEG 2.5 layer III": (b"\xff\xe3\x90\x00", "mp3"),
    },
)
def test_a_sound_is_recognised_by_its_bytes(file: Callable[[bytes], str], data: bytes, name: str) -> None:
    sound = {"data": coded(data), "format": name}
    assert part("audio", file(data), "low") == {"type": "input_audio", "input_audio": sound}


@cases(
    "data",
    {
        "FLAC": b"fLaC",
        "Ogg": b"OggS",
        "JPEG": b"\xff\xd8\xff\xe0",
        "AAC": b"\xff\xf9\x50",
        "one byte": b"\xff",
        "WebP": b"RIFF\x10\0\0\0WEBP",
        "text": b"text",
    },
)
def test_another_file_is_no_sound(file: Callable[[bytes], str], data: bytes) -> None:
    path = file(data)
    with refused(BadInput, place="--audio-file", what=f"'{path}' is not a WAV or MP3 file"):
        part("audio", path)


ZIP = b"PK\x03\x04[Content_Types].xml"
OFFICE = "application/vnd.openxmlformats-officedocument."


@cases(
    ("data", "media_type"),
    {
        "PDF": (b"%PDF-1.7 \xff", "application/pdf"),
        "image": (PNG, "image/png"),
        "zip": (b"PK\x03\x04 a.txt", "application/zip"),
        "docx": (ZIP + b" word/document.xml", OFFICE + "wordprocessingml.document"),
        "xlsx": (ZIP + b" xl/workbook.xml", OFFICE + "spreadsheetml.sheet"),
        "pptx": (ZIP + b" ppt/presentation.xml", OFFICE + "presentationml.presentation"),
    },
)
def test_a_document_has_its_media_type(file: Callable[[bytes], str], data: bytes, media_type: str) -> None:
    document = {"filename": "some name.bin", "file_data": f"data:{media_type};base64,{coded(data)}"}
    assert part("file", file(data)) == {"type": "file", "file": document}


@cases(
    "text",
    {
        "words": "Grüße",
        "line ends and white space, which stay": " a\r\n\n",
        "a byte order mark, which stays": "\ufeffa",
        "what looks like JSON": "{}",
    },
)
def test_a_document_that_is_text_is_a_text_part_under_its_name(
    file: Callable[[bytes], str], text: str
) -> None:
    path = file(text.encode())
    assert part("file", path) == {"type": "text", "text": f"some name.bin:\n{text}"}
    document = {"filename": "some name.bin", "file_data": f"data:text/plain;base64,{coded(text.encode())}"}
    attachment = Attachment("file", path, "--file", as_file=True)
    assert media.content_part(attachment, None, Sources(Stdin(-1, False, print))) == {
        "type": "file",
        "file": document,
    }


@pytest.mark.parametrize("data", [b"\x00\xff\xfe", b"\x00\x01\x02"], ids=["not UTF-8", "NUL"])
def test_a_document_of_no_known_type_is_refused(file: Callable[[bytes], str], data: bytes) -> None:
    path = file(data)
    kinds = "not PDF, an image, an office document or UTF-8 text"
    with refused(BadInput, f"--file: '{path}' is of no known type: {kinds}"):
        part("file", path)


@cases(
    ("data", "command"),
    {
        "Windows": ("\u20ac été".encode("cp1252"), "iconv -f WINDOWS-1252 -t UTF-8"),
        "Latin-1": (b"a\x81 \xe9", "iconv -f ISO-8859-1 -t UTF-8"),
        "like a BMP file": ("BMW für".encode("cp1252"), "iconv -f WINDOWS-1252 -t UTF-8"),
        "UTF-16": ("été".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        "gzip": (b"\x1f\x8b\x08\0", "zcat"),
    },
)
def test_text_of_another_encoding_is_refused_with_what_sends_it(
    file: Callable[[bytes], str], data: bytes, command: str
) -> None:
    path = file(data)
    kinds = "not PDF, an image, an office document or UTF-8 text"
    said = f"'{path}' is of no known type: {kinds}: send it with {command} '{path}' | chatpipe ask --file -"
    with refused(BadInput, f"--file: {said}"):
        part("file", path)
    said = f"'<stdin>' is of no known type: {kinds}: read it with {command} in front of the pipe"
    with refused(BadInput, f"--file: {said}"):
        part("file", "-", stdin=filled(data))


@cases(
    ("url", "what"),
    {
        "nothing behind the scheme": ("http://", "names no host: check that no variable in it is empty"),
        "a path alone": ("https:///a.png", "names no host: check that no variable in it is empty"),
        "a query alone": ("HTTPS://?a", "names no host: check that no variable in it is empty"),
        "a space": ("https://h/a b.png", "has a space: write %20 instead"),
    },
)
@pytest.mark.parametrize("kind", ["image", "file"])
def test_a_url_that_no_server_can_fetch_is_wrong_usage(kind: MediaKind, url: str, what: str) -> None:
    with refused(UsageFault, f"{OPTIONS[kind]}: '{url}' {what}"):
        part(kind, url)


@pytest.mark.parametrize("url", ["http://h", "https://[::1]:8/x?a=b+c"])
def test_other_urls_are_passed_on(url: str) -> None:
    assert part("image", url)["image_url"]["url"] == url


def test_file_id_is_no_file() -> None:
    assert part("file-id", "file-abc") == {"type": "file", "file": {"file_id": "file-abc"}}
    assert part("file-id", "-") == {"type": "file", "file": {"file_id": "-"}}


@pytest.mark.parametrize("kind", ["image", "audio", "file"])
def test_a_folder_and_an_empty_file_are_refused(tmp_path: Path, kind: MediaKind) -> None:
    option = OPTIONS[kind]
    with refused(MissingInput, f"{option}: cannot read '{tmp_path}': is a directory"):
        part(kind, str(tmp_path))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with refused(BadInput, f"{option}: '{empty}' is empty"):
        part(kind, str(empty))


@pytest.mark.parametrize(
    ("kind", "data", "made"),
    [
        ("image", PNG, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded(PNG)}"}}),
        ("audio", b"ID3", {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}}),
        ("file", b"hi", {"type": "text", "text": "stdin:\nhi"}),
    ],
)
def test_media_come_from_stdin_too(kind: MediaKind, data: bytes, made: dict[str, Any]) -> None:
    reader = filled(data)
    assert part(kind, "-", stdin=reader) == made
    os.close(reader)


# What is too large


MOST = "more than the limit of 100 MB"
FIXES: dict[MediaKind, str] = {
    "image": "make it smaller, or give its URL",
    "audio": "cut it, or make an MP3 of it",
    "file": "split it, or upload it and give its --file-id",
}


@pytest.mark.parametrize("kind", FIXES)
def test_file_that_is_too_large_is_not_read(tmp_path: Path, kind: MediaKind) -> None:
    """A terabyte: reading it would not end."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)
    with refused(BadInput, f"{OPTIONS[kind]}: '{path}' has 1,000,000.0 MB, {MOST}: {FIXES[kind]}"):
        part(kind, str(path))


@pytest.mark.parametrize("kind", FIXES)
def test_device_without_an_end_is_read_up_to_the_limit(kind: MediaKind) -> None:
    with refused(BadInput, f"{OPTIONS[kind]}: '/dev/zero' has more than 100 MB: {FIXES[kind]}"):
        part(kind, "/dev/zero")


def test_stdin_without_an_end_is_read_up_to_the_limit() -> None:
    with (
        open("/dev/zero", "rb") as endless,
        refused(BadInput, f"--image: '<stdin>' has more than 100 MB: {FIXES['image']}"),
    ):
        part("image", "-", stdin=endless.fileno())


def test_image_of_what_one_provider_refuses_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(PNG.ljust(60_000_000, b"x"))
    url = part("image", str(path))["image_url"]["url"]
    assert len(url) == len("data:image/png;base64,") + 80_000_000


# URLs of documents and sounds


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/report.pdf", "report.pdf"),
        ("https://example.com/annual%20report.pdf?page=1#x", "annual report.pdf"),
        ("http://example.com/a/", "document"),
        ("https://example.com", "document"),
        ("https://[example.com/a.pdf", "document"),
        ("data:application/pdf;base64,JVBERi0=", "document"),
        ("DATA:text/plain;base64,YQ==", "document"),
    ],
)
def test_url_of_a_document_is_handed_on(url: str, name: str) -> None:
    assert part("file", url) == {"type": "file", "file": {"filename": name, "file_data": url}}


@pytest.mark.parametrize("url", ["https://example.com/a.wav", "HTTP://example.com/a"])
def test_url_of_a_sound_is_2_with_a_way(url: str) -> None:
    with refused(
        UsageFault,
        "--audio-file: the API takes no URL of a recording: pipe it in,"
        " as in 'curl -sSfL URL | chatpipe ask --audio-file -'",
    ):
        part("audio", url)


@pytest.mark.parametrize(
    ("url", "data", "format"),
    [
        ("data:audio/mpeg;base64,SUQz", "SUQz", "mp3"),
        ("DATA:audio/mpeg;BASE64,SUQz", "SUQz", "mp3"),
        ("data:audio/mpeg,ID3%04", "SUQzBA==", "mp3"),
        ("data:audio/mpeg;base64,SUQzBA%3D%3D", "SUQzBA==", "mp3"),
        ("data:audio/wav;base64,UklGRgAAAABXQVZF", "UklGRgAAAABXQVZF", "wav"),
        ("data:audio/mpeg;base64,UklGRgAAAABXQVZF", "UklGRgAAAABXQVZF", "wav"),
    ],
)
def test_a_data_url_of_a_sound_is_decoded(url: str, data: str, format: str) -> None:
    assert part("audio", url) == {"type": "input_audio", "input_audio": {"data": data, "format": format}}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("data:audio/ogg;base64,T2dnUw==", "'data: URL' is not a WAV or MP3 file"),
        ("data:audio/mpeg;base64,SUQ", "the data: URL is not base64"),
        ("data:audio/mpeg;base64,SU!z", "the data: URL is not base64"),
        ("data:audio/mpeg;base64,\u00e4\u00e4\u00e4\u00e4", "the data: URL is not base64"),
        ("data:audio/mpeg;base64,", "the data: URL is empty"),
        ("data:audio/mpeg", "the data: URL is empty"),
        ("data:", "the data: URL is empty"),
    ],
)
def test_data_url_that_is_no_sound(url: str, what: str) -> None:
    with refused(BadInput, f"--audio-file: {what}"):
        part("audio", url)


@cases(
    ("kind", "url", "what"),
    {
        "empty": ("image", "data:image/png;base64,", "is empty: check that no variable in it is empty"),
        "no comma": ("file", "data:", "is empty: check that no variable in it is empty"),
        "not base64": (
            "image",
            "data:image/svg+xml,<svg/>",
            "is not base64: write data:image/png;base64,...",
        ),
        "no type": ("file", "data:;base64,YQ==", "names no type: write data:application/pdf;base64,..."),
        "a type of one word": (
            "image",
            "data:png;base64,YQ==",
            "names no type: write data:image/png;base64,...",
        ),
        "no image": (
            "image",
            "data:text/plain;base64,YQ==",
            "is text/plain, not an image: write data:image/png;base64,...",
        ),
        "another image": (
            "image",
            "data:image/png;base64,/9j/",
            "says image/png, and its data is image/jpeg: write data:image/jpeg;base64,...",
        ),
        "a type that is not there": (
            "image",
            "data:image/webp;base64,YQ==",
            "says image/webp, and its data is",
        ),
        "no PDF": (
            "file",
            "data:application/pdf;base64,YQ==",
            "says application/pdf, and its",
        ),
        "an image as text": (
            "file",
            "data:text/plain;base64,iVBORw0KGgo=",
            "says text/plain, and its data is image/png: write data:image/png;base64,...",
        ),
        "cut off": ("image", "data:image/png;base64,iVBORw0KGgo", "is broken base64: is it cut off?"),
        "other characters": ("image", "data:image/png;base64,iVBORw0KG-o=", "is broken base64"),
        "more behind its end": ("file", "data:a/b;base64,YQ==YQ==", "is broken base64"),
        "several lines": (
            "image",
            "data:image/png;base64,iVBO\nRw0KGgo=",
            r"has white space in its base64: join its lines, for example with tr -d '\n'",
        ),
        "beyond ASCII": ("image", "data:image/png;base64,\u00e4\u00e4\u00e4\u00e4", "is broken base64"),
    },
)
def test_a_data_url_that_no_server_takes_is_refused(kind: MediaKind, url: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        part(kind, url)
    assert str(caught.value).startswith(f"{OPTIONS[kind]}: the data: URL {what}")
