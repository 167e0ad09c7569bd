"""Recordings of one answer or many -> formats, faults and the status at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chatpipe.errors import BadInput, ChatpipeError
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.output.delivery import Delivery
from chatpipe.output.player import RecordingPlayer
from chatpipe.output.target import open_target
from chatpipe.response.capture import read_capture
from chatpipe.system.console import Console
from support.parametrize import cases

SAMPLES = Path(__file__).parents[1] / "response" / "samples"


class Shown(NamedTuple):
    status: int
    stdout: str
    stderr: str


Runner = Callable[..., Shown]


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str], folder: Path) -> Runner:
    """Shows files with these texts, named 1, 2, ..., as `chatpipe show` does."""

    def run(*texts: str, output: str | None = None, **printing: Any) -> Shown:
        console = Console(ConsoleOptions())
        sources = Sources(Stdin(-1, False, console.note))
        status: int
        try:
            with open_target(OutputOptions(output), (), escape=True) as out:
                show = RecordingPlayer(lambda: Delivery(out, FormatOptions(**printing), console))
                for number, text in enumerate(texts, 1):
                    Path(str(number)).write_bytes(text.encode("utf-8", "surrogateescape"))
                    show.play(read_capture(sources.lines(str(number), "FILE")))
                    show.close()
                status = show.conclude(out, console)
        except ChatpipeError as fault:
            console.error(fault)
            status = fault.status
        return Shown(int(status), *capfd.readouterr())

    return run


def chunk(
    text: str | None, finish: str | None = None, id: str | None = "a", index: int = 0, role: bool = False
) -> str:
    content = "null" if text is None else f'"{text}"'
    delta = f'{{"role":"assistant","content":{content}}}' if role else f'{{"content":{content}}}'
    reason = f'"{finish}"' if finish else "null"
    name = f'"id":"{id}",' if id is not None else ""
    return f'{{{name}"choices":[{{"index":{index},"delta":{delta},"finish_reason":{reason}}}]}}\n'


def event(line: str) -> str:
    return f"data: {line}\n"


def whole(text: str, finish: str = "stop", id: str = "w") -> str:
    message = f'{{"role":"assistant","content":"{text}"}}'
    return f'{{"id":"{id}","choices":[{{"index":0,"message":{message},"finish_reason":"{finish}"}}]}}\n'


def result(body: str) -> str:
    return f'{{"custom_id":"x","response":{{"status_code":200,"body":{body.strip()}}},"error":null}}\n'


FAILED = '{"custom_id":"x7","response":null,"error":{"code":"http_500","message":"down"}}\n'
DONE = "data: [DONE]\n\n"
CUT = "chatpipe: 1:1: the recorded stream was cut: neither finish_reason nor [DONE]\n"
TRUNCATED = (
    "chatpipe: 1:1: the answer was cut off (finish_reason 'length'): "
    "raise --max-completion-tokens or --max-tokens, or --allow truncated\n"
)
EMPTY = "chatpipe: 1:1: the answer is empty: change the prompt, or --allow empty\n"
NO_ANSWER = "chatpipe: there is no answer in the recording: see chatpipe show --help\n"
RUBBISH = "chatpipe: 1:1: neither an answer nor an event stream: see chatpipe show --help\n"
CALLING = '{"choices":[{"message":{"tool_calls":[{"id":"x"}]},"finish_reason":"tool_calls"}]}\n'

SPREAD = """{
  "choices": [
    {"index": 0, "delta": {"content": "one"}, "finish_reason": "stop"}
  ]
}
"""

ONE = chunk("o", role=True) + chunk("ne") + chunk("", "stop")
TWO_CHOICES = "".join(
    chunk(text, index=index, role=True) + chunk("", "stop", index=index)
    for index, text in enumerate(("a", "b"))
)
TWO = chunk("t", id="b", role=True) + chunk("wo", "stop", id="b")


def test_chunk_on_several_lines_is_one_line_of_an_event(shown: Runner) -> None:
    """Else the next to read the stream would take its second line for no field."""
    events = shown(SPREAD, format="sse").stdout
    assert events.count("\n") == 4
    assert shown(events) == (0, "one\n", "")


@cases(
    ("text", "stdout"),
    {
        "chunks": (ONE, "one\n"),
        "events": ("".join(event(line + "\n") for line in ONE.splitlines()) + DONE, "one\n"),
        "completion": (whole("one"), "one\n"),
        "result": (result(whole("one")), "one\n"),
        "chunks of two answers": (ONE + TWO, "one\ntwo\n"),
        "usage behind a completion": (whole("one") + '{"usage":{"prompt_tokens":1}}\n{}\n', "one\n"),
        "two completions": (whole("one") + whole("two"), "one\ntwo\n"),
        "of every kind": (ONE + whole("two") + result(whole("three")), "one\ntwo\nthree\n"),
        "chunks behind a completion": (whole("zero") + ONE + "\n" + TWO, "zero\none\ntwo\n"),
        "two streams, one id": (event(chunk("one")) + DONE + event(chunk("two")) + DONE, "one\ntwo\n"),
        "blank lines": (
            event(chunk("one")) + "\n" + DONE + "\n\n" + event(chunk("two")) + DONE,
            "one\ntwo\n",
        ),
        "the same id twice, as from a model that repeats itself": (ONE + ONE, "one\none\n"),
        "no ids": (
            chunk("o", id=None, role=True)
            + chunk("ne", "stop", id=None)
            + chunk("two", "stop", id=None, role=True),
            "one\ntwo\n",
        ),
        "the role with every chunk": (
            chunk("o", id=None, role=True)
            + chunk("n", id=None, role=True)
            + chunk("e", "stop", id=None, role=True),
            "one\n",
        ),
        "Azure's first chunk has no id": (
            '{"id":"","choices":[],"prompt_filter_results":[]}\n' + ONE,
            "one\n",
        ),
        "nor have those in between": (
            chunk("one")
            + '{"id":"","choices":[{"index":0,"content_filter_offsets":{}}]}\n'
            + chunk("", "stop"),
            "one\n",
        ),
        "notices before it": (
            '{"message":"queue position 2"}\n{"message":"queue position 1"}\n' + ONE,
            "one\n",
        ),
        "notices without words": (
            '{"type":"ping"}\n{"status":"queued"}\n'
            + chunk("o")
            + '{"type":"ping"}\n'
            + chunk("ne", "stop")
            + '{"type":"ping"}\n',
            "one\n",
        ),
        "a notice inside it": (chunk("o") + '{"type":"ping","message":"m"}\n' + chunk("ne", "stop"), "one\n"),
        "usage at the end": (ONE + '{"id":"a","choices":[],"usage":{}}\n' + TWO, "one\ntwo\n"),
        "a comment before": (": ping\n\n" + event(chunk("one", "stop")) + DONE, "one\n"),
        "a comment behind [DONE]": (event(chunk("one", "stop")) + DONE + ": bye\n\n", "one\n"),
        "a comment between": (event(chunk("one")) + ": ping\n\n" + event(chunk("", "stop")), "one\n"),
        "a comment before the second": (
            event(chunk("one", "stop"))
            + DONE
            + ": PROCESSING\n\n"
            + event(chunk("two", "stop", id="b"))
            + DONE,
            "one\ntwo\n",
        ),
        "two choices, one after the other": (TWO_CHOICES, "a\nb\n"),
    },
)
def test_a_good_recording_is_shown(shown: Runner, text: str, stdout: str) -> None:
    assert shown(text) == (0, stdout, "")


def test_choices_one_after_the_other_are_one_answer(shown: Runner) -> None:
    """The same id, and a choice that has not been there before."""
    assert shown(TWO_CHOICES, format="message").stdout.count("\n") == 2
    assert shown(TWO_CHOICES, format="json").stdout.count("\n") == 1


@cases(
    ("text", "status", "stdout", "stderr"),
    {
        "cut": (chunk("one"), 76, "one\n", CUT),
        "cut event stream": (event(chunk("one")), 76, "one\n", CUT),
        "a notice without an answer": (
            '{"message":"bad"}\n',
            1,
            "",
            "chatpipe: 1:1: an error was recorded: bad\n",
        ),
        "the same as an event": (
            event('{"message":"bad"}\n'),
            76,
            "",
            "chatpipe: 1:1: an error was recorded: bad\n",
        ),
        "the first of two is cut": (chunk("one") + TWO, 76, "one\ntwo\n", CUT),
        "the second of two is cut": (TWO + chunk("one"), 76, "two\none\n", CUT.replace("1:1", "1:3")),
        "cut before a completion": (chunk("one") + whole("two"), 76, "one\ntwo\n", CUT),
        "an error behind a stream that has not ended": (
            event(chunk("one")) + '\n{"error":"oops"}\n',
            76,
            "one\n",
            "chatpipe: 1:4: an error was recorded: oops\n",
        ),
        "the same behind chunks": (
            chunk("one") + '{\n"error": "oops"\n}\n' + whole("two"),
            76,
            "one\ntwo\n",
            "chatpipe: 1:2: an error was recorded: oops\n",
        ),
        "an error behind an answer": (
            chunk("one", "stop") + '{"error":"oops"}\n',
            1,
            "one\n",
            "chatpipe: 1:2: an error was recorded: oops\n",
        ),
        "an event that is none behind a stream": (
            event(chunk("one")) + "\ndata: oops\n\n",
            65,
            "one\n",
            "chatpipe: 1:4: an event of the stream is not JSON (expecting value): 'oops'\n",
        ),
        "an error in words": (
            '"server is overloaded"\n',
            1,
            "",
            "chatpipe: 1:1: an error was recorded: server is overloaded\n",
        ),
        "another string": ('"hello"\n', 65, "", "chatpipe: 1:1: neither an answer nor an error: 'hello'\n"),
        "truncated": (chunk("one", "length"), 3, "one\n", TRUNCATED),
        "empty": (whole("", "stop"), 4, "", EMPTY),
        "a result": (
            result(whole("one", "length")),
            3,
            "one\n",
            TRUNCATED.replace("1:1", "1:1: 'x'"),
        ),
        "the last line of a stream": (
            event(chunk("one")) + event(chunk("", "length")) + DONE,
            3,
            "one\n",
            TRUNCATED.replace("1:1", "1:3"),
        ),
        "a failed line": (FAILED, 1, "", "chatpipe: 1:1: 'x7': down\n"),
        "a failed line among good ones": (whole("one") + FAILED, 1, "one\n", "chatpipe: 1:2: 'x7': down\n"),
        "of several faults the first of the order counts": (
            FAILED + whole("one", "length"),
            3,
            "one\n",
            "chatpipe: 1:1: 'x7': down\n" + TRUNCATED.replace("1:1", "1:2"),
        ),
        "an error in a stream": (
            event(chunk("one")) + event('{"error":{"message":"out of  memory"}}\n') + DONE,
            76,
            "one\n",
            "chatpipe: 1:3: an error was recorded: out of memory\n",
        ),
        "no recording": ("hello\n", 65, "", RUBBISH),
        "rubbish behind an answer": (whole("one") + "hello\n", 65, "one\n", RUBBISH.replace("1:1", "1:2")),
        "nothing": ("", 65, "", NO_ANSWER),
        "blank lines": ("\n\n", 65, "", NO_ANSWER),
        "comments only": (": ping\n\n", 65, "", NO_ANSWER),
    },
)
def test_a_recording_that_is_not_good_is_reported(
    shown: Runner, text: str, status: int, stdout: str, stderr: str
) -> None:
    assert shown(text) == (status, stdout, stderr)


def test_cut_answer_of_several_files_says_which(shown: Runner) -> None:
    assert "2" in shown(ONE, chunk("cut"), TWO).stderr


def test_an_answer_ends_with_its_file(shown: Runner) -> None:
    assert shown(chunk("one"), chunk("", "stop")) == (76, "one\n", CUT + EMPTY.replace("1:1", "2:1"))


@cases(
    ("text", "status"),
    {
        "4 before 3": (whole("one", "length") + whole(""), 4),
        "76 before 3": (whole("one", "length") + chunk("cut"), 76),
        "3 before 1": (whole("one", "length") + FAILED, 3),
        "3 before 6": (whole("one", "length") + CALLING, 3),
        "6 before 1": (FAILED + CALLING, 6),
    },
)
def test_the_first_fault_of_the_order_gives_the_status(shown: Runner, text: str, status: int) -> None:
    assert shown(text).status == status


def test_allowed_outcome_is_good(shown: Runner) -> None:
    assert shown(whole("one", "length"), allow=frozenset({"truncated"})) == (0, "one\n", "")


@pytest.mark.parametrize("format", ["text", "json", "message", "chunks"])
def test_output_is_replaced_only_when_every_answer_is_good(shown: Runner, format: str) -> None:
    Path("out").write_text("old")
    bad = shown(whole("one") + FAILED, output="out", format=format)
    assert (bad.status, bad.stdout, Path("out").read_text()) == (1, "", "old")
    assert "one" in Path("out.chatpipe-part").read_text()
    assert bad.stderr.endswith("chatpipe: what could be shown is in 'out.chatpipe-part'\n")
    good = shown(whole("one"), output="out", format=format)
    assert (good.status, good.stdout, good.stderr) == (0, "", "")
    assert "one" in Path("out").read_text()


@cases(
    "tail",
    {"rubbish": "hello\n", "a broken event": "data: {broken\n\n"},
)
def test_answers_before_rubbish_are_kept(shown: Runner, tail: str) -> None:
    """An answer came (from the recording), and it is not good: FILE stays, and FILE.chatpipe-part has it."""
    Path("out").write_text("old")
    ran = shown(whole("one") + tail, output="out")
    assert ran.status in (65, 76)
    assert Path("out").read_text() == "old"
    assert Path("out.chatpipe-part").read_text() == "one\n"


PRETTY = (
    '{\n  "id": "w",\n  "choices": [\n    {"message": {"content": "hi"}, "finish_reason": "stop"}\n  ]\n}\n'
)


def test_completions_printed_for_people_are_read(shown: Runner) -> None:
    assert shown(PRETTY) == (0, "hi\n", "")
    assert shown(PRETTY, PRETTY) == (0, "hi\nhi\n", "")
    assert shown(PRETTY, format="json").stdout.count("\n") == 1


def test_completions_printed_for_people_one_after_the_other_are_read(shown: Runner) -> None:
    """The output of `jq . results.jsonl`."""
    assert shown(PRETTY + PRETTY) == (0, "hi\nhi\n", "")


def test_event_stream_comes_out_as_it_went_in(shown: Runner) -> None:
    text = ": ping\n\n" + event(chunk("one")) + "event: x\n" + event(chunk("", "stop")) + DONE
    assert shown(text, format="sse") == (0, text, "")
    text = text.replace("\n", "\r\n")
    assert shown(text, format="sse") == (0, text, "")


def test_formats_write_several_answers_one_by_one(shown: Runner) -> None:
    text = ONE + whole("two") + TWO
    assert shown(text, format="string").stdout == '"one"\n"two"\n"two"\n'
    assert shown(text, null=True).stdout == "one\0two\0two\0"
    assert shown(text, format="chunks").stdout == text


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.sse")))
@pytest.mark.parametrize("format", ["text", "json", "chunks", "sse", "tool-calls", "logprobs", "usage"])
def test_every_sample_can_be_shown(shown: Runner, name: str, format: str) -> None:
    text = (SAMPLES / f"{name}.sse").read_bytes().decode("utf-8", "surrogateescape")
    assert shown(text, format=format).status in (0, 3, 4, 6, 76)


@pytest.mark.parametrize(
    "line",
    [
        '{"choices":5}',
        '{"choices":[{"delta":"x"}]}',
        '{"choices":[5]}',
        '{"choices":[{"delta":{"role":5}}],"id":5}',
        '{"choices":[],"id":[]}',
    ],
)
def test_odd_chunks_are_no_bug_of_ours(shown: Runner, line: str) -> None:
    ran = shown(event(line + "\n") + event(chunk("one", "stop")) + DONE)
    assert ran.status in (0, 76)
    assert "one" in ran.stdout


def test_nothing_to_show_is_bad_input(folder: Path) -> None:
    console = Console(ConsoleOptions())
    with open_target(OutputOptions("out"), (), escape=True) as out, pytest.raises(BadInput):
        RecordingPlayer(lambda: Delivery(out, FormatOptions(), console)).conclude(out, console)
    assert os.listdir(folder) == []
