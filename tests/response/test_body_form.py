"""The form of a body, from as few bytes as possible."""

from __future__ import annotations

import orjson
import pytest

from chatpipe.response.body_form import (
    BodyForm,
    FormDetector,
    as_event_stream,
    count_answers,
    sole_completion,
    texts_of,
)
from support.parametrize import cases

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


PIECE = b'{ "choices": [{"delta": {"content": "a"}}] }'
EVENT = b"data: " + PIECE + b"\n\n"
TEXT = b'{"choices":[{"index":0,"text":"a"}]}'
WHOLE = b'{"choices":[{"message":{"content":"a"}}]}'
OTHER = b'{"choices":[{"message":{"content":"b"}}]}'
DONE = b"data: [DONE]\n\n"


@cases(
    ("body", "events"),
    {
        "a completion": (WHOLE, None),
        "an error": (b'{"error":"x"}', None),
        "a text": (TEXT, b"data: " + TEXT + b"\n\n" + DONE),
        "chunks": (b"[" + PIECE + b" ,\n" + PIECE + b"]", EVENT + EVENT + DONE),
        "a chunk of several lines": (b"[{\n" + PIECE[1:] + b"]", b"data: { " + PIECE[1:] + b"\n\n" + DONE),
        "chunks and their end": (b"[" + PIECE + b',"[DONE]"]', EVENT + DONE + DONE),
        "completions": (b"[" + WHOLE + b"," + OTHER + b"]", None),
        "a completion twice": (b"[" + WHOLE + b"," + WHOLE + b"]", 2 * (b"data: " + WHOLE + b"\n\n") + DONE),
        "nothing": (b"[]", None),
        "an error in an array": (b'[{"error":"x"}]', None),
        "other things": (b'[1,"x"]', None),
        "chunks and other things": (b"[" + PIECE + b",1]", None),
        "nested too deeply": (b"[" + PIECE + b',{"a":' + b"[" * 990 + b"]" * 990 + b"}]", None),
    },
)
def test_a_body_may_stand_for_events(body: bytes, events: bytes | None) -> None:
    assert as_event_stream(orjson.loads(body), body) == events


def test_a_sole_completion_is_taken_out_of_its_array() -> None:
    assert sole_completion([orjson.loads(WHOLE)], b" [" + WHOLE + b"] ") == (
        orjson.loads(WHOLE),
        WHOLE,
    )


@pytest.mark.parametrize(
    "body", [WHOLE, b"[" + PIECE + b"]", b"[" + WHOLE + b"," + WHOLE + b"]", b"[]", b"1"]
)
def test_another_value_is_left_in_its_array(body: bytes) -> None:
    assert sole_completion(orjson.loads(body), body) == (orjson.loads(body), body)


@cases(
    ("body", "count"),
    {
        "one": (WHOLE, 0),
        "lines": (WHOLE + b"\r\n" + OTHER + b"\n", 2),
        "in a row": (MARK + WHOLE + OTHER + WHOLE, 3),
        "pretty": (b"{\n}\n{\n}\n", 2),
        "an event": (WHOLE + b"\n" + DONE, 0),
        "cut": (WHOLE + OTHER[:-1], 0),
        "not UTF-8": (WHOLE + b'"\xff"', 0),
        "nested too deeply": (WHOLE + b"[" * 5000, 0),
        "nothing": (b" ", 0),
    },
)
def test_a_body_may_have_several_texts(body: bytes, count: int) -> None:
    found = texts_of(body)
    assert len(found) == count
    assert all(text in body and orjson.loads(text) is not None for text in found)


@cases(
    ("texts", "count"),
    {
        "none": ([], 0),
        "chunks": ([PIECE, PIECE, b"1"], 0),
        "one": ([WHOLE, b'{"usage":{}}'], 1),
        "one twice": ([WHOLE, WHOLE], 1),
        "two": ([WHOLE, OTHER, WHOLE], 2),
    },
)
def test_answers_are_counted(texts: list[bytes], count: int) -> None:
    assert count_answers([*map(orjson.loads, texts)]) == count
