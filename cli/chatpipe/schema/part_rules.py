"""Rules about the parts of messages: images, audio clips and documents."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatpipe.inputs.data_url import find_fault, is_data_url
from chatpipe.inputs.values import as_object
from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, parts, string_or_none

_ROLES_OF_PART = {
    "image_url": ("user",),
    "input_audio": ("user",),
    "file": ("user",),
    "refusal": ("assistant",),
}
_MAX_INLINE_BYTES = 50_000_000
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\s-]+")


def _part_of_another_role(body: Object) -> Iterator[Breach]:
    for pointer, role, part in parts(body):
        kind = string_or_none(part.get("type"))
        roles = _ROLES_OF_PART.get(kind) if kind else None
        if roles and role not in roles:
            yield Breach(
                pointer, f"is a part of type '{kind}', which OpenAI takes in {roles[0]} messages only"
            )


def _image_not_url(body: Object) -> Iterator[Breach]:
    """OpenAI takes http(s): and data: URLs. Others take file: or gs: URLs, base64 alone, or a path."""
    for pointer, _, part in parts(body):
        image = part.get("image_url")
        url = as_object(image).get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url and _scheme(url) not in ("http", "https", "data"):
            place = pointer + ("/image_url/url" if isinstance(image, dict) else "/image_url")
            hint = OTHER_SERVER if "://" in url[:20] else "write https://... or data:image/png;base64,..."
            yield Breach(place, f"is {quote(url)}, and OpenAI takes http(s): and data: URLs only", hint)


def _scheme(url: str) -> str:
    return url[:20].partition(":")[0].lower()


def _image_not_base64(body: Object) -> Iterator[Breach]:
    for pointer, url in _data_urls(body):
        if "image_url" in pointer and _is_not_base64(url):
            yield Breach(pointer, "is a data: URL that is not base64")


def _bad_data_url(body: Object) -> Iterator[Breach]:
    """Only the start of the data is looked at, because a line of a run may have megabytes of it."""
    for pointer, url in _data_urls(body):
        is_image = "image_url" in pointer
        if is_image and _is_not_base64(url):
            continue
        if (fault := find_fault(url, is_image=is_image, is_whole=False)) is not None:
            yield Breach(pointer, f"is a data: URL that {fault.what}", fault.fix)


def _data_urls(body: Object) -> Iterator[tuple[str, str]]:
    """(pointer, URL) of each data: URL of an image or a document."""
    for pointer, _, part in parts(body):
        image, file = part.get("image_url"), part.get("file")
        found = {
            "/image_url": image,
            "/image_url/url": as_object(image).get("url"),
            "/file/file_data": as_object(file).get("file_data"),
        }
        for place, url in found.items():
            if isinstance(url, str) and is_data_url(url):
                yield pointer + place, url


def _is_not_base64(url: str) -> bool:
    return ";base64" not in url[:200].partition(",")[0].lower()


def _audio_as_url(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        data = as_object(part.get("input_audio")).get("data")
        if isinstance(data, str) and is_data_url(data):
            yield Breach(f"{pointer}/input_audio/data", "is a data: URL, and OpenAI takes its base64 alone")


def _other_servers_audio(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        sound = part.get("input_audio")
        if isinstance(sound, str) and sound:
            yield Breach(pointer + "/input_audio", "is a text, which only Mistral is known to take")
        elif isinstance(sound, dict) and "url" in sound:
            yield Breach(pointer + "/input_audio/url", "is a key that only llama.cpp is known to take")


def _not_base64(body: Object) -> Iterator[Breach]:
    """Only the start of the data is looked at."""
    for pointer, _, part in parts(body):
        for kind, key in (("input_audio", "data"), ("file", "file_data")):
            data = as_object(part.get(kind)).get(key)
            if not isinstance(data, str) or is_data_url(data) or _BASE64.fullmatch(data[:200]):
                continue
            place = f"{pointer}/{kind}/{key}"
            is_url = _scheme(data) in ("http", "https")
            if kind == "file" and (is_url or not data):  # OpenRouter takes a URL; the rule empty-file: none
                continue
            if is_url:
                yield Breach(place, "is a URL, and OpenAI takes base64 only", OTHER_SERVER)
            else:
                yield Breach(place, f"is {quote(data)}, not base64" if data else "is empty")


def _empty_file(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        file = part.get("file") if part.get("type") == "file" else None
        if isinstance(file, dict) and not (file.get("file_id") or file.get("file_data")):
            yield Breach(pointer + "/file", "names no file")


def _audio_input_format(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        encoding = as_object(part.get("input_audio")).get("format")
        if isinstance(encoding, str) and encoding not in ("wav", "mp3", ""):
            yield Breach(
                pointer + "/input_audio/format", f"is {quote(encoding)}, and OpenAI takes wav and mp3 only"
            )


def _too_much_inside(body: Object) -> Iterator[Breach]:
    """The limit for inline data is 50 MB in a request.

    Source: OpenAI's guides to vision and to file inputs, 2026.
    """
    total = 0
    for pointer, _, part in parts(body):
        total += _inline_bytes(part)
        if total > _MAX_INLINE_BYTES:
            size = f"{total / 1e6:.1f} MB"
            yield Breach(
                pointer, f"makes the files inside the request {size} together, and OpenAI takes 50 MB"
            )
            return


def _inline_bytes(part: Object) -> int:
    """The size in bytes, as sent, of an image, audio clip or document that is inline in the request."""
    image, sound, file = part.get("image_url"), part.get("input_audio"), part.get("file")
    values = (
        image.get("url") if isinstance(image, dict) else image,
        as_object(sound).get("data"),
        as_object(file).get("file_data"),
    )
    return sum(len(data) for data in values if isinstance(data, str))


PART_RULES = (
    Rule("part-of-another-role", "warning", tuple(_ROLES_OF_PART), _part_of_another_role, OTHER_SERVER),
    Rule("image-not-url", "warning", ("image_url",), _image_not_url, ""),
    Rule("image-not-base64", "warning", ("image_url",), _image_not_base64, "write data:image/png;base64,..."),
    Rule("bad-data-url", "warning", ("image_url", "file"), _bad_data_url, ""),
    Rule("audio-as-url", "warning", ("input_audio",), _audio_as_url, "leave out what comes before it"),
    Rule("other-servers-audio", "warning", ("input_audio",), _other_servers_audio, OTHER_SERVER),
    Rule("not-base64", "warning", ("input_audio", "file"), _not_base64, "encode the file in base64"),
    Rule("empty-file", "warning", ("file",), _empty_file, "give it a file_id, or a filename and file_data"),
    Rule("audio-input-format", "warning", ("input_audio",), _audio_input_format, OTHER_SERVER),
    Rule("too-much-inside", "warning", ("image_url", "input_audio", "file"), _too_much_inside, OTHER_SERVER),
)  # fmt: skip
