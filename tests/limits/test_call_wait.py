"""The line that says what a call waits for: its words, when it is there, and that it is gone at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from chatpipe.exchange import NO_HOOKS, Hooks, run_without_loop
from chatpipe.inputs.values import Value
from chatpipe.limits import call_wait
from chatpipe.limits.call_wait import CallWait
from chatpipe.system.status_line import StatusLine
from chatpipe.wire.answer import Answer, NullReceiver, Receiver
from support.parametrize import cases
from support.patience import PATIENCE_S

Step = Callable[[CallWait, Receiver], None]


def wait_of(clock: list[float], *, buffers_answer: bool = True) -> CallWait:
    return CallWait(StatusLine(80), buffers_answer=buffers_answer, now=lambda: clock[0])


def texts(*steps: Step, buffers_answer: bool = True) -> list[str]:
    """The line before an attempt, after each of its steps, and after its end. All is 12 s after the start."""
    clock = [100.0]
    wait = wait_of(clock, buffers_answer=buffers_answer)
    found = [wait.text(77)]

    async def send(body: dict[str, Value], receiver: Receiver, hooks: Hooks) -> Answer:
        clock[0] = 112.0
        ready = hooks.before_attempt()
        assert ready is not None
        await ready
        found.append(wait.text(77))
        for step in steps:
            step(wait, receiver)
            found.append(wait.text(77))
        return Answer(None)

    run_without_loop(wait.watch(send)({}, NullReceiver(), NO_HOOKS))
    return [*found, wait.text(77)]


def reply(wait: CallWait, receiver: Receiver) -> None:
    wait.on_reply(200, {})


def chunk(wait: CallWait, receiver: Receiver) -> None:
    receiver.chunk(b"{}", {})


FIRST = "chatpipe: 12 s: waiting for the first byte of the answer"
TOKEN = "chatpipe: 12 s: waiting for the first token of the answer"


@cases(
    "steps, buffers_answer, expected",
    {
        "no reply yet": ([], True, [FIRST]),
        "its head": ([reply], True, [FIRST, TOKEN]),
        "pieces": (
            [reply, chunk, chunk],
            True,
            [FIRST, TOKEN, "chatpipe: 12 s: about 1 token so far", "chatpipe: 12 s: about 2 tokens so far"],
        ),
        "pieces that are written": ([reply, chunk], False, [FIRST, TOKEN, ""]),
    },
)
def test_the_line_says_what_the_call_waits_for(
    steps: list[Step], buffers_answer: bool, expected: list[str]
) -> None:
    assert texts(*steps, buffers_answer=buffers_answer) == ["", *expected, ""]


def test_a_pause_is_shown_with_what_is_left_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = [100.0], []
    wait = wait_of(clock)

    async def sleep(seconds: float) -> None:
        clock[0] += 5.5
        seen.append(wait.text(77))

    monkeypatch.setattr(call_wait, "sleep_without_loop", sleep)
    wait.before_attempt()
    run_without_loop(wait.sleep(8.0))
    assert seen == ["chatpipe: 6 s: pausing for 3 s"]
    assert wait.text(77) == "chatpipe: 6 s: waiting for the first byte of the answer"


@cases(
    "width, steps, expected",
    {
        "all of it": (56, [], FIRST),
        "without the name": (55, [], "12 s: waiting for the first byte of the answer"),
        "one word": (45, [], "12 s: waiting"),
        "one word of the head": (45, [reply], "12 s: waiting"),
        "the tokens": (17, [reply, chunk], "12 s: 1 token"),
        "20 columns": (17, [], "12 s: waiting"),
        "the time": (12, [], "12 s"),
        "nothing but a start": (3, [], "12 "),
    },
)
def test_a_narrow_terminal_has_whole_words(width: int, steps: list[Step], expected: str) -> None:
    clock = [100.0]
    wait = wait_of(clock)
    clock[0] = 112.0
    wait.before_attempt()
    for step in steps:
        wait.count_piece() if step is chunk else step(wait, NullReceiver())
    assert wait.text(width) == expected


def test_the_line_comes_late_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(call_wait, "_DELAY_S", 0.0)
    wait = wait_of([100.0])
    drawn = threading.Event()
    draw = StatusLine.draw

    def draw_once(line: StatusLine, text: str) -> None:
        draw(line, text)
        drawn.set()

    monkeypatch.setattr(StatusLine, "draw", draw_once)
    wait.before_attempt()
    with wait.shown():
        assert drawn.wait(PATIENCE_S)
    line = "chatpipe: 0 s: waiting for the first byte of the answer"
    blank = " " * (len(line) + len("^C"))
    assert capfd.readouterr().err == f"\r{line}\r{blank}\r"


def test_a_short_call_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    wait = wait_of([100.0])
    with wait.shown():
        wait.before_attempt()
    assert capfd.readouterr().err == ""
