"""The table of `show`: what is in a row, and how it is made to fit."""

from __future__ import annotations

from typing import Any

from chatpipe.errors import BrokenAnswer, NoAnswer
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import FormatWriter, create_writer, writer_class
from chatpipe.response.result_line import ResultLine
from output.collected import Sink
from support.parametrize import cases

Json = dict[str, Any]


def writer(columns: int = 80) -> tuple[FormatWriter, Sink]:
    sink = Sink()
    return create_writer(FormatOptions("table", columns=columns), sink, lambda text: None), sink


def completion(content: Any = "hi", finish: str = "stop", **message: Any) -> Json:
    choice = {"index": 0, "message": {"content": content, **message}, "finish_reason": finish}
    return {"id": "c1", "choices": [choice], "usage": {"total_tokens": 5}}


def row(value: Json, line: Json | None = None, columns: int = 80) -> str:
    made, sink = writer(columns)
    if line is not None:
        made.recorded(ResultLine(line))
    made.end(value, None)
    assert len(sink.pieces) == 1
    return sink.data.decode().removesuffix("\n")


def cells(text: str) -> list[str]:
    """The cells of a row of 80 columns."""
    return [text[:16].strip(), *text[18:].split(None, 3)]


CALL = {"id": "k", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
RESULT = {"custom_id": "line-7", "chatpipe": {"outcome": "mismatch", "latency_s": 1.2345}}


@cases(
    ("value", "line", "expected"),
    {
        "a completion": (completion(), None, ["c1", "ok", "5", "-", "hi"]),
        "a result": (completion(), RESULT, ["line-7", "mismatch", "5", "1.23", "hi"]),
        "of the Batch API": (
            completion("a", "length"),
            {
                "custom_id": "x",
                "response": {"status_code": 200, "body": completion("a", "length")},
                "error": None,
            },
            ["x", "truncated", "5", "-", "a"],
        ),
        "several turns": (
            completion(),
            {"custom_id": "x", "chatpipe": {"outcome": "ok", "earlier_usage": [{"total_tokens": 7}]}},
            ["x", "ok", "12", "-", "hi"],
        ),
        "damaged": (
            completion(),
            {"custom_id": 5, "chatpipe": {"outcome": [], "latency_s": "1"}},
            ["c1", "ok", "5", "-", "hi"],
        ),
        "nothing is known": ({"choices": []}, None, ["-", "network", "-", "-"]),
        "truncated": (completion("a", "length"), None, ["c1", "truncated", "5", "-", "a"]),
        "refused": (completion(None, refusal="no"), None, ["c1", "refused", "5", "-", "no"]),
        "calls": (completion(None, tool_calls=[CALL]), None, ["c1", "tool-calls", "5", "-", "f {'a': 1}"]),
    },
)
def test_a_row(value: Json, line: Json | None, expected: list[str]) -> None:
    assert cells(row(value, line)) == expected


def test_a_failure_is_a_row() -> None:
    made, sink = writer()
    made.recorded(ResultLine({"custom_id": "x", "chatpipe": {"outcome": "http", "latency_s": 0}}))
    made.fail(NoAnswer("429: slow down"), is_end=True)
    assert cells(sink.data.decode().rstrip()) == ["x", "http", "-", "0.00", "429: slow down"]


def test_a_part_of_an_answer_is_one_that_did_not_come() -> None:
    made, sink = writer()
    made.fail(BrokenAnswer("cut"), is_end=False)
    made.end(completion("half"), None)
    assert cells(sink.data.decode().rstrip()) == ["c1", "network", "5", "-", "half"]


HEAD = "id                outcome       tokens   seconds  text"
START = "c1                ok                 5         -  "


def test_the_head() -> None:
    assert writer_class("table").head(FormatOptions("table")) == HEAD.encode() + b"\n"


@cases(
    ("content", "columns", "text"),
    {
        "fits": ("a" * 30, 80, "a" * 30),
        "one too many": ("a" * 31, 80, "a" * 29 + "…"),
        "long": ("ab " * 100_000, 80, "ab " * 9 + "ab…"),
        "lines": ("a\n\tb\r\n", 80, "a\\n\\tb\\r\\n"),
        "control characters": ("\x1b[31ma\x07\x9b\u202e\x7f", 80, "\\x1b[31ma\\x07\\u009b\\u202e\\x7f"),
        "an escape is cut": ("a" * 28 + "\n" * 9, 80, "a" * 28 + "\\…"),
        "wide": ("界" * 15, 80, "界" * 15),
        "too wide": ("界" * 16, 80, "界" * 14 + "…"),
        "wide, from an odd column": ("a" + "界" * 15, 80, "a" + "界" * 14 + "…"),
        "full width and emoji": ("\uff21😀" * 8, 80, "\uff21😀" * 7 + "…"),
        "combining": ("e\u0301" * 30, 80, "e\u0301" * 30),
        "combining, one too many": ("e\u0301" * 31, 80, "e\u0301" * 29 + "…"),
        "format characters": ("a\u200d" * 30, 80, "a\u200d" * 30),
        "one letter, many accents": ("e" + "\u0301" * 1_000, 80, "e" + "\u0301" * 119 + "…"),
        "half a character": ("\ud83d", 80, "\\ud83d"),
        "white space at the end": ("a  ", 80, "a"),
        "a wide terminal": ("a" * 200, 200, "a" * 125 + "…"),
    },
)
def test_the_text_is_cut_to_the_width(content: str | None, columns: int, text: str) -> None:
    start = START if columns == 80 else START.replace("c1", "c1" + " " * (columns // 5 - 16))
    assert row(completion(content), columns=columns) == (start + text).rstrip()


@cases(
    ("name", "shown"),
    {
        "fits": ("a" * 16, "a" * 16),
        "the end is shown": ("request-of-monday-0001", "…-of-monday-0001"),
        "wide": ("界" * 9, "…" + "界" * 7 + " "),
        "control characters": ("a\x1bb\n", "a\\x1bb\\n        "),
    },
)
def test_an_id_has_a_fifth_of_the_width(name: str, shown: str) -> None:
    found = row(completion(), {"custom_id": name, "chatpipe": {"outcome": "ok"}})
    assert found.startswith(shown + "  ok ")


@cases(
    ("columns", "expected"),
    {
        "60": (60, "…bbbbbbbbbbb  ok                 5         -  aaaaaaaaaaaaa…"),
        "53": (53, "…bbbbbbbbb  ok                 5         -  aaaaaaaa…"),
        "50": (50, "…bbbbbbbbb  ok                 5  aaaaaaaaaaaaaaa…"),
        "40": (40, "…bbbbbbb  ok                 5  aaaaaaa…"),
        "39": (39, "…bbbbbbb  ok          aaaaaaaaaaaaaaaa…"),
        "30": (30, "…bbbbbbb  ok          aaaaaaa…"),
        "20": (20, "…bbbbbbb  ok       …"),
        "1": (1, "…"),
    },
)
def test_a_narrow_table_is_no_wider_than_it_may_be(columns: int, expected: str) -> None:
    found = row(completion("a" * 20), {"custom_id": "b" * 20, "chatpipe": {"outcome": "ok"}}, columns)
    assert found == expected
