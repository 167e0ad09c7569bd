"""Every sample stream, whole, in pieces and cut short, comes to what is written beside it."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

import pytest

from response.streams import NAMES, SHARED, decode, expected, fold, needs_shared, raw

LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def with_line_ends(data: bytes, end: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", end)


def test_every_stream_has_its_expectation() -> None:
    assert len(NAMES) == 34
    for name in NAMES:
        assert expected(name)["completion"]["object"] == "chat.completion"


@pytest.mark.parametrize("name", NAMES)
def test_whole_stream_comes_to_what_is_written_beside_it(name: str) -> None:
    assert asdict(fold([raw(name)])) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_stream_byte_by_byte(name: str) -> None:
    assert asdict(fold(bytewise(raw(name)))) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_stream_split_in_two_at_every_place(name: str) -> None:
    data = raw(name)
    whole = decode([data])
    assert len(whole[0]) == expected(name)["events"]
    for at in range(len(data) + 1):
        assert decode([data[:at], data[at:]]) == whole


@pytest.mark.parametrize("name", NAMES)
def test_stream_in_random_pieces(name: str) -> None:
    data, chance = raw(name), random.Random(name)
    whole = decode([data])
    for _ in range(20):
        places = sorted(chance.choices(range(len(data) + 1), k=chance.randrange(1, 40)))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        assert decode(pieces) == whole  # some of them empty


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("name", NAMES)
def test_stream_with_each_kind_of_line_end(name: str, end: str) -> None:
    data = with_line_ends(raw(name), LINE_ENDS[end])
    assert asdict(fold([data])) == expected(name)
    assert asdict(fold(bytewise(data))) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_stream_cut_short_gives_the_first_of_its_events(name: str) -> None:
    data = raw(name)
    whole, _ = decode([data])
    seen = 0
    for at in range(len(data)):
        events, _ = decode([data[:at]])
        assert events == whole[: len(events)]
        assert len(events) >= seen, "an event that was whole is lost by a later cut"
        seen = len(events)
    assert seen >= len(whole) - 1


@needs_shared
@pytest.mark.parametrize(
    ("name", "events", "content", "finished", "done"),
    [
        ("azure-filter", 8, "Color is", True, True),
        ("azure-filter-blocked", 5, "Hey", True, True),
        ("content-filter-finish", 4, "The first step", True, True),
        ("error-mid-stream", 3, "Partial ans", False, False),
        ("error-mid-stream-llamacpp", 3, "Par", False, False),
        ("error-mid-stream-openrouter", 2, "Par", False, False),
        ("error-mid-stream-vllm", 4, "Partial", False, True),
        ("function-call-legacy", 5, None, True, True),
        ("llamacpp-timings", 6, "Hi!", True, True),
        ("logprobs", 4, "Hi", True, True),
        ("n2-interleaved", 9, "Heads.", True, True),
        ("reasoning-content", 7, "9.8 is greater.", True, True),
        ("reasoning-ollama", 7, "Hello!", True, True),
        ("refusal", 5, "", True, True),
        ("seed-stream", 4, "Hello", True, True),
        ("sse-bom", 3, "ok", True, True),
        ("sse-cr-only", 4, "AB", True, True),
        ("sse-crlf-multiline", 5, "no space two lines", True, True),
        ("sse-done-no-blank-line", 3, "ok", True, True),
        ("sse-keepalive", 4, "pong", True, True),
        ("sse-no-done", 3, "complete but unterminated", True, False),
        ("sse-truncated", 2, "whole", False, False),
        ("sse-utf8", 7, "héllo 世界 \U0001f469\u200d\U0001f4bb\u2028line\x85sep\x0bx", True, True),
        ("tool-calls-no-index", 4, None, True, True),
        ("tool-calls-parallel", 10, None, True, True),
        ("usage-last-chunk", 7, "Hi there.", True, True),
    ],
)
def test_stream_of_the_api_notes(
    name: str, events: int, content: str | None, finished: bool, done: bool
) -> None:
    data = (SHARED / f"{name}.sse").read_bytes()
    for pieces in ([data], bytewise(data)):
        result = fold(pieces)
        assert (result.events, result.finished, result.done) == (events, finished, done)
        assert result.completion["choices"][0]["message"]["content"] == content


@needs_shared
def test_parallel_tool_calls_of_the_api_notes() -> None:
    data = (SHARED / "tool-calls-parallel.sse").read_bytes()
    assembled = json.loads((SHARED / "tool-calls-parallel.assembled.json").read_text())
    assert fold([data]).completion["choices"] == assembled["choices"]


@needs_shared
def test_characters_cut_where_the_api_notes_say() -> None:
    data = (SHARED / "sse-utf8.sse").read_bytes()
    notes = json.loads((SHARED / "sse-utf8.splits.json").read_text())
    for at in [*notes["inside_a_character"], *notes["between_the_two_newlines_of_an_event"]]:
        completion = fold([data[:at], data[at:]]).completion
        assert completion["choices"][0]["message"]["content"] == notes["text"]
