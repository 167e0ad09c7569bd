"""Data that an option of media refuses -> the option that takes it, or the command that converts it."""

from __future__ import annotations

from chatpipe.inputs.data_url import image_type
from chatpipe.inputs.place import Source
from chatpipe.inputs.stdin import STDIN_NAME
from chatpipe.inputs.text_decoder import quoted

_IMAGE = "magick FILE png:- | chatpipe ask --image -"
_SOUND = "ffmpeg -i FILE -f mp3 - | chatpipe ask --audio-file -"
# The first bytes: BMP, TIFF, an icon, JPEG XL; FLAC, Ogg, AIFF, AAC, AMR, Matroska and WebM.
_IMAGES = (b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0", b"\xff\x0a", b"\0\0\0\x0cJXL ")
_SOUNDS = (b"fLaC", b"OggS", b"FORM", b"\xff\xf1", b"\xff\xf9", b"#!AMR", b"\x1aE\xdf\xa3")
_DOCUMENTS = (b"%PDF-", b"PK\x03\x04")
# In files of the form of MPEG-4 the brand behind `ftyp` says what they are. Most are a sound or a film.
_IMAGE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_SVG_BYTES = 1000  # in which the element svg begins


def sound_format(data: bytes) -> str | None:
    """`wav` or `mp3`, the only two that the API names for input; None for any other data."""
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return "wav"
    # An ID3 tag, or the eleven sync bits of an MPEG frame of layer III.
    if data.startswith(b"ID3") or (data[:1] == b"\xff" and data[1:2] and data[1] & 0xE6 == 0xE2):
        return "mp3"
    return None


def is_text(data: bytes) -> bool:
    """Return True for UTF-8 without NUL, which is valid UTF-8 but occurs only in binary data."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def other_way(source: Source) -> str:
    """The remedy for data that an option refuses; empty for data of an unknown kind."""
    data = source.data
    if image_type(data) is not None:
        return _option("--image", source)
    if sound_format(data) is not None:
        return _option("--audio-file", source)
    if _is_svg(data):
        return _command(_IMAGE, source)
    if data.startswith(_DOCUMENTS) or is_text(data):
        return _option("--file", source)
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if data.startswith(_IMAGES) or brand in _IMAGE_BRANDS:
        return _command(_IMAGE, source)
    return _command(_SOUND, source) if data.startswith(_SOUNDS) or brand else ""


def _is_svg(data: bytes) -> bool:
    return data.lstrip().startswith(b"<") and b"<svg" in data[:_SVG_BYTES]


def _option(option: str, source: Source) -> str:
    return f"send it with {option} {'-' if source.name == STDIN_NAME else quoted(source.name)}"


def _command(command: str, source: Source) -> str:
    if source.name == STDIN_NAME:
        return f"convert it: {command.replace('FILE', '-')}"
    return f"convert it: {command.replace('FILE', quoted(source.name))}"
