"""input_parts.py: how a file is split, and the lines that the API would refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatpipe.errors import BadInput, Problems
from chatpipe.jobs.input_parts import FilePart, InputPart, PartReader
from chatpipe.jobs.job_dialects import JobDialect
from support.parametrize import cases

URL = "/v1/chat/completions"


def line(custom_id: object = "a", method: object = "POST", url: object = URL, **body: object) -> str:
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


def read(folder: Path, text: str, dialect: JobDialect | None = None) -> list[FilePart]:
    path = folder / "in.jsonl"
    path.write_bytes(text.encode())
    with path.open("rb") as file:
        return PartReader("in.jsonl", dialect or JobDialect(), command).read(file)


def command(*words: str) -> str:
    return " ".join(("chatpipe", *words, "-p", "p"))


def content(folder: Path, part: FilePart) -> str:
    with (folder / "in.jsonl").open("rb") as file:
        return b"".join(part.pieces(file.fileno())).decode()


def names(text: str) -> str:
    return "".join(json.loads(each)["custom_id"] for each in text.splitlines())


@cases(
    ("blocks", "runs"),
    {
        "one by one": ([[1], [2], [4]], [[1, 2], [4, 1]]),
        "neighbours": ([[2, 3, 4], [5, 6]], [[2, 5]]),
        "a gap between blocks": ([[1, 2], [4, 5]], [[1, 2], [4, 2]]),
        "a gap in a block": ([[1, 3, 4], [5, 9]], [[1, 1], [3, 3], [9, 1]]),
    },
)
def test_a_part_knows_its_lines_in_runs(blocks: list[list[int]], runs: list[list[int]]) -> None:
    part = InputPart(URL, None)
    for numbers in blocks:
        part.add(10, numbers, b"")
    assert (part.numbers, part.first, part.last) == (runs, runs[0][0], blocks[-1][-1])


@pytest.mark.parametrize(
    ("lines", "most_lines", "parts"),
    [
        ([line("a"), line("b")], 9, ["ab"]),
        ([line("a"), "", line("b"), " ", line("c")], 2, ["ab", "c"]),
        ([line("a", model="m"), line("b", model="n"), line("c", model="m")], 9, ["ac", "b"]),
        ([line("a"), line("b", url="/v4/chat/completions"), line("c")], 9, ["ac", "b"]),
        ([line("a", model="m"), line("b")], 9, ["a", "b"]),
    ],
)
def test_lines_are_split_by_model_url_and_number(
    tmp_path: Path, lines: list[str], most_lines: int, parts: list[str]
) -> None:
    found = read(tmp_path, "\n".join(lines), JobDialect(most_lines=most_lines))
    contents = [content(tmp_path, part) for part in found]
    assert [names(each) for each in contents] == parts
    assert [part.size for part in found] == [len(each.encode()) for each in contents]
    assert [part.count for part in found] == [len(each) for each in parts]


def test_parts_by_bytes_keep_below_the_limit(tmp_path: Path) -> None:
    lines = [line(str(n), pad="\u00e4" * n) for n in range(100)]
    found = read(tmp_path, "\n".join(lines) + "\n", JobDialect(most_bytes=3000))
    assert all(part.size <= 3000 * 0.95 for part in found)
    assert "".join(content(tmp_path, part) for part in found) == "\n".join(lines) + "\n"


def test_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    (part,) = read(tmp_path, f"\ufeff{line('a')}\r\n{line('b')}")
    assert names(content(tmp_path, part)) == "ab"
    assert (part.first, part.last) == (1, 2)


def test_a_long_part_comes_in_pieces(tmp_path: Path) -> None:
    lines = [line(str(n), pad="x" * 1000) for n in range(1000)]
    (part,) = read(tmp_path, "\n".join(lines) + "\n")
    with (tmp_path / "in.jsonl").open("rb") as file:
        pieces = list(part.pieces(file.fileno()))
    assert b"".join(pieces) == (tmp_path / "in.jsonl").read_bytes()
    assert 3 < len(pieces) < 10


def test_a_file_that_changes_after_it_was_read_is_noticed(tmp_path: Path) -> None:
    (part,) = read(tmp_path, line("a"))
    (tmp_path / "in.jsonl").write_text(line("b"))
    with pytest.raises(BadInput, match="the file changed while it was read"):
        content(tmp_path, part)


def test_all_lines_that_are_too_long_are_named(tmp_path: Path) -> None:
    lines = [line("a", pad="x" * 3000), line("b"), line("c", pad="x" * 3000)]
    with pytest.raises(Problems) as caught:
        read(tmp_path, "\n".join(lines), JobDialect(most_bytes=2000))
    assert [fault.place for fault in caught.value.faults] == ["in.jsonl:1", "in.jsonl:3"]
    assert str(caught.value.faults[1]).endswith("chatpipe batch in.jsonl --shard 3/1000000000 -p p")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "in.jsonl", "there are no requests"),
        ("\n \n", "in.jsonl", "there are no requests"),
        (line("a") + "\n{", "in.jsonl:2", "correct the line"),
        ("\n[1]", "in.jsonl:2", "not a Batch line"),
        ('"a prompt"', "in.jsonl:1", "not a Batch line"),
        (
            "a\nb",
            "in.jsonl:1",
            "chatpipe batch in.jsonl --lines -m MODEL -f requests -o FILE -p p writes lines",
        ),
        ('{"prompt":"a"}', "in.jsonl:1", "chatpipe batch in.jsonl -m MODEL -f requests -o FILE -p p writes"),
        (
            '{"model":"m"}',
            "in.jsonl:1",
            "chatpipe batch in.jsonl -f requests -o FILE -p p writes lines that fit",
        ),
        (
            line(None),
            "in.jsonl:1",
            "it has no custom_id: chatpipe batch in.jsonl -f requests -o FILE -p p writes",
        ),
        (line(5), "in.jsonl:1", "its custom_id is empty, or no string: write a string that no other"),
        (line(""), "in.jsonl:1", "its custom_id is empty, or no string: write a string that no other"),
        (line(url=None), "in.jsonl:1", "it has no url"),
        (line(method="GET"), "in.jsonl:1", "its method is not POST"),
        (line("a") + "\n" + line("a"), "in.jsonl:2", "the custom_id 'a' is that of another line, too"),
        (line(stream=True), "in.jsonl:1", "chatpipe batch in.jsonl --override --unset stream -f requests"),
        (line("x" * 65), "in.jsonl:1", "longer than the 64 characters"),
        (line(pad="x" * 3000), "in.jsonl:1", "the request has 3089 bytes, and a file of the provider"),
        (
            line(pad="x" * 3000),
            "in.jsonl:1",
            "at most 1900: leave it out, and send it with chatpipe batch in.jsonl --shard 1/1000000000",
        ),
    ],
)
def test_lines_that_the_api_would_refuse(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text, JobDialect(most_bytes=2000, longest_id=64))
    assert caught.value.place == place
    assert words in str(caught.value)


def test_the_longest_custom_id_is_taken(tmp_path: Path) -> None:
    (part,) = read(tmp_path, line("x" * 64), JobDialect(longest_id=64))
    assert part.count == 1
