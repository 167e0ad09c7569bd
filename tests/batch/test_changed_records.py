"""Recorded answers that somebody changed by hand, or that a crash damaged: passed over, with a note."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.result_lines import records
from support.process import Done, run

DEEP: Any = json.loads("[" * 300 + "]" * 300)
VALUES: tuple[Any, ...] = (
    -1,
    1.5,
    10**400,
    True,
    None,
    "x",
    "\ud800",
    "\0",
    [],
    [None],
    {},
    {"a": [1]},
    DEEP,
)
ECHO = ("-p", "echo", "-m", "m", "in.jsonl")
HEADER = b'{"chatpipe_journal":1,"chatpipe":"0.1.0"}\n'


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a document, but for that to the document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*above, key)
        yield from paths(each, (*above, key))


def changed(record: Any, path: tuple[Any, ...], value: Any) -> bytes:
    """The line of a record with another value at a path."""
    copy = json.loads(json.dumps(record))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(copy, separators=(",", ":")).encode() + b"\n"


def answered_records(folder: Path, prompts: int) -> list[Any]:
    """Records of as many prompts, each with the usage of an earlier turn."""
    lines = (json.dumps({"prompt": f"p{number}"}) + "\n" for number in range(prompts))
    (folder / "in.jsonl").write_text("".join(lines))
    assert run("batch", *ECHO, "-o", "first", cwd=folder).status == 0
    recorded = records((folder / "first").read_bytes())
    for record in recorded:
        record["chatpipe"].update(turns=2, earlier_usage=[{"prompt_tokens": 3, "total_tokens": 3}])
    return recorded


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("out", ()),
        ("old", ("--match", "id")),
        ("out.journal", ("--max-cost", "9", "--prices", "prices")),
    ],
)
def test_any_value_in_any_field_is_no_bug(file: str, options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "prices").write_text("[m]\ninput=1.0\noutput=2.0\n")
    (one,) = answered_records(tmp_path, 1)
    ways = [(path, value) for path in paths(one) for value in VALUES]
    recorded = answered_records(tmp_path, len(ways) + 1)
    lines = [changed(record, *way) for record, way in zip(recorded[1:], ways, strict=True)]
    first = changed(recorded[0], ("id",), "x")
    (tmp_path / file).write_bytes((HEADER if file == "out.journal" else b"") + first + b"".join(lines))

    reuse = ("--reuse", "old") if file == "old" else ()
    done = run("batch", *ECHO, "-o", "out", *reuse, *options, cwd=tmp_path)

    assert done.status == 0, done.stderr[-500:]
    made = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert [record["custom_id"] for record in made] == [f"line-{line + 1}" for line in range(len(recorded))]
    assert [record["error"] for record in made] == [None] * len(recorded)
    assert all(isinstance(record["response"]["body"]["choices"], list) for record in made)


DAMAGE: dict[str, tuple[bytes, bytes]] = {
    "no record": (b"garbage\n", b"passed over a line that is not a record"),
    "no metadata": (
        b'{"custom_id":"a","response":null,"chatpipe":"x"}\n',
        b"passed over a line that is not a record",
    ),
    "zeros": (bytes(80) + b"\n\n" + bytes(9) + b"\n", b"passed over 2 lines that are not records, the first"),
    "a torn end": (b'{"id":"torn', b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_line_that_is_passed_over_is_named(kind: str, tmp_path: Path) -> None:
    data, note = DAMAGE[kind]
    answered_records(tmp_path, 2)
    (tmp_path / "old").write_bytes((tmp_path / "first").read_bytes() + data)
    done = run("batch", *ECHO, "-o", "out", "--reuse", "old", cwd=tmp_path)
    assert done == Done(0, b"", b"chatpipe: old:3: " + note + b"\n" if note else b"")


def test_an_answer_that_is_gone_is_bought_again_and_said(tmp_path: Path) -> None:
    recorded = answered_records(tmp_path, 3)
    lines = [changed(record, ("response", "body"), -1) for record in recorded[1:]]
    (tmp_path / "out.journal").write_bytes(HEADER + changed(recorded[0], ("id",), "x") + b"".join(lines))
    done = run("batch", *ECHO, "-o", "out", cwd=tmp_path)
    note = b"chatpipe: out.journal:3: passed over 2 lines that are not records, the first\n"
    assert done == Done(0, b"", note)
    assert [record["response"]["body"] != -1 for record in records((tmp_path / "out").read_bytes())] == [
        True
    ] * 3


def test_the_way_out_of_a_journal_without_its_first_page_works(tmp_path: Path) -> None:
    recorded = answered_records(tmp_path, 3)
    lines = b"".join(changed(record, ("id",), "x") for record in recorded)
    (tmp_path / "out.journal").write_bytes(bytes(4096) + b'"}}\n' + lines)
    done = run("batch", *ECHO, "-o", "out", cwd=tmp_path)
    assert done.status == 65
    assert b"mv out.journal out.journal.old, then add --reuse out.journal.old " in done.stderr
    (tmp_path / "out.journal").rename(tmp_path / "out.journal.old")
    done = run("batch", *ECHO, "-o", "out", "--reuse", "out.journal.old", "--no-send", cwd=tmp_path)
    assert (done.status, len(records((tmp_path / "out").read_bytes()))) == (0, 3)
