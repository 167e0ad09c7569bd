"""file_download.py and merged_results.py: all of a file, and each line of its own."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chatpipe.errors import BadConfiguration, BadInput, BrokenAnswer, ChatpipeError
from chatpipe.jobs.file_download import FileDownload
from chatpipe.jobs.job_dialects import JobCounts, ProviderJob
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.jobs.merged_results import JobFiles, MergedCounts, MergedResults
from chatpipe.system.spool import Room, Spool
from jobs.provider import Provider
from support.parametrize import cases

DATA = b"0123456789" * 10


def downloaded(*faults: str, retries: int = 4) -> tuple[bytes, list[str]]:
    """What comes of a file, and the ranges that were asked for."""
    provider = Provider(*faults, retries=retries)
    api = provider.api()
    id_ = api.upload("a.jsonl", len(DATA), lambda: iter([DATA]))
    ranges: list[str] = []
    send = api.connection.context.transport.handle_async_request

    async def sent(request: httpx.Request) -> httpx.Response:
        ranges.append(request.headers.get("range", ""))
        return await send(request)

    api.connection.context.transport.handle_async_request = sent  # type: ignore[method-assign]
    spool = FileDownload(api, id_).run()
    return spool.read(0, spool.size), ranges


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([], [""]),
        (["cut:on=content:times=1"], ["", "bytes=50-"]),
        (["cut:on=content:times=2"], ["", "bytes=50-", "bytes=75-"]),
        (["cut:on=content:times=1", "no-range:after=1"], ["", "bytes=50-"]),
        (["status=503:on=content:times=2"], ["", "", ""]),
        (["empty:on=content:times=1"], ["", ""]),
        (["cut:on=content:times=3"], ["", "bytes=50-", "bytes=75-", "bytes=87-"]),
    ],
)
def test_a_broken_download_goes_on_where_it_broke(faults: list[str], ranges: list[str]) -> None:
    assert downloaded(*faults) == (DATA, ranges)


@pytest.mark.parametrize(
    ("fault", "retries", "error", "words"),
    [
        ("cut=0:on=content", 1, BrokenAnswer, "ended early|closed"),
        ("status=404:on=content", 4, BadInput, "404.*results are kept for a limited time"),
        ("status=410:on=content", 4, BadInput, "410.*results are kept for a limited time"),
        ("status=500:on=content", 1, ChatpipeError, "500"),
    ],
)
def test_downloads_that_fail(fault: str, retries: int, error: type[ChatpipeError], words: str) -> None:
    with pytest.raises(error, match=words):
        downloaded(fault, retries=retries)


PACKED = gzip.compress(DATA)


class _Replies(httpx.AsyncBaseTransport):
    """Answers with replies of a table: a status, headers, and the bytes, which may break off at the end."""

    def __init__(self, replies: list[tuple[int, dict[str, str], bytes]]) -> None:
        self._replies = list(replies)
        self.ranges: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        self.ranges.append(request.headers.get("range", ""))
        status, headers, data = self._replies.pop(0)
        return httpx.Response(status, headers=headers, stream=_Data(data), request=request)


def _part(start: int, end: int, total: str = "100") -> tuple[int, dict[str, str], bytes]:
    return 206, {"content-range": f"bytes {start}-{end - 1}/{total}"}, DATA[start:end]


GZIP = {"content-encoding": "gzip", "content-length": str(len(PACKED))}
HALF = (200, {"content-length": "100"}, DATA[:50])


@cases(
    ("replies", "ranges"),
    {
        "a coding that is none": ([(200, {"content-encoding": "identity"}, DATA)], [""]),
        "gzip": ([(200, GZIP, PACKED)], [""]),
        "gzip in name only": ([(200, {"content-encoding": "gzip"}, DATA)], [""]),
        "gzip that breaks off": ([(200, GZIP, PACKED[:20]), (200, GZIP, PACKED)], ["", ""]),
        "the rest in gzip": (
            [HALF, (206, {**GZIP, "content-range": "bytes 50-99/100"}, PACKED), (200, GZIP, PACKED)],
            ["", "bytes=50-", ""],
        ),
        "all again in gzip": ([HALF, (200, GZIP, PACKED)], ["", "bytes=50-"]),
        "pieces": (
            [HALF, _part(50, 60), _part(60, 99), _part(99, 100)],
            ["", "bytes=50-", "bytes=60-", "bytes=99-"],
        ),
        "a first piece": ([_part(0, 60), _part(60, 100)], ["", "bytes=60-"]),
        "a rest of unknown size": ([HALF, _part(50, 100, "*")], ["", "bytes=50-"]),
        "another place": ([HALF, _part(40, 100, "*"), (200, {}, DATA)], ["", "bytes=50-", ""]),
        "no place": ([HALF, (206, {}, DATA[40:]), (200, {}, DATA)], ["", "bytes=50-", ""]),
        "nothing is left": (
            [(200, {"content-length": "101"}, DATA), (416, {"content-range": "bytes */100"}, b"")],
            ["", "bytes=100-"],
        ),
        "nothing is left, of unknown size": (
            [(200, {"content-length": "101"}, DATA), (416, {}, b"")],
            ["", "bytes=100-"],
        ),
        "a file that has become shorter": (
            [
                (200, {"content-length": "900"}, b"x" * 200),
                (416, {"content-range": "bytes */100"}, b""),
                (200, {}, DATA),
            ],
            ["", "bytes=200-", ""],
        ),
    },
)
def test_downloads_in_odd_forms(replies: list[tuple[int, dict[str, str], bytes]], ranges: list[str]) -> None:
    api, transport = Provider().api(), _Replies(replies)
    api.connection = api.connection._replace(context=api.connection.context._replace(transport=transport))
    spool = FileDownload(api, "file-1").run()
    assert spool.read(0, 1000) == DATA
    assert transport.ranges == ranges


def test_a_file_in_gzip_is_left_as_it_is() -> None:
    """Its length and the places of its parts are those of the bytes that come."""
    api = Provider().api()
    transport = _Replies([(200, {"content-length": str(len(PACKED))}, PACKED)])
    api.connection = api.connection._replace(context=api.connection.context._replace(transport=transport))
    assert FileDownload(api, "file-1").run().read(0, 1000) == PACKED


class _Redirects(httpx.AsyncBaseTransport):
    """Sends the client from one URL to the next. The last one has the file."""

    def __init__(self, *targets: str) -> None:
        self._targets = list(targets)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self._targets:
            return httpx.Response(302, headers={"location": self._targets.pop(0)}, stream=_Data(b""))
        return httpx.Response(200, headers={"content-length": "2"}, stream=_Data(b"{}"))


class _Data(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def redirected(*targets: str) -> list[httpx.Request]:
    api = Provider().api()
    transport = _Redirects(*targets)
    server = api.connection.server._replace(headers=(("Authorization", "Bearer k"),))
    context = api.connection.context._replace(transport=transport)
    api.connection = api.connection._replace(server=server, context=context)
    spool = FileDownload(api, "file-1").run()
    assert spool.read(0, 9) == b"{}"
    return transport.requests


def test_a_redirect_to_another_server_takes_neither_key_nor_headers() -> None:
    first, second, third = redirected("/v1/moved", "https://storage.test/file?signature=s")
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer k"
    assert str(third.url) == "https://storage.test/file?signature=s"
    assert set(third.headers) <= {"host"}


@pytest.mark.parametrize(
    ("targets", "error"),
    [(["http://storage.test/file"], BadConfiguration), (["/1", "/2", "/3", "/4"], ChatpipeError)],
)
def test_redirects_that_are_not_followed(targets: list[str], error: type[ChatpipeError]) -> None:
    with pytest.raises(error, match="redirect"):
        redirected(*targets)


# The lines


def result(custom_id: str, status: int = 200, says: str = "", **fields: Any) -> dict[str, Any]:
    response = {"status_code": status, "request_id": "r", "body": {"says": says}}
    return {"id": "i", "custom_id": custom_id, "response": response, "error": None, **fields}


OVERLOADED = result("a", response={"status_code": 200, "body": {"error": {"message": "overloaded"}}})
EXPIRED: dict[str, Any] = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}


def merged(
    *files: list[Any],
    ids: str | None = None,
    status: str = "completed",
    total: int = 0,
    ended_at: float = 0.0,
) -> tuple[list[dict[str, Any]], MergedCounts, list[str]]:
    spools = []
    for lines in files:
        spool = Spool(Room(1 << 30))
        spool.write(
            b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        )
        spools.append(spool)
    job = ProviderJob("batch_1", status, {"errors": None}, JobCounts(total), ended_at=ended_at)
    warnings: list[str] = []
    results = MergedResults([JobFiles(job, spools, LineReasons(job))], "http://h/v1", warnings.append)
    written: list[bytes] = []
    if ids is None:
        counts = results.write_as_they_come(written.append)
    else:
        asked = "\ufeff" + "\n".join(json.dumps({"custom_id": id_}) for id_ in ids)
        counts = results.write_in_order(io.BytesIO(asked.encode()), written.append)
    return [json.loads(line) for line in b"".join(written).splitlines()], counts, warnings


def test_results_in_the_order_of_the_input_and_missing_ones_marked() -> None:
    found, counts, warnings = merged(
        [result("c"), result("a"), result("f")], [result("d", 400), result("b", **EXPIRED)], ids="abcedf"
    )
    assert [line["custom_id"] for line in found] == list("abcedf")
    assert counts == MergedCounts(good=3, failed=2, missing=1)
    error = {"code": "unsent", "message": "no result: it is in neither result file"}
    assert found[3] == {"id": None, "custom_id": "e", "response": None, "error": error}
    assert warnings == []


@cases(
    "line, kept",
    {
        "as usual": (b'{"custom_id":"a","error":null}', {}),
        "blanks": (b' {"custom_id": "a", "error": null } \r', {}),
        "the word in it": (b'{"custom_id":"a","error":null,"x":"chatpipe"}', {"x": "chatpipe"}),
        "one of its own": (b'{"custom_id":"a","chatpipe":{"server":"http://other"},"error":null}', {}),
    },
)
def test_a_result_names_its_server_and_the_end_of_its_job(line: bytes, kept: dict[str, str]) -> None:
    (found,), _, _ = merged([line], ended_at=86400.5)
    facts = {"at": "1970-01-02T00:00:00.500Z", "server": "http://h/v1", "engine": "batch-api"}
    assert found == {"custom_id": "a", "error": None, **kept, "chatpipe": facts}
    (found,), _, _ = merged([line])
    assert found["chatpipe"] == {"server": "http://h/v1", "engine": "batch-api"}


def test_a_result_keeps_the_numbers_of_the_provider() -> None:
    """Also if it has a member of this name already."""
    written: list[bytes] = []
    start, end = b'{"custom_id":"a","seed":123456789012345678901234567890,"x":1.50e+3,', b'"y":-0.0}'
    spool = Spool(Room(1 << 30))
    spool.write(start + b'"chatpipe":{"z":1},' + end)
    job = ProviderJob("batch_1", "completed", {})
    results = MergedResults([JobFiles(job, [spool], LineReasons(job))], "http://h/v1", print)
    results.write_as_they_come(written.append)
    facts = b'"chatpipe":{"server":"http://h/v1","engine":"batch-api"},'
    assert written == [start + facts + end + b"\n"]


@cases("failed", {"in the body": OVERLOADED, "beside it": result("a", error={"code": "c", "message": "m"})})
def test_an_error_with_the_status_of_an_answer_is_a_failure(failed: dict[str, Any]) -> None:
    _, counts, _ = merged([failed, result("b")], ids="ab")
    assert counts == MergedCounts(good=1, failed=1)


@pytest.mark.parametrize(("total", "missing"), [(5, 2), (0, 0)])
def test_results_as_they_come(total: int, missing: int) -> None:
    """A provider that does not say how many lines a job has says 0."""
    found, counts, warnings = merged([result("c"), result("a")], [result("d", 400), result("a")], total=total)
    assert [line["custom_id"] for line in found] == ["c", "a", "d"]
    assert counts == MergedCounts(good=2, failed=1, missing=missing)
    assert warnings == ["1 result beside another one of the same custom_id: left out"]


@pytest.mark.parametrize(
    ("lines", "ids", "says", "warning"),
    [
        ([result("a", says="1"), result("a", says="2")], "a", "1", "1 result beside another one"),
        ([result("a", 500), result("a", says="2")], "a", "2", "1 result beside another one"),
        ([OVERLOADED, result("a", says="2")], "a", "2", "1 result beside another one"),
        ([result("a", says="1"), result("x")], "a", "1", "1 result with a custom_id that the input"),
        ([result("a", says="1"), b'{"id":"b'], "a", "1", "1 line of the result files that cannot be read"),
        ([result("a", says="1"), b"", b"[]"], "a", "1", "1 line of the result files that cannot be read"),
    ],
)
def test_odd_lines(lines: list[Any], ids: str, says: str, warning: str) -> None:
    (found,), _, warnings = merged(lines, ids=ids)
    assert found["response"]["body"]["says"] == says
    assert len(warnings) == 1
    assert warnings[0].startswith(warning)


def test_the_reason_why_lines_are_missing() -> None:
    (found,), counts, _ = merged([], ids="a", status="cancelled")
    assert found["error"]["message"] == "no result: batch_1 cancelled"
    assert not counts.are_all_good
