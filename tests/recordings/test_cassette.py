"""cassette.py: cassettes of VCR for Python and for Ruby as recordings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatpipe.errors import BadInput
from chatpipe.recordings.cassette import is_cassette, read_cassette
from chatpipe.recordings.exchange_record import RecordedReply, RecordedRequest
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.request_key import request_key

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {"choices": [{"index": 0, "message": {"content": "hello"}, "finish_reason": "stop"}]}
EVENTS = 'data: {"choices": []}\n\ndata: [DONE]\n\n'
TYPE = {"Content-Type": ["application/json"]}
URI = "https://api.openai.com/v1/chat/completions?a=b"


def entry(answer_body: Any, headers: Any = TYPE, code: int = 200, **request: Any) -> dict[str, Any]:
    asked = {
        "method": "POST",
        "uri": URI,
        "body": json.dumps(BODY),
        "headers": {"authorization": ["Bearer k"]},
    }
    answer = {"status": {"code": code, "message": "?"}, "headers": headers, "body": {"string": answer_body}}
    return {"request": {**asked, **request}, "response": answer}


def replies(*entries: dict[str, Any], name: str = "interactions") -> list[tuple[int, int, RecordedReply]]:
    data = json.dumps({"version": 1, name: entries}).encode()
    assert is_cassette(data)
    return [(each.occurrence, each.n, each.reply) for each in read_cassette(data, "c.json")]


def test_exchanges_in_order() -> None:
    """A refusal is a try of the exchange behind it. Headers with secrets, and the query, are left out."""
    answer = json.dumps(ANSWER)
    more = {"Set-Cookie": ["a=b"], "Retry-After": ["2"]}
    found = replies(
        entry("slow", more, 429), entry(answer), entry(EVENTS, {"content-type": "text/event-stream"})
    )
    plain, stream = (("content-type", "application/json"),), (("content-type", "text/event-stream"),)
    assert found == [
        (1, 1, RecordedReply(429, (("retry-after", "2"),), ((0, b"slow"),))),
        (1, 2, RecordedReply(200, plain, ((0, answer.encode()),))),
        (2, 1, RecordedReply(200, stream, ((0, EVENTS.encode()),))),
    ]


@pytest.mark.parametrize(
    ("request_body", "body"),
    [
        (json.dumps(BODY), BODY),
        ({"encoding": "UTF-8", "string": json.dumps(BODY)}, BODY),
        ({"encoding": "UTF-8", "base64_string": "aGk="}, "hi"),
        (BODY, BODY),
        (None, ""),
        ("a=b", "a=b"),
    ],
)
def test_bodies_of_requests(request_body: Any, body: Any) -> None:
    data = json.dumps({"http_interactions": [entry("", method="post", body=request_body)]}).encode()
    [record] = read_cassette(data, "c.json")
    assert record.request == RecordedRequest("POST", "/v1/chat/completions", body)
    assert record.key == request_key(record.request)


def test_yaml_and_compressed_bodies(tmp_path: Path) -> None:
    """A body of bytes, under the headers of a compressed one, with and without reason for them."""
    headers = {**TYPE, "Content-Encoding": ["gzip"]}
    data = json.dumps(ANSWER).encode()
    entries = [entry(gzip.compress(data), headers), entry(data.decode(), headers)]
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"interactions": entries, "version": 1}))
    index = RecordingIndex(str(path))
    key = request_key(RecordedRequest("POST", "/v1/chat/completions", BODY))
    for occurrence in (1, 2):
        record = index.find(key, occurrence, 1)
        assert record is not None
        assert record.reply.body == data
    assert len(index) == 2
    index.close()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"interactions": [', "c.json: not JSON"),
        (b'{"interactions": 5}', "c.json: not recordings, and not a cassette of VCR"),
        (
            b'{"interactions": [{}]}',
            "c.json: /interactions/0: not an exchange: 'request' is missing",
        ),
        (json.dumps({"interactions": [entry("", code=99)]}).encode(), "'status' is missing or wrong"),
        (json.dumps({"interactions": [entry(5)]}).encode(), "'body' is missing or wrong"),
        (json.dumps({"interactions": [entry("", uri=None)]}).encode(), "'uri' is missing or wrong"),
        (json.dumps({"interactions": [entry("", uri="http://[h]/")]}).encode(), "'uri' is missing or wrong"),
        (b"interactions: [}", "c.json: "),
    ],
)
def test_no_cassettes(data: bytes, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        list(read_cassette(data, "c.json"))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "start", [b"", b'{"v":1,"key":"ab"', b'{"request":{"body":"interactions:"}}', b"hello"]
)
def test_what_is_read_as_recordings(start: bytes) -> None:
    assert not is_cassette(start)
