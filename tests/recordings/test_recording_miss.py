"""Requests that were not recorded: the nearest one, and the first difference from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatpipe.errors import Status
from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, RecordedRequest
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_miss import first_difference, no_recording
from chatpipe.recordings.request_key import request_key
from recordings.test_recording_index import write
from support.parametrize import cases

LONG = "Summarise the following text in one sentence, please: "


def talk(*texts: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in texts], **more}


def recorded(body: Any, path: str = "/v1/chat/completions", method: str = "POST") -> ExchangeRecord:
    request = RecordedRequest(method, path, body)
    return ExchangeRecord(request_key(request), request, RecordedReply(200))


RECORDS = [
    recorded(talk("Hello")),
    recorded(talk("Hello", "again", model="n", temperature=1)),
    recorded(talk(LONG + "one", seed=1, user="me")),
    recorded("", "/v1/models", "GET"),
]
NO = "no recording of this request: the nearest differs at "


@cases(
    "body, line, what",
    {
        "a text": (talk("Hallo"), 1, NO + '/messages/0/content: recorded "Hello", asked "Hallo"'),
        "the same last message": (talk("Hi", "again"), 2, NO + '/model: recorded "n", asked "m"'),
        "one more message": (
            talk("Hello", "again", "and again", model="n", temperature=1),
            2,
            NO + '/messages/2: recorded nothing, asked {"role":"user","content":"and again"}',
        ),
        "a long text, at its end": (
            talk(LONG + "two", seed=1, user="me"),
            3,
            NO + '/messages/0/content: recorded "...ce, please: one", asked "...ce, please: two"',
        ),
        "another type": (talk("Hello", temperature=1.0), 1, NO + "/temperature: recorded nothing, asked 1.0"),
        "a member less": (talk(LONG + "one", user="me"), 3, NO + "/seed: recorded 1, asked nothing"),
        "a long value": (
            talk("Hello", stop=["x" * 50]),
            1,
            NO + f'/stop: recorded nothing, asked ["{"x" * 38}...',
        ),
        "another name": (talk("Hello", **{"a/b~": 1}), 1, NO + "/a~1b~0: recorded nothing, asked 1"),
    },
)
def test_a_miss_names_the_nearest_recording_and_the_difference(
    tmp_path: Path, body: Any, line: int, what: str
) -> None:
    index = RecordingIndex(write(tmp_path / "r", *RECORDS))
    fault = no_recording(index, RecordedRequest("POST", "/v1/chat/completions", body), 1)
    assert (fault.place, fault.what, fault.status) == (f"{tmp_path}/r:{line}", what, Status.NO_INPUT)
    assert fault.fix == f"add --record {tmp_path}/r to record it"


def test_a_request_that_was_changed_by_hand_needs_another_key(tmp_path: Path) -> None:
    """The manual says so under `key`. The words would else be about a first try."""
    asked = RecordedRequest("POST", "/v1/chat/completions", talk("Hallo"))
    path = write(tmp_path / "r", RECORDS[3], RECORDS[0]._replace(request=asked))
    fault = no_recording(RecordingIndex(path), asked, 1)
    assert (fault.place, fault.fix) == (f"{path}:2", "delete the key")
    assert fault.what == "the 'key' of this recording is not that of its request"
    assert RecordingIndex(path, loose=True).find_loosely(request_key(asked, loose=True), 1)


def test_a_cassette_is_not_recorded_into(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('{"interactions": []}')
    fault = no_recording(RecordingIndex(str(tmp_path / "c")), RECORDS[0].request, 1)
    assert fault.fix == "add --record FILE, another one than the cassette, to record it"


@cases(
    "asked, n, what",
    {
        "another try": (RECORDS[0].request, 2, "try 2 of this request was not recorded"),
        "a later try only": (RECORDS[0].request, 1, "the first try of this request was not recorded"),
        "another route": (
            RecordedRequest("GET", "/v1/files", ""),
            1,
            NO + "the request line: recorded GET /v1/models, asked GET /v1/files",
        ),
        "text": (
            RecordedRequest("GET", "/v1/models", "x"),
            1,
            NO + 'the body: recorded "", asked "x"',
        ),
    },
)
def test_other_requests(tmp_path: Path, asked: RecordedRequest, n: int, what: str) -> None:
    index = RecordingIndex(write(tmp_path / "r", *RECORDS))
    assert no_recording(index, asked, n).what == what


def test_loose_does_not_show_what_it_leaves_out(tmp_path: Path) -> None:
    index = RecordingIndex(write(tmp_path / "r", RECORDS[2]), loose=True)
    asked = RecordedRequest("POST", "/v1/chat/completions", talk(LONG + "one", seed=2, top_p=1))
    assert no_recording(index, asked, 1).what == NO + "/top_p: recorded nothing, asked 1"


def test_streaming_is_no_difference() -> None:
    assert first_difference(talk("a"), talk("a")) is None


def test_an_empty_recording(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    fault = no_recording(RecordingIndex(str(tmp_path / "r")), RECORDS[0].request, 1)
    assert (fault.place, fault.what) == (f"{tmp_path}/r", "there is no recording in it")
