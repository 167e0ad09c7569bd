"""The same bytes come to the same answer from a server (`ask`) and from a recording (`show`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.inputs.place import Source
from chatpipe.options.output import ANSWER_FORMATS, ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.output.delivery import Delivery
from chatpipe.output.player import RecordingPlayer
from chatpipe.output.target import open_target
from chatpipe.response.capture import read_capture
from chatpipe.system.console import Console
from exchange.scripted import served, stream
from support.parametrize import cases

Json = dict[str, Any]
DONE = "[DONE]"
ROLE = {"role": "assistant", "content": ""}


def piece(
    delta: Any, finish: str | None = None, *, index: Any = 0, id: str | None = "a", **fields: Any
) -> Json:
    """A chunk with one choice. An index of ... is left out, as is an id of None."""
    choice = {"delta": delta, "finish_reason": finish}
    if index is not ...:
        choice["index"] = index
    return {**({} if id is None else {"id": id}), "choices": [choice], **fields}


def text(content: str, finish: str | None = None, **fields: Any) -> Json:
    return piece({"content": content}, finish, **fields)


def foundry(number: int, content: str, finish: str | None = None) -> Json:
    """A chunk of Foundry Local: id and index count, the delta comes twice."""
    delta = {"role": "assistant", "content": content, "tool_calls": []}
    choice = {"delta": delta, "message": delta, "index": number, "finish_reason": finish}
    return {"id": f"chat.id.{number}", "choices": [choice]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
END = piece({}, "stop")
ONE = [piece(ROLE), text("on"), text("e"), END]

# What comes of each, choice by choice; the contents of two choices stand in one text.
STREAMS: dict[str, tuple[list[Any], str]] = {
    "plain": ([*ONE, DONE], "one\n"),
    "no [DONE]": (ONE, "one\n"),
    "usage without choices": ([*ONE, {"id": "a", "choices": [], "usage": USAGE}, DONE], "one\n"),
    "usage with an empty delta": ([*ONE, piece({}, usage=USAGE), DONE], "one\n"),
    "usage with a role": ([*ONE, piece(ROLE, usage=USAGE), DONE], "one\n"),
    "usage with a role and another id": ([*ONE, piece(ROLE, id="u", usage=USAGE), DONE], "one\n"),
    "usage under another id": ([*ONE, {"id": "u", "choices": [], "usage": USAGE}, DONE], "one\n"),
    "usage with each chunk": ([text("one", usage=USAGE), {**END, "usage": USAGE}, DONE], "one\n"),
    "an id for each chunk": (
        [text("on", id="1"), text("e", id="2"), piece({}, "stop", id="3"), DONE],
        "one\n",
    ),
    "an id and a role for each chunk": (
        [piece({**ROLE, "content": each}, id=each) for each in "one"] + [piece(ROLE, "stop", id="x"), DONE],
        "one\n",
    ),
    "an id for each choice": (
        [
            *(
                piece(ROLE, id="x"),
                piece(ROLE, id="y", index=1),
                text("a", id="x"),
                text("b", id="y", index=1),
            ),
            *(piece({}, "stop", id="x"), piece({}, "stop", id="y", index=1), DONE),
        ],
        "a\nb\n",
    ),
    "choice after choice, an id for each": (
        [
            *(piece(ROLE, id="x"), text("a", "stop", id="x")),
            *(piece(ROLE, id="y", index=1), text("b", "stop", id="y", index=1), DONE),
        ],
        "a\nb\n",
    ),
    "choice after choice, a chunk each": (
        [text("a", "stop"), text("b", "stop", index=1), text("c", "stop", index=2), DONE],
        "a\nb\nc\n",
    ),
    "finish_reason twice": ([*ONE, END, DONE], "one\n"),
    "finish_reason twice, the second under another id": ([*ONE, piece({}, "stop", id="z"), DONE], "one\n"),
    "finish_reason with every chunk": ([text(each, "stop", id=None) for each in "one"] + [DONE], "one\n"),
    "content behind the end": ([piece(ROLE), text("on"), END, text("e"), DONE], "one\n"),
    "filter results behind the end": (
        [*ONE, {"id": "", "choices": [{"index": 0, "content_filter_offsets": {}}]}, DONE],
        "one\n",
    ),
    "filter results before the beginning": (
        [{"id": "", "choices": [], "prompt_filter_results": []}, *ONE, DONE],
        "one\n",
    ),
    "no ids": ([text("on", id=None), text("e", id=None), piece({}, "stop", id=None), DONE], "one\n"),
    "events that say nothing": ([None, {}, *ONE, {"choices": None}, None, piece(None), DONE], "one\n"),
    "index null": ([text("one", index=None), piece({}, "stop", index=None), DONE], "one\n"),
    "index left out": ([text("one", index=...), piece({}, "stop", index=...), DONE], "one\n"),
    "index as text": ([text("one", index="0"), piece({}, "stop", index="0"), DONE], "one\n"),
    "index that counts": (
        [text(each, index=at) for at, each in enumerate("one")] + [piece({}, "stop", index=3), DONE],
        "one\n",
    ),
    "index that counts from 1": (
        [text(each, index=at, id="") for at, each in enumerate("on", 1)] + [text("e", "length", index=3)],
        "one\n",
    ),
    "index that counts two chunks": ([text("one"), piece({}, "stop", index=1), DONE], "one\n"),
    "index that counts, cut": ([text(each, index=at) for at, each in enumerate("one")], "one\n"),
    "Foundry Local": ([foundry(0, "on"), foundry(1, "e"), foundry(2, "", "stop"), DONE], "one\n"),
    "a whole completion": (
        [
            {"id": "a", "choices": [{"index": 0, "message": {"content": "one"}, "finish_reason": "stop"}]},
            DONE,
        ],
        "one\n",
    ),
    "the answer once more as a message": (
        [*ONE, {"id": "a", "choices": [{"index": 0, "message": {"content": "one"}}]}, DONE],
        "one\n",
    ),
    "reasoning": ([piece({"reasoning": "hm"}), *ONE, DONE], "one\n"),
    "tool calls": (
        [piece({**ROLE, "tool_calls": [CALL]}), piece({}, "tool_calls"), END, DONE],
        '{"id":"c","name":"f","arguments":{}}\n',
    ),
    "usage behind [DONE]": ([*ONE, DONE, {"id": "a", "choices": [], "usage": USAGE}], "one\n"),
    "an error in the middle": ([text("on"), {"error": {"message": "oops", "code": 500}}], "on\n"),
    "no choice at all": ([{}, {"id": "a", "choices": []}], ""),
    "cut": ([piece(ROLE), text("on")], "on\n"),
}
# Streams that are another answer as lines of chunks, each with its reason.
NOT_IN_LINES = {
    "finish_reason with every chunk": "a line may be an answer of its own",
    "a whole completion": "its line is the body of an answer",
    "the answer once more as a message": "its line is the body of an answer",
    "usage behind [DONE]": "`-f chunks` ends at [DONE]",
    "an error in the middle": "its line is a failure of its own",
}
EVERY = pytest.mark.parametrize("name", STREAMS)
# `ask` reads on behind [DONE] for usage, `show` for chunks. These formats show it.
BEHIND_DONE = {("usage behind [DONE]", format) for format in ("chunks", "json", "usage")}


def events(values: list[Any]) -> bytes:
    return b"".join(
        b"data: " + (b"[DONE]" if each == DONE else orjson.dumps(each)) + b"\n\n" for each in values
    )


def asked(data: bytes, format: str) -> tuple[bytes, list[int]]:
    """The output of `ask` for a reply, and the statuses of the faults."""
    with open_target(OutputOptions("asked"), (), escape=False) as out:
        delivery = Delivery(out, FormatOptions(format), Console(ConsoleOptions()))
        fault = delivery.finish(served(stream(data)).ask(delivery, retries=0))
        out.replace()
    return Path("asked").read_bytes(), [] if fault is None else [fault.status]


def shown(data: bytes, format: str) -> tuple[bytes, list[int]]:
    """The output of `show` for a recording, and the statuses of the faults."""
    found: Iterator[Source] = (
        Source("r", line.rstrip(b"\n"), number, b"\n")
        for number, line in enumerate(data.splitlines(keepends=True), 1)
    )
    with open_target(OutputOptions("shown"), (), escape=False) as out:
        player = RecordingPlayer(lambda: Delivery(out, FormatOptions(format), Console(ConsoleOptions())))
        player.play(read_capture(found))
        out.replace()
    return Path("shown").read_bytes(), [fault.status for fault in player.faults]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "format"),
    [pair for pair in product(STREAMS, ANSWER_FORMATS) if pair not in BEHIND_DONE],
)
def test_show_writes_what_ask_wrote(name: str, format: str) -> None:
    data = events(STREAMS[name][0])
    assert shown(data, format) == asked(data, format)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("format", ["text", "json", "message", "tool-calls", "usage", "chunks"])
@pytest.mark.parametrize("name", [name for name in STREAMS if name not in NOT_IN_LINES])
def test_the_chunks_of_an_answer_are_the_answer(name: str, format: str) -> None:
    """`ask --raw`, and later `show`. Its lines know of no [DONE]."""
    values = STREAMS[name][0]
    chunks, _ = asked(events(values), "chunks")
    assert shown(chunks, format)[0] == asked(events(values), format)[0]


@pytest.mark.usefixtures("folder")
@EVERY
def test_a_stream_is_one_answer(name: str) -> None:
    values, expected = STREAMS[name]
    assert asked(events(values), "text")[0] == expected.encode()
    assert asked(events(values), "json")[0].count(b"\n") == (name != "no choice at all")


FIRST = [piece(ROLE, id="1"), text("one", id="1"), piece({}, "stop", id="1")]
SECOND = [piece(ROLE, id="2"), text("two", id="2"), piece({}, "stop", id="2")]
LATE = {"id": "1", "choices": [], "usage": USAGE}
FILTER = {"id": "", "choices": [], "prompt_filter_results": []}
NO_ROLE = [text("one", id="x"), piece({}, "stop", id="1"), text("two", id="y"), piece({}, "stop", id="2")]
WHOLE = {"id": "2", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}


def lines(values: list[Any]) -> bytes:
    return b"".join(orjson.dumps(each) + b"\n" for each in values)


@pytest.mark.usefixtures("folder")
@cases(
    ("recording", "ids"),
    {
        "streams": (events([*FIRST, DONE, *SECOND, DONE]), "12"),
        "streams without [DONE]": (events([*FIRST, *SECOND]), "12"),
        "one with, one without": (events([*FIRST, DONE, *SECOND]), "12"),
        "usage behind the first": (events([*FIRST, LATE, *SECOND, DONE]), "12"),
        "filter results before the second": (lines([*FIRST, LATE, FILTER, *SECOND]), "12"),
        "lines": (lines([*FIRST, *SECOND]), "12"),
        "lines, the same id": (lines([*FIRST, *FIRST]), "11"),
        "events, the same id": (events([*FIRST, *FIRST]), "11"),
        "lines of one chunk each": (lines([text("one", "stop", id="1"), text("two", "stop", id="2")]), "12"),
        "and of one id": (lines([text("one", "stop", id="1"), text("two", "stop", id="1")]), "11"),
        "neither role nor id": (lines([text(each, "stop", id=None) for each in "ab"]), "--"),
        "an id for each chunk": (lines(NO_ROLE), "12"),
        "events and lines": (events([*FIRST, DONE]) + lines(SECOND) + events([*FIRST, DONE]), "121"),
        "cut, then whole": (events(FIRST[:2]) + events(SECOND), "12"),
        "cut lines, then whole": (lines(FIRST[:2]) + lines(SECOND), "12"),
        "whole, then cut": (lines(SECOND) + lines(FIRST[:2]), "21"),
        "two choices, then two": (
            lines([text(each, "stop", id=id, index=at) for id in "12" for at, each in enumerate("ab")]),
            "12",
        ),
        "a completion between": (lines([*FIRST, WHOLE, *FIRST]), "121"),
    },
)
def test_answers_in_a_row_are_told_apart(recording: bytes, ids: str) -> None:
    made = [orjson.loads(line) for line in shown(recording, "json")[0].splitlines()]
    assert "".join(each.get("id", "-") for each in made) == ids
