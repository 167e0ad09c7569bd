"""Replies that a server compressed although it was not asked to."""

from __future__ import annotations

import gzip
import zlib

import httpx
import pytest

from chatpipe.errors import Status
from exchange.scripted import DONE, Server, content, error, piece, plain, stream, whole
from support.parametrize import cases

WHOLE = b"".join(whole().stream.pieces)  # type: ignore[union-attr]
EVENTS = piece("hi", "stop") + DONE


def sent(data: bytes, coding: str, kind: str = "application/json") -> httpx.Response:
    return stream(data[:5], data[5:40], data[40:], kind=kind, **{"content-encoding": coding})


@cases(
    "reply",
    {
        "JSON in gzip": sent(gzip.compress(WHOLE), "gzip"),
        "JSON in deflate": sent(zlib.compress(WHOLE), "Deflate"),
        "events in gzip": sent(gzip.compress(EVENTS), "gzip", "text/event-stream"),
        "JSON in gzip, and called deflate": sent(gzip.compress(WHOLE), "deflate"),
        "JSON in gzip, and called nothing": sent(gzip.compress(WHOLE), ""),
        "JSON in gzip, and called identity": sent(gzip.compress(WHOLE), "identity"),
        "JSON in gzip, behind an empty piece": stream(b"", gzip.compress(WHOLE), kind="application/json"),
        "JSON in gzip twice": sent(gzip.compress(gzip.compress(WHOLE)), "gzip"),
        "events in gzip, and called nothing": sent(gzip.compress(EVENTS), "", "text/event-stream"),
        "plain, and called gzip": sent(WHOLE, "gzip"),
        "plain, and called a character set": sent(WHOLE, "utf-8"),
        "identity": sent(WHOLE, "identity"),
        "no name": sent(WHOLE, ""),
        "events in gzip cut behind [DONE]": sent(gzip.compress(EVENTS)[:-8], "gzip", "text/event-stream"),
    },
)
def test_a_compressed_answer_is_read(reply: httpx.Response) -> None:
    answer = Server([reply]).ask()
    assert answer.fault is None
    assert content(answer) == "hi"


@cases(
    ("reply", "words", "attempts"),
    {
        "unknown": (sent(bytes(50), "x-own"), "it is compressed with 'x-own', which cannot be read here", 1),
        "broken": (sent(gzip.compress(WHOLE)[:20] + bytes(90), "gzip"), "its compressed data are broken", 1),
        "cut": (sent(gzip.compress(WHOLE)[:-20], "gzip"), "its gzip data end early", 2),
        "cut, and called nothing": (sent(gzip.compress(WHOLE)[:-20], ""), "its gzip data end early", 2),
    },
)
def test_one_that_cannot_be_read_is_named(reply: httpx.Response, words: str, attempts: int) -> None:
    server = Server([reply, error(400)])
    server.steps[1:] = [] if attempts == 1 else [error(400)]
    if attempts == 1:
        fault = server.fault()
        assert fault.status is Status.BROKEN_ANSWER
        assert words in fault.what
    else:
        server.fault()
        assert words in server.notes[0]
    assert len(server.requests) == attempts


@pytest.mark.parametrize("coding", ["gzip", "x-own, gzip", "", "deflate"])
def test_an_error_keeps_its_status(coding: str) -> None:
    data = gzip.compress(b'{"error":{"message":"no such thing"}}')
    fault = Server([plain(data, status=400, headers={"content-encoding": coding})]).fault()
    assert (fault.status, fault.http_status) == (Status.BAD_INPUT, 400)
    assert ("no such thing" in fault.what) is (coding != "x-own, gzip")
