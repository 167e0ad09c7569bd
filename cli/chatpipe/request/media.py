"""Images, audio and documents -> content parts of a user message.

The content decides the type, never the name: `photo.png` may hold a JPEG. URLs are passed on
unchanged; nothing is ever fetched. A data: URL has to be one that servers take.

A file of more than 100 MB is refused before it is read. No server is known to accept more inside a
request (Gemini 100 MB; OpenAI 50 MB of images or files, its vision and file input guides, 2026), and
an endless device must not exhaust the memory. A limit of one provider alone is a warning of the check
(schema/part_rules.py), because the user's own server may accept more.
"""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from chatpipe.errors import BadInput, UsageFault
from chatpipe.inputs.data_url import IMAGES, UrlFault, find_fault, image_type, is_data_url, recognise
from chatpipe.inputs.place import Source
from chatpipe.inputs.sources import SizeLimit, Sources
from chatpipe.inputs.stdin import STDIN_NAME
from chatpipe.inputs.values import Value
from chatpipe.options.prompt import Attachment, utf8_argument
from chatpipe.request import media_ways

_URLS = ("http://", "https://", "data:")
_TEXT = "text/plain"
MAX_BYTES = 100_000_000
_LIMITS = {
    "image": SizeLimit(MAX_BYTES, "make it smaller, or give its URL"),
    "audio": SizeLimit(MAX_BYTES, "cut it, or make an MP3 of it"),
    "file": SizeLimit(MAX_BYTES, "split it, or upload it and give its --file-id"),
}


def content_part(attachment: Attachment, detail: str | None, sources: Sources) -> dict[str, Value]:
    """The content part. detail is for images only. Raises MissingInput, BadInput, UsageFault."""
    if attachment.kind == "image":
        image = {"url": _image_url(attachment, sources)}
        if detail is not None:
            image["detail"] = detail
        return {"type": "image_url", "image_url": image}
    if attachment.kind == "file-id":
        return {"type": "file", "file": {"file_id": utf8_argument(attachment.value, attachment.option)}}
    if attachment.kind == "audio":
        source = _audio_source(attachment, sources)
        audio = {"data": base64.b64encode(source.data).decode(), "format": _audio_format(source, attachment)}
        return {"type": "input_audio", "input_audio": audio}
    return _document_part(attachment, sources)


def is_url(value: str) -> bool:
    """True if the value of an option is a URL; otherwise it is a path. The case of the scheme is ignored."""
    return value[:8].lower().startswith(_URLS)


def _audio_source(attachment: Attachment, sources: Sources) -> Source:
    """Read audio. The API accepts data only. Raises UsageFault for any URL but a data: URL."""
    if not is_url(attachment.value):
        return _read(attachment, sources)
    if not is_data_url(attachment.value):
        raise UsageFault(
            "the API takes no URL of a recording",
            place=attachment.option,
            fix="pipe it in, as in 'curl -sSfL URL | chatpipe ask --audio-file -'",
        )
    return Source("data: URL", _decode_data_url(attachment))


def _decode_data_url(attachment: Attachment) -> bytes:
    """The bytes that a data: URL holds (RFC 2397). Raises BadInput."""
    head, comma, data = attachment.value.partition(",")
    if not (comma and data):
        raise BadInput("the data: URL is empty", place=attachment.option)
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(unquote(data), validate=True)
    except ValueError as error:
        raise BadInput("the data: URL is not base64", place=attachment.option) from error


def _document_part(attachment: Attachment, sources: Sources) -> dict[str, Value]:
    """The part of a document: a text part for text, because every server takes one, else a file part.

    A URL in place of the data is an extension of OpenRouter (2026); other servers report an error.
    """
    if is_url(attachment.value):
        url = _passed_on(attachment)
        return _file_part(_file_name(url), url)
    source = _read(attachment, sources)
    name = "stdin" if source.name == STDIN_NAME else _base_name(attachment.value)
    media_type = _document_type(source, attachment)
    if media_type == _TEXT and not attachment.as_file:
        return {"type": "text", "text": f"{name}:\n{source.data.decode()}"}
    return _file_part(name, _data_url(media_type, source.data))


