"""A data: URL (RFC 2397) -> why no server takes it: not base64, broken, without a type, or of another type.

APIs take `data:TYPE;base64,DATA` alone, and servers refuse anything else in words of their own, if at all.
"""

from __future__ import annotations

import binascii
import re

from chatpipe.named_tuple import NamedTuple

# The image types that vision models accept. Source: the provider's vision guide, 2026.
IMAGES = "PNG, JPEG, GIF or WebP"
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_PDF = "application/pdf"
_ALIASES = {"image/jpg": "image/jpeg"}
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
_START = 4096  # characters of base64, a multiple of four


class UrlFault(NamedTuple):
    """A fault of a URL, as in `the data: URL WHAT`, and the advice."""

    what: str
    fix: str


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def find_fault(url: str, *, is_image: bool, is_whole: bool = True) -> UrlFault | None:
    """The first fault of a data: URL. Without is_whole only the start and the length of its data count.

    A type that is not one of those that are recognised by their first bytes passes with any data.
    """
    head, _, data = url.partition(",")
    media_type, *parameters = head[len("data:") :].lower().split(";")
    example = "data:image/png;base64,..." if is_image else f"data:{_PDF};base64,..."
    if not data:
        return UrlFault("is empty", "check that no variable in it is empty")
    if "base64" not in parameters:
        return UrlFault("is not base64", f"write {example}")
    if _TYPE.fullmatch(media_type) is None:
        return UrlFault("names no type", f"write {example}")
    if is_image and not media_type.startswith("image/"):
        return UrlFault(f"is {media_type}, not an image", f"write {example}")
    try:
        start = _decoded(data, is_whole=is_whole)
    except ValueError:
        if re.search(r"\s", data):
            return UrlFault("has white space in its base64", r"join its lines, for example with tr -d '\n'")
        return UrlFault("is broken base64", "is it cut off?" if _is_cut(data) else "")
    return _fault_of_type(media_type, start)


def recognise(data: bytes) -> str | None:
    """The media type of an image or a PDF by its first bytes; None if it is something else."""
    return _PDF if data.startswith(b"%PDF-") else image_type(data)


def image_type(data: bytes) -> str | None:
    """The media type of an image by its first bytes; None if it is unknown."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def _fault_of_type(media_type: str, data: bytes) -> UrlFault | None:
    said, found = _ALIASES.get(media_type, media_type), recognise(data)
    if said == found or not (found or said in (_PDF, *_IMAGE_TYPES)):
        return None
    what = f"says {media_type}, and its data is {found or 'something else'}"
    return UrlFault(what, f"write data:{found};base64,..." if found else "")


def _decoded(data: str, *, is_whole: bool) -> bytes:
    """The bytes, or the first of them. Raises ValueError for broken base64."""
    if not is_whole and len(data) > _START:
        if len(data) % 4:
            raise ValueError
        data = data[:_START]
    return binascii.a2b_base64(data, strict_mode=True)


def _is_cut(data: str) -> bool:
    """True if the data is base64 as far as it goes."""
    return len(data) % 4 != 0 and re.fullmatch("[A-Za-z0-9+/]+", data) is not None
