"""Rules about the parts of messages: images, audio clips and documents."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.inputs.data_url import find_fault, is_data_url
from chatpipe.inputs.values import as_object
from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, parts, string_or_none

_MESSAGES = ("messages",)
_ROLES_OF_PART = {
    "image_url": ("user",),
    "input_audio": ("user",),
    "file": ("user",),
    "refusal": ("assistant",),
}
_MAX_INLINE_BYTES = 50_000_000


def _part_of_another_role(body: Object) -> Iterator[Breach]:
    for pointer, role, part in parts(body):
        kind = string_or_none(part.get("type"))
        roles = _ROLES_OF_PART.get(kind) if kind else None
        if roles and role not in roles:
            yield Breach(
                pointer, f"is a part of type '{kind}', which OpenAI takes in {roles[0]} messages only"
            )


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


def _empty_file(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        file = part.get("file") if part.get("type") == "file" else None
        if isinstance(file, dict) and not (file.get("file_id") or file.get("file_data")):
            yield Breach(pointer + "/file", "names no file")


def _audio_input_format(body: Object) -> Iterator[Breach]:
    for pointer, _, part in parts(body):
        encoding = as_object(part.get("input_audio")).get("format")
        if isinstance(encoding, str) and encoding not in ("wav", "mp3"):
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
            yield Breach(pointer, f"brings what is inside the request to {size}, and OpenAI takes 50 MB")
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
    Rule("part-of-another-role", "warning", _MESSAGES, _part_of_another_role, OTHER_SERVER),
    Rule("image-not-base64", "warning", _MESSAGES, _image_not_base64, "write data:image/png;base64,..."),
    Rule("bad-data-url", "warning", _MESSAGES, _bad_data_url, ""),
    Rule("audio-as-url", "warning", _MESSAGES, _audio_as_url, "leave out what stands before it"),
    Rule("empty-file", "warning", _MESSAGES, _empty_file, "give it a file_id, or a filename and file_data"),
    Rule("audio-input-format", "warning", _MESSAGES, _audio_input_format, OTHER_SERVER),
    Rule("too-much-inside", "warning", _MESSAGES, _too_much_inside, OTHER_SERVER),
)  # fmt: skip
