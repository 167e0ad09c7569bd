"""result_file.py: the results in a file, found by their custom_ids."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from chatpipe.jobs import result_file
from chatpipe.jobs.result_file import ResultFile
from chatpipe.system.spool import Room, Spool
from support.parametrize import cases

A, B, C, ODD = (
    json.dumps({"id": "x", "custom_id": id_, "error": None}).encode() for id_ in ("a", "b", "c", "é\\")
)
LAST = b'{"response":{"custom_id":"b"},"custom_id":"a"}'


def file_of(*lines: bytes, end: bytes = b"\n") -> ResultFile:
    spool = Spool(Room(1 << 30))
    spool.write(b"\n".join(lines) + end)
    return ResultFile(spool)


@cases(
    ("lines", "found", "strange", "broken"),
    {
        "none": ([], {"a": 0}, 0, 0),
        "two": ([A, B], {"a": 1, "b": 1, "c": 0}, 0, 0),
        "twice": ([A, B, A], {"a": 2, "b": 1}, 0, 0),
        "blank lines": ([b"", A, b" \r", B], {"a": 1, "b": 1}, 0, 0),
        "spaces at the ends": ([b" " + A + b"\r"], {"a": 1}, 0, 0),
        "an id with escapes": ([ODD], {"é\\": 1}, 0, 0),
        "an id with half of a pair": ([b'{"custom_id":"\\ud800"}'], {"\ud800": 1}, 0, 0),
        "an id in another": ([b'{"id":"x\\",\\"custom_id\\":\\"b","custom_id":"a"}'], {"a": 1, "b": 0}, 0, 0),
        "an id with a quote": ([b'{"custom_id":"a\\",\\""}'], {'a","': 1, "a\\": 0}, 0, 0),
        "an id behind another": ([LAST], {"a": 1, "b": 0}, 0, 0),
        "text that is not ASCII": ([A[:-1] + ',"x":"é"}'.encode()], {"a": 1}, 0, 0),
        "no results": ([b"{}", b"[]", b'{"custom_id":1}'], {"a": 0}, 3, 0),
        "a line that was cut": ([A[:-1]], {"a": 0}, 1, 1),
        "a beginning that was cut": ([A[3:]], {"a": 0}, 1, 1),
        "a NUL": ([A[:-4] + b"\0" + A[-4:]], {"a": 0}, 1, 1),
        "half of a character": ([A[:-1] + b',"x":"\xc3"}'], {"a": 0}, 1, 1),
    },
)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_of_a_file(
    lines: list[bytes], found: dict[str, int], strange: int, broken: int, end: bytes
) -> None:
    file = file_of(*lines, end=end)
    assert (len(file), file.strange, file.broken) == (sum(found.values()), strange, broken)
    for custom_id, count in found.items():
        results = [json.loads(file.line(number)) for number in file.find(custom_id)]
        assert [result["custom_id"] for result in results] == [custom_id] * count


def test_many_lines_in_the_order_of_the_file() -> None:
    """More than one piece of the file, so that lines lie on the border of two."""
    lines = [json.dumps({"custom_id": f"{n % 3000}", "at": n, "x": "x" * 90}).encode() for n in range(6000)]
    file = file_of(*lines)
    for number in range(0, 3000, 7):
        results = [json.loads(file.line(each)) for each in file.find(str(number))]
        assert [each["at"] for each in results if each["custom_id"] == str(number)] == [number, number + 3000]


@cases(
    ("lines", "asked", "found"),
    {
        "in the order of the file": ([A, B, C], "bc", [1, 2]),
        "in another order": ([A, B, C], "cab", [2, 0, 1]),
        "one": ([A, B, C], "b", [1]),
        "blank lines between": ([A, b"", b"", B], "ab", [0, 1]),
        "one that is not there": ([A, B], "abc", None),
        "more than there are": ([A, B], "bc", None),
        "another first": ([A, B], "ca", None),
        "a result that comes twice": ([A, B, A], "ab", None),
        "too large together": ([A, B, C, C[:-1] + b',"x":"%b"}' % (b"x" * 900)], "abc", None),
        "no results": ([], "a", None),
    },
)
def test_several_results_at_once(
    lines: list[bytes], asked: str, found: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "_MOST_BYTES", 400)
    file = file_of(*lines)
    numbers = file.find_all(list(asked))
    assert (None if numbers is None else [*numbers]) == found
    if numbers is not None:
        results = [json.loads(line)["custom_id"] for line in file.lines(numbers) if line.strip()]
        assert results == [*asked]


@pytest.mark.parametrize("count", [10_000, 11_000, 16_000])
def test_the_index_takes_at_most_40_bytes_a_line(count: int) -> None:
    """A run has that of all its jobs."""
    spool = Spool(Room(1 << 30))
    spool.write(b"".join(b'{"custom_id":"%d"}\n' % number for number in range(count)))
    tracemalloc.start()
    try:
        file = ResultFile(spool)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(file), taken <= 40 * count) == (count, True)
