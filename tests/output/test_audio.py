"""Format `audio`: base64 cut anywhere, whole and streamed answers, and when sound is written at all."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.errors import BrokenAnswer, ChatpipeError, Status, UsageFault
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.output.audio import AudioWriter, Base64Decoder
from chatpipe.output.delivery import Delivery, finish_output
from chatpipe.output.formats import choose_format, decide_stream
from chatpipe.output.target import open_target
from chatpipe.system.console import Console
from chatpipe.wire.answer import Answer
from output.collected import Sink
from support.parametrize import cases
from support.refusals import refused

Json = dict[str, Any]
SPOKEN: Json = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


def silent(text: str) -> None:
    raise AssertionError(f"aside: {text}")


def whole(audio: Any, **message: Any) -> Json:
    console = {"role": "assistant", "content": None, "audio": audio, **message}
    return {"id": "c", "choices": [{"index": 0, "message": console, "finish_reason": "stop"}]}


def chunk(data: str | None, answer_id: str = "c", index: int = 0) -> Json:
    audio = {"id": "a"} if data is None else {"data": data}
    return {"id": answer_id, "choices": [{"index": index, "delta": {"audio": audio}}]}


def written(*chunks: Json, end: Json) -> list[bytes]:
    """The writes of chunks, then of the whole answer. What fails at the end is raised."""
    sink = Sink()
    made = AudioWriter(sink, FormatOptions("audio"), silent)
    for each in chunks:
        made.chunk(b"", each)
    made.end(end, None)
    return sink.pieces


# Base64


def play(decoder: Base64Decoder, *pieces: str) -> bytes:
    return b"".join(decoder.feed(piece) for piece in pieces) + decoder.end()


TEXTS = {
    "nothing": ("", b""),
    "three bytes": ("AAEC", b"\0\1\2"),
    "two paddings": ("AAECAw==", b"\0\1\2\3"),
    "one padding": ("AAECAwQ=", b"\0\1\2\3\4"),
    "each byte encoded for itself": ("AA==AQ==Ag==", b"\0\1\2"),
    "padding inside": ("AAE=AgME/+8=", b"\0\1\2\3\4\xff\xef"),
}


@cases(("text", "data"), TEXTS)
def test_base64_in_two_pieces_cut_anywhere(text: str, data: bytes) -> None:
    for cut in range(len(text) + 1):
        assert play(Base64Decoder(), text[:cut], text[cut:]) == data


@cases(("text", "data"), TEXTS)
def test_base64_character_by_character_leaves_as_soon_as_it_is_known(text: str, data: bytes) -> None:
    decoder = Base64Decoder()
    pieces = [decoder.feed(character) for character in text]
    assert b"".join(pieces) == data
    assert all(pieces[3::4])
    assert not any(piece for at, piece in enumerate(pieces) if at % 4 != 3)


@cases(
    "text",
    {
        "cut short": "AAE",
        "one character": "A",
        "padding in the middle of four": "AA=A",
        "padding alone": "====",
        "too much padding": "AA==A===",
        "another character": "AA!A",
        "a newline": "AA\nA",
        "not ASCII": "AAÄA",
        "the alphabet of URLs": "AA-_",
    },
)
def test_text_that_is_not_base64_is_found_however_it_is_cut(text: str) -> None:
    for cut in range(len(text) + 1):
        with pytest.raises(ValueError):  # noqa: PT011 - binascii.Error and ours
            play(Base64Decoder(), text[:cut], text[cut:])


# The writer


def test_a_whole_answer_is_one_write() -> None:
    sink = Sink()
    AudioWriter(sink, FormatOptions("audio"), silent).end(
        whole({"id": "a", "data": "AAECAw==", "transcript": "hi"}), b"{}"
    )
    assert sink.pieces == [b"\0\1\2\3"]


def test_a_streamed_answer_is_written_as_it_comes() -> None:
    sink = Sink()
    made = AudioWriter(sink, FormatOptions("audio"), silent)
    for each in (chunk(None), chunk("AAEC"), chunk("Aw"), chunk("==B"), chunk("AUG")):
        made.chunk(b"", each)
    assert sink.pieces == [b"\0\1\2", b"\3", b"\4\5\6"]
    made.end(whole({"data": "never looked at"}), None)
    assert sink.data == b"\0\1\2\3\4\5\6"


@cases(
    ("chunks", "end", "data"),
    {
        "the first of several choices": (
            [chunk("AAEC"), chunk("/////", index=1), chunk("AAEC")],
            {},
            b"\0\1\2\0\1\2",
        ),
        # One server sends it as an event, with a message in place of a delta.
        "a whole answer to a stream": ([whole({"data": "AAEC"})], {"data": "AAEC"}, b"\0\1\2"),
        "not a try that failed before a byte": (
            [chunk("AAE", "try 1"), chunk("BAUG", "try 2")],
            {"data": "BAUG"},
            b"\4\5\6",
        ),
    },
)
def test_the_sound_of_one_answer_is_written_once(chunks: list[Json], end: Json, data: bytes) -> None:
    assert b"".join(written(*chunks, end=whole(end))) == data


@pytest.mark.parametrize("data", ["AAE", "AAECA", "A!EC", "AAEC=A=="])
def test_bad_base64_in_a_whole_answer_writes_nothing(data: str) -> None:
    sink = Sink()
    with refused(BrokenAnswer, "the audio of the answer is not base64: try again"):
        AudioWriter(sink, FormatOptions("audio"), silent).end(whole({"data": data}), b"{}")
    assert sink.pieces == []


def test_bad_base64_in_a_stream_ends_the_writing() -> None:
    sink = Sink()
    made = AudioWriter(sink, FormatOptions("audio"), silent)
    for data in ("AAEC", "!!!!", "AAEC"):
        made.chunk(b"", chunk(data))
    with pytest.raises(BrokenAnswer):
        made.end(whole({"data": "AAEC"}), None)
    assert sink.pieces == [b"\0\1\2"]


@cases(
    ("message", "aside"),
    {
        "text": ({"content": "Only text."}, "Only text.\n"),
        "text with a newline": ({"content": "a\n"}, "a\n"),
        "refusal": ({"refusal": "No, sorry."}, "No, sorry.\n"),
        "transcript": ({"audio": {"transcript": "Said."}}, "Said.\n"),
        "nothing": ({}, ""),
        "data that is no text": ({"audio": {"data": 5}}, ""),
        "audio that is no object": ({"audio": "x"}, ""),
    },
)
def test_without_sound_the_words_go_aside(message: Json, aside: str) -> None:
    sink, console = Sink(), list[str]()
    AudioWriter(sink, FormatOptions("audio"), console.append).end(whole(**{"audio": None, **message}), b"{}")
    assert (sink.data, "".join(console)) == (b"", aside)


# The verdict, and what is kept


def delivered(value: Json, path: str | None, **printing: Any) -> ChatpipeError | None:
    how = FormatOptions(format="audio", **printing)
    try:
        with open_target(OutputOptions(path), (), escape=False) as out:
            fault = Delivery(out, how, Console(ConsoleOptions())).finish(Answer(value, orjson.dumps(value)))
            finish_output(out, fault)
    except ChatpipeError as error:
        return error
    return None


def test_sound_goes_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert delivered(whole({"data": "/wAN"}), str(path)) is None
    assert path.read_bytes() == b"\xff\0\r"


CALL = [{"id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@cases(
    ("value", "allow", "status"),
    {
        "text instead": (whole(None, content="text"), "", Status.REFUSED),
        "no data": (whole({"id": "a"}), "", Status.REFUSED),
        "nothing": (whole(None), "", Status.REFUSED),
        "text instead, allowed": (whole(None, content="text"), "empty", None),
        "refused": (whole(None, refusal="no"), "", Status.REFUSED),
        "calls": (whole(None, tool_calls=CALL), "", Status.TOOL_CALLS),
        "calls, allowed": (whole(None, tool_calls=CALL), "tool-calls", None),
        "sound": (whole({"data": "AAEC"}), "", None),
    },
)
def test_an_answer_without_sound_has_a_status(
    value: Json, allow: str, status: Status | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fault = delivered(value, str(tmp_path / "a"), allow=frozenset(allow.split()))
    assert (fault and fault.status) == status


def test_missing_audio_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fault = delivered(whole(None, content="Only text."), str(tmp_path / "a"))
    expected = "there is no audio in the answer: ask with --modality audio, --audio-voice and --audio-format"
    assert str(fault) == expected
    assert capfd.readouterr() == ("", "Only text.\n")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_with_bad_base64_is_kept_as_it_came(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    value = whole({"data": "!"})
    fault = delivered(value, str(path))
    assert fault is not None
    assert fault.status is Status.BROKEN_ANSWER
    assert not path.exists()
    assert orjson.loads((tmp_path / "a.wav.chatpipe-part").read_bytes()) == value


# When sound is written


@cases(
    ("printing", "target", "body", "format"),
    {
        "a file, no format": (FormatOptions(is_format_given=False), OutputOptions("a.wav"), SPOKEN, "audio"),
        "stdout": (FormatOptions(is_format_given=False), OutputOptions(), SPOKEN, "text"),
        "stdout by name": (FormatOptions(is_format_given=False), OutputOptions("-"), SPOKEN, "text"),
        "text named": (FormatOptions(), OutputOptions("a.txt"), SPOKEN, "text"),
        "another named": (FormatOptions("json"), OutputOptions("a"), SPOKEN, "json"),
        "a NUL wanted": (FormatOptions(is_format_given=False, null=True), OutputOptions("a"), SPOKEN, "text"),
        "no sound asked for": (FormatOptions(is_format_given=False), OutputOptions("a"), {}, "text"),
        "odd modalities": (
            FormatOptions(is_format_given=False),
            OutputOptions("a"),
            {"modalities": "audio"},
            "text",
        ),
        "a recording": (FormatOptions(is_format_given=False), OutputOptions("a"), None, "text"),
        "a recording, named": (FormatOptions("audio"), OutputOptions("a"), None, "audio"),
    },
)
def test_the_format_is_audio_only_for_a_file_and_a_spoken_answer(
    printing: FormatOptions, target: OutputOptions, body: Json | None, format: str
) -> None:
    settled = choose_format(printing, target, body)
    assert settled.format == format
    assert settled.escape == (format != "audio")


def test_several_choices_in_one_sound_are_2() -> None:
    with refused(UsageFault, "--n: the format audio writes one choice, not 2: use -f json"):
        choose_format(FormatOptions("audio"), OutputOptions("a"), {**SPOKEN, "n": 2})
    assert choose_format(FormatOptions("audio"), OutputOptions("a"), {**SPOKEN, "n": 1}).format == "audio"


@contextmanager
def stdout_is(open_pair: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """Standard output as the second descriptor of a pair."""
    pair = open_pair()
    stdout = os.dup(1)
    os.dup2(pair[1], 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        for fd in (stdout, *pair):
            os.close(fd)


def test_sound_for_a_terminal_is_2_unless_stdout_is_named() -> None:
    line = "--format: audio would go to a terminal: use -o FILE, or -o -"
    with stdout_is(pty.openpty):
        with refused(UsageFault, line):
            choose_format(FormatOptions("audio"), OutputOptions())
        assert choose_format(FormatOptions("audio"), OutputOptions("-")).escape is False
        assert choose_format(FormatOptions("audio"), OutputOptions("a.wav")).format == "audio"
        assert choose_format(FormatOptions("text"), OutputOptions()).format == "text"


def test_sound_for_a_pipe_needs_no_name() -> None:
    with stdout_is(os.pipe):
        assert choose_format(FormatOptions("audio"), OutputOptions()).format == "audio"


@cases(
    ("given", "format", "stream"),
    {
        "text: a WAV cannot be streamed": (SPOKEN, "text", None),
        "text: no format is known": ({"modalities": ["audio"]}, "text", None),
        "text: samples can": ({"modalities": ["audio"], "audio": {"format": "pcm16"}}, "text", True),
        "text: no sound asked for": ({"audio": {"format": "wav"}}, "text", True),
        "chunks are asked for all the same": (SPOKEN, "chunks", True),
        "the body says it": (SPOKEN | {"stream": True}, "text", True),
        "audio": ({"modalities": ["audio"], "audio": {"format": "pcm16"}}, "audio", None),
    },
)
def test_a_spoken_answer_is_streamed_only_where_it_can_be(
    given: Json, format: str, stream: bool | None
) -> None:
    body = dict(given)
    decide_stream(body, FormatOptions(format=format))
    assert body.get("stream") is stream
