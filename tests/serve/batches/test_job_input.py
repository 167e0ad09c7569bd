"""job_input.py: the lines of an input file, and the faults for which a batch fails."""

from __future__ import annotations

import json

import pytest

from chatpipe.serve.batches.job_input import JobFault, JobInput
from chatpipe.system.spool import Room, Spool

URL = "/v1/chat/completions"


def line(custom_id: object = "a", method: str = "POST", url: str = URL, **body: object) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body}).encode()


def checked(data: bytes, most_lines: int = 100) -> JobInput:
    spool = Spool(Room(1 << 30))
    spool.write(data)
    read = JobInput(spool, URL, most_lines)
    while read.advance():
        pass
    return read


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (line() + b"\n", "a"),
        (line(), "a"),
        (line() + b"\n\n  \n" + line("b") + b"\r\n" + line("c"), "abc"),
        (b"\xef\xbb\xbf" + line(model="m") + b"\n" + line("b", model="m"), "ab"),
        (line("\u00e4"), "\u00e4"),
        (line(pad="x" * 600_000) + b"\n" + line("b"), "ab"),
    ],
)
def test_lines_of_a_good_file(data: bytes, ids: str) -> None:
    read = checked(data)
    assert read.faults == []
    assert [read.line(index).custom_id for index in range(len(read))] == list(ids)


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ([], [("empty_file", None, None)]),
        ([b"", b" "], [("empty_file", None, None)]),
        ([b"{"], [("invalid_json_line", 1, None)]),
        ([line(), b"", b"1", b"[]"], [("invalid_json_line", 3, None), ("invalid_json_line", 4, None)]),
        ([line(1)], [("missing_required_parameter", 1, "custom_id")]),
        ([line("")], [("missing_required_parameter", 1, "custom_id")]),
        ([line(method="GET")], [("invalid_method", 1, "method")]),
        ([line(url="/v1/embeddings")], [("url_mismatch", 1, "url")]),
        ([line().replace(b"{}", b"1")], [("invalid_body", 1, "body")]),
        ([line(), line("b"), line()], [("duplicate_custom_id", 3, "custom_id")]),
        ([line(model="m"), line("b", model="n")], [("model_mismatch", 2, "body.model")]),
        ([line(model="m"), line("b")], [("model_mismatch", 2, "body.model")]),
        ([line(str(n)) for n in range(101)], [("too_many_tasks", None, None)]),
    ],
)
def test_a_bad_file_has_a_fault_for_each_line(
    lines: list[bytes], faults: list[tuple[str, int | None, str | None]]
) -> None:
    found = checked(b"\n".join(lines)).faults
    assert [(fault.code, fault.line, fault.param) for fault in found] == faults


def test_the_first_hundred_faults_are_told() -> None:
    assert len(checked(b"{\n" * 1000, 2000).faults) == 100
    assert checked(b"").faults == [JobFault("empty_file", "The input file has no requests.")]