def _file_part(name: str, data: str) -> dict[str, Value]:
    return {"type": "file", "file": {"filename": name, "file_data": data}}


def _base_name(path: str) -> str:
    """The last part of a path, which any bytes may be in, as text."""
    return os.fsencode(path.rpartition("/")[2]).decode("utf-8", "replace")


def _file_name(url: str) -> str:
    """The file name in a URL; `document` for data: URLs and URLs that end in a slash."""
    path = "" if is_data_url(url) else _url_path(url)
    return unquote(path.rpartition("/")[2]) or "document"


def _passed_on(attachment: Attachment) -> str:
    """The URL of an attachment. Raises UsageFault for one that no server can fetch, BadInput for its data."""
    url = utf8_argument(attachment.value, attachment.option)
    if (fault := url_fault(url, is_image=attachment.kind == "image")) is not None:
        error = BadInput if is_data_url(url) else UsageFault
        raise error(fault.what, place=attachment.option, fix=fault.fix)
    return url


def url_fault(url: str, *, is_image: bool) -> UrlFault | None:
    """The reason why no server can fetch a URL, or takes a data: URL."""
    if is_data_url(url):
        fault = find_fault(url, is_image=is_image)
        return fault and UrlFault(f"the data: URL {fault.what}", fault.fix)
    host = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]
    if not host:
        return UrlFault(f"'{url}' names no host", "check that no variable in it is empty")
    return UrlFault(f"'{url}' has a space", "write %20 instead") if len(url.split()) > 1 else None


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # such as an unclosed bracket: the server judges it
        return ""


def _image_url(attachment: Attachment, sources: Sources) -> str:
    if is_url(attachment.value):
        return _passed_on(attachment)
    source = _read(attachment, sources)
    if image_type(source.data) is None:
        raise _wrong_kind(f"a {IMAGES} image", source, attachment)
    return image_data_url(source.data, source.name)


def image_data_url(data: bytes, name: str) -> str:
    """The data: URL of an image. Raises BadInput for data that is not an image."""
    media_type = image_type(data)
    if media_type is None:
        raise BadInput(f"'{name}' is not a {IMAGES} image")
    return _data_url(media_type, data)


def _wrong_kind(wanted: str, source: Source, attachment: Attachment) -> BadInput:
    fix = "" if is_url(attachment.value) else media_ways.other_way(source)
    return BadInput(f"'{source.name}' is not {wanted}", place=attachment.option, fix=fix)


def _read(attachment: Attachment, sources: Sources) -> Source:
    source = sources.read_raw(_LIMITS[attachment.kind], attachment.value, attachment.option)
    if not source.data:
        raise BadInput(f"'{source.name}' is empty", place=attachment.option)
    return source


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _audio_format(source: Source, attachment: Attachment) -> str:
    found = media_ways.sound_format(source.data)
    if found is None:
        raise _wrong_kind("a WAV or MP3 file", source, attachment)
    return found


def _document_type(source: Source, attachment: Attachment) -> str:
    data = source.data
    if (media_type := recognise(data)) is not None:
        return media_type
    if data.startswith(b"PK\x03\x04"):
        return "application/zip" if b"[Content_Types].xml" not in data else _office_type(data)
    if not media_ways.is_text(data):
        what = f"'{source.name}' is of no known type: not PDF, an image, an office document or UTF-8 text"
        raise BadInput(what, place=attachment.option, fix=_conversion(source, attachment.option))
    return _TEXT


def _conversion(source: Source, option: str) -> str:
    """The remedy for text that is compressed or in another encoding, for sounds and other images, or ""."""
    from chatpipe.inputs.text_decoder import conversion  # for errors only

    command = conversion(source.data, source.name)
    if not command:
        return media_ways.other_way(source)
    if source.name == STDIN_NAME:
        return f"read it with {command} in front of the pipe"
    return f"send it with {command} | chatpipe ask {option} -"


def _office_type(data: bytes) -> str:
    """The type of an Office Open XML package, by the folder of its main part (ECMA-376)."""
    base = "application/vnd.openxmlformats-officedocument."
    if b"word/" in data:
        return base + "wordprocessingml.document"
    if b"xl/" in data:
        return base + "spreadsheetml.sheet"
    return base + "presentationml.presentation"
