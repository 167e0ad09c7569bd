"""Recordings found in their file by key, occurrence and attempt; lines that are passed over or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadInput, MissingInput
from chatpipe.recordings.exchange_record import (
    ExchangeRecord,
    RecordedReply,
    RecordedRequest,
    write_record,
)
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.request_key import request_key
from support.parametrize import cases

PATH = "/v1/chat/completions"


def request(text: str, **more: Any) -> RecordedRequest:
    return RecordedRequest("POST", PATH, {"model": "m", "messages": text, **more})


def record(text: str, answer: str, occurrence: int = 1, n: int = 1, **more: Any) -> ExchangeRecord:
    asked = request(text, **more)
    reply = RecordedReply(200, (), ((0, answer.encode()),))
    return ExchangeRecord(request_key(asked), asked, reply, occurrence, n)


def write(path: Path, *records: ExchangeRecord, end: bytes = b"\n") -> str:
    path.write_bytes(b"\n".join(map(write_record, records)) + end)
    return str(path)


RECORDS = (
    record("a", "1"),
    record("b", "busy"),
    record("b", "2", n=2),
    record("c", "3"),
    record("c", "4", occurrence=2),
    record("d", "old"),
    record("d", "new"),
)
LINES = [write_record(each) + b"\n" for each in RECORDS]


@cases(
    "text, occurrence, n, answer",
    {
        "the only one": ("a", 1, 1, "1"),
        "the first attempt": ("b", 1, 1, "busy"),
        "the second attempt": ("b", 1, 2, "2"),
        "an attempt too many": ("b", 1, 3, None),
        "the second occurrence": ("c", 2, 1, "4"),
        "an occurrence too many": ("c", 9, 1, "4"),
        "the same attempt of another occurrence": ("b", 5, 2, "2"),
        "the last of equal ones": ("d", 1, 1, "new"),
        "another request": ("e", 1, 1, None),
    },
)
@pytest.mark.parametrize("with_key", [True, False], ids=["key", "no key"])
def test_a_reply_is_found_by_request_occurrence_and_attempt(
    tmp_path: Path, text: str, occurrence: int, n: int, answer: str | None, with_key: bool
) -> None:
    records = RECORDS if with_key else [each._replace(key="") for each in RECORDS]
    index = RecordingIndex(write(tmp_path / "r", *records))
    found = index.find(request_key(request(text)), occurrence, n)
    assert (found.reply.body.decode() if found else None) == answer
    assert len(index) == len(RECORDS)


@cases(
    "more, answer",
    {
        "exactly": ({"seed": 1, "user": "x"}, "1"),
        "another user": ({"seed": 1, "user": "y"}, "2"),
        "neither": ({}, "2"),
        "streamed": ({"stream": True}, "2"),
        "another temperature": ({"temperature": 1}, None),
    },
)
def test_find_loosely(tmp_path: Path, more: dict[str, Any], answer: str | None) -> None:
    path = write(tmp_path / "r", record("a", "1", seed=1, user="x"), record("a", "2", seed=2))
    index = RecordingIndex(path, loose=True)
    asked = request("a", **more)
    found = index.find(request_key(asked), 1, 1) or index.find_loosely(request_key(asked, loose=True), 1)
    assert (found.reply.body.decode() if found else None) == answer


def failed(reply: RecordedReply, n: int = 1) -> ExchangeRecord:
    return record("a", "", n=n)._replace(reply=reply)


REFUSED, DOWN = RecordedReply(401, (), ((0, b"{}"),)), RecordedReply(None, failure="refused")
CUT = RecordedReply(200, (("content-type", "text/event-stream"),), ((0, b"data: {}\n\n"),), "cut")


@cases(
    "records, found",
    {
        "a refusal": ([failed(REFUSED)], [False, False]),
        "no connection": ([failed(DOWN)], [False, False]),
        "a cut stream": ([failed(CUT)], [False, False]),
        "two of them": ([failed(DOWN), failed(CUT, 2)], [True, False]),
        "a retry that was answered": ([failed(DOWN), record("a", "{}", n=2)], [True, True]),
        "an answer later in the file": ([failed(DOWN), record("a", "{}")], [True, False]),
    },
)
@pytest.mark.parametrize("loose", [False, True])
def test_a_last_attempt_that_failed_is_asked_again(
    tmp_path: Path, records: list[ExchangeRecord], found: list[bool], loose: bool
) -> None:
    path = write(tmp_path / "r", *records)
    index = RecordingIndex(path, loose=loose, grows=True)
    key = request_key(records[0].request, loose=loose)
    find = index.find_loosely if loose else lambda key, n: index.find(key, 1, n)
    assert [find(key, n) is not None for n in (1, 2)] == found
    assert RecordingIndex(path).find(request_key(records[0].request), 1, 1) is not None


@pytest.mark.parametrize("loose", [False, True])
def test_every_cut_of_the_last_line_is_passed_over(tmp_path: Path, loose: bool) -> None:
    """But for a cut of the newline only."""
    path, notes = tmp_path / "r", list[str]()
    for size in range(1, len(LINES[1]) - 1):
        path.write_bytes(LINES[0] + LINES[1][:size])
        index = RecordingIndex(str(path), loose=loose, note=notes.append)
        assert (len(index), len(list(index.requests()))) == (1, 1)
        index.close()
    assert set(notes) == {f"{path}:2: passed over an incomplete recording"}
    path.write_bytes((LINES[0] + LINES[1])[:-1])
    assert len(RecordingIndex(str(path), note=pytest.fail)) == 2


def test_a_file_with_nothing_but_an_incomplete_record_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(LINES[0][:50])
    assert len(RecordingIndex(str(path))) == 0


def test_requests_with_the_numbers_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b"\n" + write_record(RECORDS[0]) + b"\n\r\n" + write_record(RECORDS[1]) + b"\n")
    found = [(2, RECORDS[0].request, RECORDS[0].key), (4, RECORDS[1].request, RECORDS[1].key)]
    assert list(RecordingIndex(str(path)).requests()) == found


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    assert len(RecordingIndex(str(tmp_path / "r"))) == 0


@cases(
    "content, place, what",
    {
        "text": (b"hello\n", "r:1", "not JSON"),
        "one line without an end": (b'{"v":1,', "r:1", "not JSON"),
        "a request": (b'{"model":"m"}\n', "r:1", "not a recorded exchange"),
        "a line in the middle": (
            write_record(RECORDS[0]) + b"\n{\n" + write_record(RECORDS[1]),
            "r:2",
            "not JSON",
        ),
        "a newer one": (b'{"v":2,"request":{},"response":{}}\n', "r:1", "newer"),
        "compressed": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "r", "gzip"),
        "an array": (json.dumps([1]).encode(), "r:1", "not a recorded exchange"),
    },
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, place: str, what: str) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(BadInput, match=what) as caught:
        RecordingIndex(str(tmp_path / "r"))
    assert caught.value.place.removeprefix(f"{tmp_path}/") == place


def test_a_damaged_record_is_refused_when_it_is_found(tmp_path: Path) -> None:
    line = write_record(RECORDS[1]).replace(b'"status":200', b'"status":"x"')
    (tmp_path / "r").write_bytes(write_record(RECORDS[0]) + b"\n" + line + b"\n")
    index = RecordingIndex(str(tmp_path / "r"))
    with pytest.raises(BadInput) as caught:
        index.find(RECORDS[1].key, 1, 1)
    assert caught.value.place == f"{tmp_path}/r:2"


@pytest.mark.parametrize("kind", ["missing", "folder", "FIFO"])
def test_files_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(tmp_path / "FIFO")
    elif kind == "folder":
        (tmp_path / "folder").mkdir()
    with pytest.raises(MissingInput, match=kind) as caught:
        RecordingIndex(str(tmp_path / kind))
    assert caught.value.place == "--replay"
