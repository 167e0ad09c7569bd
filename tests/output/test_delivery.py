"""One answer on its way out: written, judged, and the output replaced or kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.errors import BrokenAnswer, CannotWrite, ChatpipeError, Interrupted, Status
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.output.delivery import Delivery, finish_output
from chatpipe.output.target import OpenOutput, open_target
from chatpipe.system.console import Console
from chatpipe.wire.answer import Answer
from exchange.scripted import DONE, event, piece, served, stream
from output.collected import Sink
from support.parametrize import cases
from support.refusals import refused

pytestmark = pytest.mark.usefixtures("folder")


def completion(content: str | None = "hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish,
    }
    return {"model": "m", "choices": [choice], "usage": {"total_tokens": 5}}


def answer(value: dict[str, Any], fault: ChatpipeError | None = None) -> Answer:
    return Answer(value, orjson.dumps(value), fault)


@contextmanager
def output(path: str | None = None, **options: Any) -> Iterator[OpenOutput]:
    with open_target(OutputOptions(path, **options), (), escape=True) as out:
        yield out


def delivered(out: OpenOutput, given: Answer, **printing: Any) -> ChatpipeError | None:
    return Delivery(out, FormatOptions(**printing), Console(ConsoleOptions())).finish(given)


def concluded(given: Answer, path: str | None = "out") -> int:
    with output(path) as out:
        return finish_output(out, delivered(out, given))


CUT = completion(finish="length")
REFUSED = completion(None, refusal="no")
CALL = [{"id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
CALLING = completion(None, tool_calls=CALL)


@cases(
    ("value", "printing", "status"),
    {
        "good": (completion(), {}, 0),
        "truncated": (CUT, {}, 3),
        "truncated, in every format": (CUT, {"format": "json"}, 3),
        "truncated, allowed": (CUT, {"allow": frozenset({"truncated"})}, 0),
        "refused": (REFUSED, {}, 4),
        "refused, allowed": (REFUSED, {"allow": frozenset({"refused"})}, 0),
        "empty": (completion(""), {"format": "usage"}, 4),
        "tool calls, as text": (CALLING, {}, 6),
        "tool calls, handed on": (CALLING, {"format": "tool-calls"}, 0),
        "tool calls, as json": (CALLING, {"format": "json"}, 0),
        "allowed": (CALLING, {"allow": frozenset({"tool-calls"})}, 0),
        "no choices": ({"choices": []}, {"format": "json"}, 76),
        "an error beside an answer": ({**completion(), "error": {"message": "x"}}, {}, 76),
    },
)
def test_a_verdict_gives_the_status(value: dict[str, Any], printing: dict[str, Any], status: int) -> None:
    with output("out") as out:
        fault = delivered(out, answer(value), **printing)
    assert (fault.status if fault else 0) == status


def test_fault_of_the_exchange_comes_before_the_verdict() -> None:
    cut = BrokenAnswer("cut")
    with output("out") as out:
        assert delivered(out, answer(CUT, cut)) is cut


def test_an_answer_has_started_from_its_first_byte_on() -> None:
    with output("out") as out:
        delivery = Delivery(out, FormatOptions(), Console(ConsoleOptions()))
        assert not delivery.started
        delivery.chunk(b"", {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        assert not delivery.started
        delivery.chunk(b"", {"choices": [{"index": 0, "delta": {"content": "a"}}]})
        assert delivery.started


def test_a_format_that_waits_has_not_started() -> None:
    with output("out") as out:
        delivery = Delivery(out, FormatOptions(format="json"), Console(ConsoleOptions()))
        delivery.raw(b"data: {}\n\n")
        delivery.chunk(b"{}", {"choices": [{"index": 0, "delta": {"content": "a"}}]})
        assert not delivery.started


def test_good_answer_replaces_the_file() -> None:
    Path("out").write_text("old")
    assert concluded(answer(completion())) == 0
    assert (Path("out").read_text(), os.listdir()) == ("hi\n", ["out"])


def test_an_answer_that_is_not_good_is_kept_beside_the_file_and_reported() -> None:
    Path("out").write_text("old")
    with pytest.raises(ChatpipeError) as raised:
        concluded(answer(CUT))
    assert (Path("out").read_text(), Path("out.chatpipe-part").read_text()) == ("old", "hi\n")
    assert raised.value.status == Status.TRUNCATED
    assert str(raised.value) == (
        "the answer was cut off (finish_reason 'length'): what arrived is in 'out.chatpipe-part', "
        "raise --max-completion-tokens or --max-tokens, or --allow truncated"
    )


@pytest.mark.parametrize("fault", [BrokenAnswer("b"), BrokenAnswer("b", fix="try again")])
def test_part_of_an_answer_is_kept_too(fault: BrokenAnswer) -> None:
    expected = "b: what arrived is in 'out.chatpipe-part'" + (", try again" if fault.fix else "")
    with refused(BrokenAnswer, expected):
        concluded(Answer(completion("par", ""), None, fault))
    assert Path("out.chatpipe-part").read_text() == "par\n"


def test_no_answer_leaves_nothing() -> None:
    fault = BrokenAnswer("b", fix="f")
    with pytest.raises(BrokenAnswer) as raised:
        concluded(Answer(None, None, fault))
    assert (str(raised.value), os.listdir()) == ("b: f", [])


def test_a_body_that_is_no_answer_is_kept_beside_a_file() -> None:
    with pytest.raises(BrokenAnswer):
        concluded(Answer(None, b"<html>", BrokenAnswer("b")))
    assert os.listdir() == ["out.chatpipe-part"]
    assert Path("out.chatpipe-part").read_bytes() == b"<html>"


@pytest.mark.parametrize("path", [None, "-"])
def test_a_body_that_is_no_answer_does_not_go_to_stdout(
    capfd: pytest.CaptureFixture[str], path: str | None
) -> None:
    with pytest.raises(BrokenAnswer):
        concluded(Answer(None, b"<html>", BrokenAnswer("b")), path)
    assert capfd.readouterr().out == ""


def test_usage_goes_to_stderr_also_for_an_answer_that_is_not_good(capfd: pytest.CaptureFixture[str]) -> None:
    with output() as out:
        delivered(out, answer(CUT), usage=True)
    out_, err = capfd.readouterr()
    assert out_ == "hi\n"
    assert err == '{"model":"m","prompt_tokens":null,"completion_tokens":null,"total_tokens":5}\n'


def test_missing_logprobs_are_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with output() as out:
        assert delivered(out, answer(completion()), format="logprobs") is None
    assert capfd.readouterr() == (
        "",
        "chatpipe: no log probabilities in the answer: ask with --logprobs\n",
    )


# The target


def test_closed_stdout_is_74_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(CannotWrite), output():
        pass
    assert concluded(answer(completion())) == 0  # a file is another matter


def test_depfile_names_inputs_and_is_written_only_when_all_is_good() -> None:
    target = OutputOptions("out", depfile="out.d")
    for name in ("a", "b"):
        Path(name).write_text("")
    with open_target(target, ["a", "b"], escape=True) as out, pytest.raises(ChatpipeError):
        finish_output(out, delivered(out, answer(completion(""))))
    assert not Path("out.d").exists()
    with open_target(target, ["a", "b"], escape=True) as out:
        finish_output(out, delivered(out, answer(completion())))
    assert Path("out.d").read_text() == "out: \\\n  a \\\n  b\n\na:\n\nb:\n"


@cases(
    ("error", "data", "left"),
    {
        "interrupted: the part is kept": (Interrupted(2), b"par", ["out.chatpipe-part"]),
        "interrupted before a byte": (Interrupted(2), b"", []),
        "a fault": (CannotWrite("x"), b"par", ["out.chatpipe-part"]),
        "a bug": (ValueError("x"), b"par", ["out.chatpipe-part"]),
    },
)
def test_a_part_is_kept_whatever_ends_the_call(error: BaseException, data: bytes, left: list[str]) -> None:
    def fail() -> None:
        with output("out") as out:
            out.write(data)
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert os.listdir() == left
    said = getattr(caught.value, "fix", "") or ", ".join(getattr(caught.value, "__notes__", []))
    assert (said == "what arrived is in 'out.chatpipe-part'") is bool(left)


class CountedOut(Sink):
    """An output that is no file. pieces has one item a write."""

    is_kept = False

    @property
    def started(self) -> bool:
        return bool(self.pieces)

    def keep_reply(self, data: bytes) -> bool:
        return False


ONE, TWO, END = piece("one "), piece("two"), piece("", "stop")
USAGE = event({"id": "c1", "choices": [], "usage": {"total_tokens": 5}})
THOUGHT = event({"id": "c1", "choices": [{"index": 0, "delta": {"reasoning": "hm"}}]})


@cases(
    ("reads", "printing", "writes"),
    {
        "all in one read": ([ONE + TWO + END + DONE], {}, [b"one two\n"]),
        "with usage": ([ONE + TWO + END + USAGE + DONE], {}, [b"one two\n"]),
        "the end with the last piece": ([ONE, TWO + END + DONE], {}, [b"one ", b"two\n"]),
        "a NUL": ([ONE, TWO + END + DONE], {"null": True}, [b"one ", b"two\0"]),
        "reasoning alone": ([THOUGHT + END + DONE], {"reasoning": "only"}, [b"hm\n"]),
        "the end alone": ([ONE, TWO, END + DONE], {}, [b"one ", b"two", b"\n"]),
        "a finish_reason is no end": (
            [ONE, TWO + piece("!", "stop"), DONE],
            {},
            [b"one ", b"two", b"!", b"\n"],
        ),
        "an event in two reads": ([ONE + TWO[:9], TWO[9:] + END + DONE], {}, [b"one ", b"two\n"]),
        "no [DONE]": ([ONE + TWO + END], {}, [b"one ", b"two", b"\n"]),
        "a newline of its own": ([ONE + piece("two\n") + END + DONE], {}, [b"one two\n"]),
        "nothing": ([END + DONE], {}, []),
        "a broken event": ([ONE + b"data: x\n\n" + DONE], {}, [b"one \n"]),
        "chunks are lines": ([ONE + DONE], {"format": "chunks"}, [ONE[6:-1]]),
    },
)
def test_text_and_its_newline_are_one_write_if_the_end_is_here(
    reads: list[bytes], printing: dict[str, Any], writes: list[bytes]
) -> None:
    """Nothing waits for another read. A part of an answer that is held back forbids a second attempt."""
    out = CountedOut()
    delivery = Delivery(out, FormatOptions(**printing), Console(ConsoleOptions()))
    delivery.finish(served(stream(*reads)).ask(delivery))
    assert [each for each in out.pieces if each] == writes
