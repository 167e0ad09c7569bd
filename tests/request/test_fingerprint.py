"""Fingerprints: what they are made of, to the byte, and how equal bodies are counted."""

from __future__ import annotations

import random
import subprocess
import tracemalloc
from typing import Any

import orjson
import pytest

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.request.fingerprint import OccurrenceCounter, body_digest, fingerprint, fingerprint_of
from support.parametrize import cases
from support.programs import program

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi é"}], "temperature": 0.5}
CANONICAL = '{"messages":[{"content":"Hi é","role":"user"}],"model":"m","temperature":0.5}'

# Printed by `b2sum -l 128`. They may not change: journals hold them.
WRITTEN_DOWN: dict[str, Any] = {
    "first": ("http://h/v1", 1, "10a4ae4cd114637b6fe6bce1daea6f7c"),
    "second": ("http://h/v1", 2, "0f89a658a6d022701bd8a6d4749c1e06"),
    "no scope": (None, 1, "c1232fca3b7dd1944771758dfce021bb"),
}


@cases("scope, occurrence, expected", WRITTEN_DOWN)
def test_fingerprints_are_the_same_in_every_version(
    scope: str | None, occurrence: int, expected: str
) -> None:
    assert fingerprint(BODY, scope, occurrence) == expected
    assert fingerprint_of(body_digest(BODY), scope, occurrence) == expected


def test_a_shell_can_compute_them() -> None:
    def b2sum(text: str) -> str:
        done = subprocess.run(
            [program("b2sum"), "-l", "128"], input=text.encode(), capture_output=True, check=True
        )
        return done.stdout[:32].decode()

    assert body_digest(BODY).hex() == b2sum(CANONICAL)
    assert fingerprint(BODY, "http://h/v1", 3) == b2sum(f"{b2sum(CANONICAL)} 3 http://h/v1")


SAME: dict[str, Any] = {
    "a stream": (b'{"a":1}', b'{"stream":true,"a":1,"stream_options":{"include_usage":true}}'),
    "no stream": (b'{"a":1}', b'{"a":1,"stream":false}'),
    "order of keys": (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    "order of keys further in, spaces": (b'{"a":{"x":1,"y":2}}', b'{ "a": {"y": 2, "x": 1} }'),
    "escapes": (b'{"a":"\xc3\xa9"}', b'{"a":"\\u00e9"}'),
    "order of keys beside a lone surrogate": (b'{"a":"\\ud83d","b":1}', b'{"b":1,"a":"\\uD83D"}'),
    "forms of a number": (b'{"a":1e2}', b'{"a":100.0}'),
    "order of keys beside a long integer": (
        b'{"n":123456789012345678901234567890,"a":0}',
        b'{"a":0,"n":123456789012345678901234567890}',
    ),
    "a lone surrogate in a key": (b'{"\\ud83d":1,"a":2}', b'{"a":2,"\\ud83d":1}'),
}


@cases("one, other", SAME)
def test_equal_bodies_have_the_same_digest(one: bytes, other: bytes) -> None:
    assert body_digest(body(one)) == body_digest(body(other))


DIFFERENT: dict[str, Any] = {
    "order of items": (b'{"a":[1,2]}', b'{"a":[2,1]}'),
    "number and string": (b'{"a":1}', b'{"a":"1"}'),
    "null and absent": (b'{"a":null}', b"{}"),
    "one space": (b'{"a":"x"}', b'{"a":"x "}'),
    "two lone surrogates": (b'{"a":"\\ud83d"}', b'{"a":"\\ud83e"}'),
    "the last digit of long integers": (
        b'{"n":123456789012345678901234567890}',
        b'{"n":123456789012345678901234567891}',
    ),
}


@cases("one, other", DIFFERENT)
def test_different_bodies_have_different_digests(one: bytes, other: bytes) -> None:
    assert body_digest(body(one)) != body_digest(body(other))


def test_a_body_that_orjson_cannot_write_is_hashed_in_escapes() -> None:
    """Printed by `b2sum -l 128` for {"a":"\\ud83d","n":123456789012345678901234567890,"z":"\\u00e9"}."""
    odd = body(b'{"z":"\\u00e9","n":123456789012345678901234567890,"a":"\\ud83d"}')
    assert body_digest(odd).hex() == "729534817437dfd5f4e2518583452e98"


def test_parts_do_not_run_into_each_other() -> None:
    prints = [
        fingerprint(BODY, url, n) for url in (None, "", "1", "http://a", "http://b") for n in (1, 2, 11)
    ]
    assert len(set(prints)) == 15


def test_a_deep_body_is_hashed_too() -> None:
    deep = body(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}")
    with pytest.raises(orjson.JSONEncodeError):
        orjson.dumps(deep)
    assert len(body_digest(deep)) == 16


def test_repeated_bodies_are_counted_each_for_itself() -> None:
    occurrences = OccurrenceCounter()
    one, other = body_digest({"a": 1}), body_digest({"a": 2})
    assert [occurrences.count(each) for each in (one, one, other, one, other)] == [1, 2, 1, 3, 2]


def test_a_body_may_come_more_often_than_a_byte_counts() -> None:
    occurrences = OccurrenceCounter()
    one, other = body_digest({"a": 1}), body_digest({"a": 2})
    assert [occurrences.count(one) for _ in range(600)] == list(range(1, 601))
    assert occurrences.count(other) == 1
    assert occurrences.count(one) == 601


def test_bodies_that_share_8_bytes_of_a_digest_still_get_different_fingerprints() -> None:
    occurrences = OccurrenceCounter()
    one, other = b"8 bytes.and more", b"8 bytes.and else"
    first, second = (
        fingerprint_of(one, None, occurrences.count(one)),
        fingerprint_of(other, None, occurrences.count(other)),
    )
    assert first != second


def test_counting_takes_11_bytes_a_line() -> None:
    lines = 50_000
    digits = random.Random(1)
    occurrences = OccurrenceCounter()
    tracemalloc.start()
    for _ in range(lines):
        occurrences.count(digits.randbytes(16))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept / lines < 11.5
    assert peak / lines < 11.5


def body(text: bytes) -> dict[str, Value]:
    value = values.loads_strict(text)
    assert isinstance(value, dict)
    return value
