"""What every row of the table of formats must do, for ask, show and batch, whatever its name is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.run_format import create_run_format
from chatpipe.errors import Status, UsageFault
from chatpipe.flags.format import ends_texts
from chatpipe.inputs import values
from chatpipe.inputs.place import Source
from chatpipe.options.output import (
    ANSWER_FORMATS,
    FORMATS,
    PROBLEM_FORMATS,
    REQUEST_FORMATS,
    RUN_FORMATS,
    ConsoleOptions,
    FormatOptions,
    OutputOptions,
)
from chatpipe.options.server import ServerOptions
from chatpipe.output.curl import UnsentRequest, format_request
from chatpipe.output.delivery import Delivery
from chatpipe.output.formats import FormatWriter, create_writer, decide_stream, writer_class
from chatpipe.output.player import RecordingPlayer
from chatpipe.output.problems import format_problem
from chatpipe.output.target import open_target
from chatpipe.response.assemble import Assembly
from chatpipe.response.capture import read_capture
from chatpipe.schema.check import Problem
from chatpipe.schema.documents import LocatedProblem
from chatpipe.server import endpoints
from chatpipe.system.console import Console
from chatpipe.wire.answer import Answer
from output.collected import Sink
from support.refusals import refused

pytestmark = pytest.mark.usefixtures("folder")

ANSWERS = pytest.mark.parametrize("format", ANSWER_FORMATS)
RUNS = pytest.mark.parametrize("format", [name for name in RUN_FORMATS if FORMATS[name].sends])

CALL = {"id": "k", "type": "function", "function": {"name": "called", "arguments": "{}"}}
TEXT = "a\n```\nb\n```"
# The text, with a NUL, in the formats that have one.
ENDED_BY_NUL = {"text": b"a\n```\nb\n```\0", "code": b"b\n\0"}
MESSAGE = {"role": "assistant", "content": TEXT, "audio": {"id": "a", "data": "AAEC", "transcript": "a"}}


def completion(**message: Any) -> dict[str, Any]:
    """An answer that has something for every format."""
    logprobs = {"content": [{"token": "a", "logprob": -1}]}
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {
        "index": 0,
        "message": MESSAGE | message,
        "logprobs": logprobs,
        "finish_reason": reason,
    }
    return {"id": "c", "model": "m", "choices": [choice], "usage": {"total_tokens": 5}}


def chunks() -> list[dict[str, Any]]:
    """The same answer as a stream."""
    whole = completion()
    choice = whole["choices"][0]
    head = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    first = {"index": 0, "delta": choice["message"], "logprobs": choice["logprobs"], "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return [{**head, "choices": [first]}, {**head, "choices": [last], "usage": whole["usage"]}]


def delivered(format: str, answer: Answer) -> tuple[bytes, int]:
    """The bytes of an answer and its status. A stream is passed on before its end."""
    with open_target(OutputOptions("out"), (), escape=False) as out:
        delivery = Delivery(out, FormatOptions(format), Console(ConsoleOptions()))
        if answer.body is None:
            for chunk in chunks():
                payload = orjson.dumps(chunk)
                delivery.raw(b"data: " + payload + b"\n\n")
                delivery.chunk(payload, chunk)
            delivery.raw(b"data: [DONE]\n\n")
        fault = delivery.finish(answer)
        out.replace()
    return Path("out").read_bytes(), Status.OK if fault is None else fault.status


def streamed() -> Answer:
    assembly = Assembly()
    for chunk in chunks():
        assembly.add(chunk)
    return Answer(assembly.completion(), None)


def in_one_piece(**message: Any) -> Answer:
    value = completion(**message)
    return Answer(value, orjson.dumps(value))


def shown(format: str, recording: bytes) -> bytes:
    """The output of show for lines of a recording."""
    with open_target(OutputOptions("shown"), (), escape=False) as out:
        player = RecordingPlayer(
            lambda: Delivery(out, FormatOptions(format), Console(ConsoleOptions())),
        )
        lines: Iterator[Source] = (
            Source("r", line, number) for number, line in enumerate(recording.splitlines(), 1)
        )
        player.play(read_capture(lines))
        assert player.conclude(out, Console(ConsoleOptions())) == Status.OK
    return Path("shown").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_is_offered_somewhere(format: str) -> None:
    row = FORMATS[format]
    assert row.writer or row.run_position or row.in_map


def test_positions_in_runs_are_all_different() -> None:
    positions = [row.run_position for row in FORMATS.values() if row.run_position]
    assert sorted(positions) == list(range(1, len(positions) + 1))


@ANSWERS
def test_an_answer_is_written_to_its_end(format: str) -> None:
    """Everything is at the sink when end() returns, and what is streamed when chunk() returns."""
    row = FORMATS[format]
    sink = Sink()
    writer = create_writer(FormatOptions(format), sink, lambda text: None)
    for chunk in chunks():
        writer.raw(b"data: " + orjson.dumps(chunk) + b"\n\n")
        writer.chunk(orjson.dumps(chunk), chunk)
    assert bool(sink.data) == (row.streams or row.is_audio)
    writer.end(completion(tool_calls=[CALL]), None)
    assert sink.data
    assert row.is_audio or sink.data.endswith(b"\n")


@ANSWERS
def test_an_answer_in_one_piece_is_written(format: str) -> None:
    row = FORMATS[format]
    sink = Sink()
    answer = in_one_piece(tool_calls=[CALL])
    create_writer(FormatOptions(format), sink, lambda text: None).end(answer.completion or {}, answer.body)
    assert sink.data
    assert row.is_audio or sink.data.endswith(b"\n")


@ANSWERS
def test_a_good_answer_is_status_0(format: str) -> None:
    assert delivered(format, in_one_piece())[1] == Status.OK
    assert delivered(format, streamed())[1] == Status.OK


# These show one other part of an answer and accept its calls, which are then seen nowhere.
ANOTHER_PART = {"string", "logprobs", "usage"}


@ANSWERS
def test_tool_calls_are_never_lost(format: str, capfd: pytest.CaptureFixture[str]) -> None:
    """They are in the output, in the partial file or on stderr. Omitted, they are a fault."""
    out, status = delivered(format, in_one_piece(content=None, audio=None, tool_calls=[CALL]))
    omitted = FORMATS[format].omits_calls
    seen = out.decode() + capfd.readouterr().err
    assert ("called" in seen) == (format not in ANOTHER_PART)
    assert status == (Status.TOOL_CALLS if omitted else Status.OK)


@ANSWERS
def test_show_writes_a_recorded_answer_as_ask_does(format: str) -> None:
    recorded = b"".join(orjson.dumps(chunk) + b"\n" for chunk in chunks())
    assert shown(format, recorded) == delivered(format, streamed())[0]
    answer = in_one_piece()
    assert shown(format, answer.body or b"") == delivered(format, answer)[0]


@ANSWERS
def test_a_format_that_needs_a_stream_asks_for_one(format: str) -> None:
    body: dict[str, Any] = {"stream": False}
    row = FORMATS[format]
    if row.needs_stream:
        assert row.streams
        with refused(UsageFault, what=f"format '{format}' needs a stream"):
            decide_stream(body, FormatOptions(format))
    body = {}
    decide_stream(body, FormatOptions(format))
    assert body == ({"stream": True} if row.streams else {})


@pytest.mark.parametrize("format", FORMATS)
def test_null_ends_texts_only(format: str) -> None:
    if FORMATS[format].is_text:
        assert ends_texts(True, format)
        sink = Sink()
        create_writer(FormatOptions(format, null=True), sink, lambda text: None).end(completion(), b"{}")
        assert sink.data == ENDED_BY_NUL[format]
    else:
        with refused(UsageFault, what=f"format '{format}' has no text to end"):
            ends_texts(True, format)


@ANSWERS
@pytest.mark.parametrize("streamed", [False, True])
def test_reasoning_goes_to_stderr_once(
    format: str, streamed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_target(OutputOptions("out"), (), escape=True) as out:
        delivery = Delivery(out, FormatOptions(format, reasoning="stderr"), Console(ConsoleOptions()))
        value = completion(reasoning_content="hm")
        if streamed:
            for delta in ({"reasoning_content": "h"}, {"reasoning_content": "m"}, {"content": "b"}):
                delivery.chunk(b"{}", {"choices": [{"index": 0, "delta": delta}]})
        delivery.finish(Answer(value, None if streamed else orjson.dumps(value)))
    assert capfd.readouterr().err == "hm\n"


@RUNS
def test_a_run_writes_one_record_for_each_line(format: str) -> None:
    """A good answer and a failed line each have one. It is the same when it is made of the result line."""
    run_format = create_run_format(FormatOptions(format))
    builder = ResultBuilder(frozenset(), FORMATS[format])
    item = Item(1, "line-1", {"model": "m", "messages": []})
    good = builder.of_answer(item, "f", in_one_piece(), 0.1)
    bad = builder.of_answer(item, "f", in_one_piece(content="", audio=None), 0.1)
    assert (good.is_good, bad.is_good) == (True, False)
    assert run_format.from_result_lines is not None
    for result in (good, bad):
        record = run_format.row(result)
        assert record.endswith(b"\n")
        assert run_format.from_result_lines(result.line + b"\n") == record
        assert FORMATS[format].is_text or record.count(b"\n") == 1
    assert run_format.head() == b""


def test_a_run_replaces_half_a_character_as_one_call_does() -> None:
    value = completion(content="a\ud83d")
    answer = Answer(value, values.dumps(value))
    result = ResultBuilder(frozenset(), FORMATS["text"]).of_answer(Item(1, "line-1", {}), "f", answer, 0.1)
    assert create_run_format(FormatOptions("text")).row(result) == delivered("text", answer)[0]


@RUNS
def test_a_run_hands_on_tool_calls_or_fails_the_line(format: str) -> None:
    builder = ResultBuilder(frozenset(), FORMATS[format])
    item = Item(1, "line-1", {"model": "m", "messages": []})
    result = builder.of_answer(item, "f", in_one_piece(content=None, audio=None, tool_calls=[CALL]), 0.1)
    assert result.is_good != FORMATS[format].calls_are_final
    assert b"called" in result.line


@RUNS
def test_a_record_without_a_place_of_its_own_needs_the_order(format: str) -> None:
    """Only a result line says which line it belongs to."""
    assert FORMATS[format].needs_order != FORMATS[format].writes_result_lines


@ANSWERS
def test_the_writer_of_a_format_is_found(format: str) -> None:
    assert issubclass(writer_class(format), FormatWriter)


def test_no_two_formats_share_a_writer() -> None:
    for one, other in itertools.combinations(ANSWER_FORMATS, 2):
        assert writer_class(one) is not writer_class(other)


@pytest.mark.parametrize("format", REQUEST_FORMATS)
def test_build_writes_the_body_in_every_format(format: str) -> None:
    options = ServerOptions(base_urls=("http://127.0.0.1:1/v1",))
    body = {"model": "m", "messages": [], "stream": True}
    request = UnsentRequest(body, "line-1", endpoints.resolve_endpoints(options, {}, ())[0], options, {})
    text = format_request(format, request, print)
    assert orjson.dumps(body) in text
    assert text.endswith(b"\n")


@pytest.mark.parametrize("format", PROBLEM_FORMATS)
def test_check_writes_a_problem_on_one_line_in_every_format(format: str) -> None:
    problem = Problem("/a\nb", "type", "is a string", "", "error")
    line = format_problem(format, LocatedProblem("f.jsonl", 3, 1, problem))
    assert line.count(b"\n") == 1
    assert b"f.jsonl" in line
    assert b"is a string" in line
