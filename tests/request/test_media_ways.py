"""Data that an option of media refuses: each kind has its way."""

from __future__ import annotations

from chatpipe.inputs.place import Source
from chatpipe.request.media_ways import other_way
from support.parametrize import cases

IMAGE = "convert it: magick a png:- | chatpipe ask --image -"
SOUND = "convert it: ffmpeg -i a -f mp3 - | chatpipe ask --audio-file -"
FILE = "send it with --file a"


@cases(
    ("data", "way"),
    {
        "PNG": (b"\x89PNG\r\n\x1a\n", "send it with --image a"),
        "WAV": (b"RIFF\x10\0\0\0WAVEfmt ", "send it with --audio-file a"),
        "MP3": (b"\xff\xfb\x90\0", "send it with --audio-file a"),
        "BMP": (b"BM\x10\0\0\0", IMAGE),
        "TIFF": (b"II*\0\x08", IMAGE),
        "HEIC": (b"\0\0\0\x18ftypheic", IMAGE),
        "AVIF": (b"\0\0\0\x18ftypavif", IMAGE),
        "JPEG XL": (b"\0\0\0\x0cJXL ", IMAGE),
        "SVG": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", IMAGE),
        "FLAC": (b"fLaC\0", SOUND),
        "Ogg": (b"OggS\0", SOUND),
        "AAC": (b"\xff\xf1\x50\x80", SOUND),
        "M4A": (b"\0\0\0\x18ftypM4A ", SOUND),
        "a film": (b"\0\0\0\x18ftypisom", SOUND),
        "WebM": (b"\x1aE\xdf\xa3\0", SOUND),
        "PDF": (b"%PDF-1.7\n\xff", FILE),
        "a Word document": (b"PK\x03\x04\xff", FILE),
        "a text that begins like BMP": ("BM größer".encode(), FILE),
        "another text": ("größer".encode(), FILE),
        "HTML": (b"<html></html>", FILE),
        "other data": (bytes(range(256)), ""),
        "one byte": (b"\xff", ""),
    },
)
def test_each_kind_has_its_way(data: bytes, way: str) -> None:
    assert other_way(Source("a", data)) == way


@cases(
    ("name", "data", "way"),
    {
        "a space": ("my a", b"BM\0", "convert it: magick 'my a' png:- | chatpipe ask --image -"),
        "a dash": ("-a", b"%PDF-", "send it with --file ./-a"),
        "standard input": ("<stdin>", b"%PDF-", "send it with --file -"),
        "a pipe": ("<stdin>", b"BM\0", "convert it: magick - png:- | chatpipe ask --image -"),
    },
)
def test_the_way_has_the_name_as_it_is_typed(name: str, data: bytes, way: str) -> None:
    assert other_way(Source(name, data)) == way
