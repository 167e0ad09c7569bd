"""One answer on its way out: written, judged, and the output replaced or kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.errors import BrokenAnswer, CannotWrite, ChatpipeError, Interrupted, Status, UsageFault
from chatpipe.output.delivery import Delivery, conclude
from chatpipe.output.notices import Notices
from chatpipe.output.options import Printing, Target, Telling
from chatpipe.output.target import Opened, opened
from chatpipe.wire.answer import Answer


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completion(content: str | None = "hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
            }
        ],
        "usage": {"total_tokens": 5},
    }


def answer(value: dict[str, Any], fault: ChatpipeError | None = None) -> Answer:
    return Answer(value, orjson.dumps(value), fault)


@contextmanager
def output(path: str | None = None, **options: Any) -> Iterator[Opened]:
    with opened(Target(path, **options), (), escape=True) as out:
        yield out


def delivered(out: Opened, given: Answer, **printing: Any) -> ChatpipeError | None:
    return Delivery(out, Printing(**printing), Notices(Telling())).finish(given)


CALL = [{"id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("value", "printing", "status"),
    [
        pytest.param(completion(), {}, 0, id="good"),
        pytest.param(completion(finish="length"), {}, 3, id="truncated"),
        pytest.param(completion(finish="length"), {"format": "json"}, 3, id="truncated, in every format"),
        pytest.param(
            completion(finish="length"), {"allow": frozenset({"truncated"})}, 0, id="truncated, allowed"
        ),
        pytest.param(completion(None, refusal="no"), {}, 4, id="refused"),
        pytest.param(
            completion(None, refusal="no"), {"allow": frozenset({"refused"})}, 0, id="refused, allowed"
        ),
        pytest.param(completion(""), {"format": "usage"}, 4, id="empty"),
        pytest.param(completion(None, tool_calls=CALL), {}, 6, id="tool calls, as text"),
        pytest.param(
            completion(None, tool_calls=CALL), {"format": "tool-calls"}, 0, id="tool calls, handed on"
        ),
        pytest.param(completion(None, tool_calls=CALL), {"format": "json"}, 0, id="tool calls, as json"),
        pytest.param(
            completion(None, tool_calls=CALL), {"allow": frozenset({"tool-calls"})}, 0, id="allowed"
        ),
        pytest.param({"choices": []}, {"format": "json"}, 76, id="no choices"),
        pytest.param({**completion(), "error": {"message": "x"}}, {}, 76, id="an error beside an answer"),
    ],
)
def test_status(value: dict[str, Any], printing: dict[str, Any], status: int) -> None:
    with output("out") as out:
        fault = delivered(out, answer(value), **printing)
    assert (fault.status if fault else 0) == status


def test_fault_of_the_exchange_comes_before_the_verdict() -> None:
    cut = BrokenAnswer("cut")
    with output("out") as out:
        assert delivered(out, answer(completion(finish="length"), cut)) is cut


def test_started_from_the_first_byte_on() -> None:
    with output("out") as out:
        delivery = Delivery(out, Printing(), Notices(Telling()))
        assert not delivery.started
        delivery.chunk(b"", {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        assert not delivery.started
        delivery.chunk(b"", {"choices": [{"index": 0, "delta": {"content": "a"}}]})
        assert delivery.started


def test_format_that_waits_has_not_started() -> None:
    with output("out") as out:
        delivery = Delivery(out, Printing(format="json"), Notices(Telling()))
        delivery.raw(b"data: {}\n\n")
        delivery.chunk(b"{}", {"choices": [{"index": 0, "delta": {"content": "a"}}]})
        assert not delivery.started


def test_good_answer_replaces_the_file() -> None:
    Path("out").write_text("old")
    with output("out") as out:
        assert conclude(out, delivered(out, answer(completion()))) == 0
    assert (Path("out").read_text(), os.listdir()) == ("hi\n", ["out"])


def test_answer_that_is_not_good_is_kept_beside_the_file_and_said() -> None:
    Path("out").write_text("old")
    with output("out") as out, pytest.raises(ChatpipeError) as raised:
        conclude(out, delivered(out, answer(completion(finish="length"))))
    assert (Path("out").read_text(), Path("out.part").read_text()) == ("old", "hi\n")
    assert raised.value.status == Status.TRUNCATED
    assert str(raised.value) == (
        "the answer was cut off (finish_reason 'length'): "
        "what came is in 'out.part', raise --max-completion-tokens or --max-tokens, or --allow truncated"
    )


@pytest.mark.parametrize("fault", [BrokenAnswer("b"), BrokenAnswer("b", fix="try again")])
def test_part_of_an_answer_is_kept_too(fault: BrokenAnswer) -> None:
    expected = "b: what came is in 'out.part'" + (", try again" if fault.fix else "")
    with output("out") as out, pytest.raises(BrokenAnswer) as raised:
        conclude(out, delivered(out, Answer(completion("par", ""), None, fault)))
    assert str(raised.value) == expected
    assert Path("out.part").read_text() == "par\n"


def test_no_answer_leaves_nothing() -> None:
    fault = BrokenAnswer("b", fix="f")
    with output("out") as out, pytest.raises(BrokenAnswer) as raised:
        conclude(out, delivered(out, Answer(None, None, fault)))
    assert (str(raised.value), os.listdir()) == ("b: f", [])


def test_what_is_no_answer_is_kept_beside_a_file() -> None:
    with output("out") as out, pytest.raises(BrokenAnswer):
        conclude(out, delivered(out, Answer(None, b"<html>", BrokenAnswer("b"))))
    assert os.listdir() == ["out.part"]
    assert Path("out.part").read_bytes() == b"<html>"


@pytest.mark.parametrize("path", [None, "-"])
def test_what_is_no_answer_does_not_go_to_stdout(capfd: pytest.CaptureFixture[str], path: str | None) -> None:
    with output(path) as out, pytest.raises(BrokenAnswer):
        conclude(out, delivered(out, Answer(None, b"<html>", BrokenAnswer("b"))))
    assert capfd.readouterr().out == ""


def test_usage_goes_to_stderr_also_for_an_answer_that_is_not_good(capfd: pytest.CaptureFixture[str]) -> None:
    with output() as out:
        delivered(out, answer(completion(finish="length")), usage=True)
    out_, err = capfd.readouterr()
    assert out_ == "hi\n"
    assert err == '{"model":"m","prompt_tokens":null,"completion_tokens":null,"total_tokens":5}\n'


def test_missing_logprobs_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    with output() as out:
        assert delivered(out, answer(completion()), format="logprobs") is None
    assert capfd.readouterr() == (
        "",
        "chatpipe: no log probabilities in the answer: ask with --logprobs\n",
    )


# The target


def test_output_that_is_an_input_is_2() -> None:
    Path("a").write_text("x")
    os.link("a", "b")
    with pytest.raises(UsageFault) as fault, opened(Target("b"), ["a"], escape=True):
        pass
    assert str(fault.value) == "--output: 'b' is an input, too: write to another file"
    assert Path("a").read_text() == "x"


def test_a_rule_that_would_replace_an_input_is_2() -> None:
    Path("a").write_text("x")
    with pytest.raises(UsageFault) as fault, opened(Target("b", depfile="./a"), ["a"], escape=True):
        pass
    assert str(fault.value) == "--depfile: './a' is an input, too: write to another file"
    assert os.listdir() == ["a"]


def test_closed_stdout_is_74_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(CannotWrite), output():
        pass
    with output("out") as out:  # a file is another matter
        assert conclude(out, delivered(out, answer(completion()))) == 0


def test_depfile_names_inputs_and_is_written_only_when_all_is_good() -> None:
    target = Target("out", depfile="out.d")
    for name in ("a", "b"):
        Path(name).write_text("")
    with opened(target, ["a", "b"], escape=True) as out, pytest.raises(ChatpipeError):
        conclude(out, delivered(out, answer(completion(""))))
    assert not Path("out.d").exists()
    with opened(target, ["a", "b"], escape=True) as out:
        conclude(out, delivered(out, answer(completion())))
    assert Path("out.d").read_text() == "out: \\\n  a \\\n  b\n\na:\n\nb:\n"


def written_until(error: BaseException, data: bytes = b"par") -> None:
    with output("out") as out:
        out.write(data)
        raise error


def test_part_of_an_answer_is_kept_when_the_run_is_interrupted() -> None:
    with pytest.raises(Interrupted):
        written_until(Interrupted(2))
    assert os.listdir() == ["out.part"]


def test_nothing_is_kept_of_a_run_that_failed_otherwise() -> None:
    with pytest.raises(ValueError, match="x"):
        written_until(ValueError("x"))
    assert os.listdir() == []


def test_interrupted_before_a_byte_leaves_nothing() -> None:
    with pytest.raises(Interrupted):
        written_until(Interrupted(2), b"")
    assert os.listdir() == []
