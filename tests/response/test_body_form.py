"""The form of a body, from as few bytes as possible."""

from __future__ import annotations

import pytest

from chatpipe.response.body_form import BodyForm, FormDetector
from parametrize import cases

CHUNK = b'{"choices":[{"delta":{"content":"a"}}]}'
MARK = b"\xef\xbb\xbf"


@cases(
    ("body", "form", "needed"),
    {
        "data": (b"data: a", "stream", 5),
        "a comment": (b"\n: a", "stream", 2),
        "the field error": (b"error: a", "stream", 6),
        "behind a byte order mark": (b" " + MARK + b"\r\ndata: a", "stream", 11),
        "a chunk a line": (CHUNK + b"\n" + CHUNK, "stream", len(CHUNK) + 1),
        "a chunk": (CHUNK, "stream", None),
        "a chunk without choices": (b'{"object":"chat.completion.chunk","choices":[]}\n', "stream", 48),
        "a completion": (b'{"choices":[{"message":{"content":"\\"delta\\""}}]}', "piece", None),
        "a completion in lines": (b'{\n"choices": []}', "piece", 2),
        "an error in the form of a chunk": (
            b'{"object":"chat.completion.chunk","error":{"code":1}}\n',
            "piece",
            54,
        ),
        "an array": (b"[{}]", "piece", 1),
        "a page": (b"<html>\ndata: a", "piece", 1),
        "nothing": (b"", "piece", None),
        "white space": (b" \n" * 9, "piece", None),
        "a cut field": (b"dat", "piece", None),
        "a cut mark": (MARK[:2], "piece", None),
    },
)
@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_has_a_form(body: bytes, form: str, needed: int | None, is_declared: bool) -> None:
    detector = FormDetector(is_declared=is_declared)
    read = next((at + 1 for at in range(len(body)) if detector.feed(body[at : at + 1])), None)
    assert (detector.end(), read) == (BodyForm(form), needed)


@cases(
    ("body", "declared", "plain"),
    {
        "an unknown field": (b"foo: a\n\ndata: b\n", "stream", "piece"),
        "text": (b"Sorry\n", "piece", "piece"),
        "many marks": (MARK * 2000, "piece", "piece"),
    },
)
def test_the_content_type_decides_what_the_body_leaves_open(body: bytes, declared: str, plain: str) -> None:
    for is_declared, form in ((True, declared), (False, plain)):
        detector = FormDetector(is_declared=is_declared)
        detector.feed(body)
        assert detector.end() is BodyForm(form)


@pytest.mark.timeout(60)
@cases("piece", {"white space": b" ", "an object": b"{", "text": b"x", "lines of text": b"x\n"})
def test_time_is_linear_in_the_bytes(piece: bytes) -> None:
    """A quadratic reader takes minutes for this."""
    detector = FormDetector(is_declared=True)
    for _ in range(200_000):
        if detector.feed(piece) is not None:
            break
