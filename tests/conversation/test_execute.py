"""Commands behind tools: real processes, run beside each other, and none of them left behind."""

from __future__ import annotations

import errno
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatpipe.conversation import execute, process
from chatpipe.conversation.execute import (
    Toolbox,
    ToolsStopped,
)
from chatpipe.conversation.process import ChildProcess, CommandResult
from chatpipe.errors import Interrupted
from chatpipe.system.signals import interruptible
from support.parametrize import cases
from support.patience import PATIENCE_S, until
from support.process import has_ended
from support.speed import at_any_speed

ENVIRON = {"PATH": os.environ["PATH"]}
Make = Callable[..., Toolbox]
TOOLS = [{"type": "function", "function": {"name": "weather"}}, {"type": "custom", "custom": {"name": "sql"}}]


class Told:
    """The output of a toolbox: notes for the user, details for -v."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.details: list[str] = []


@pytest.fixture
def console() -> Told:
    return Told()


@pytest.fixture
def toolbox(console: Told) -> Callable[..., Toolbox]:
    def make(commands: dict[str, list[str]], **more: Any) -> Toolbox:
        given = {
            "timeout_s": 20.0,
            "environ": ENVIRON,
            "detail": console.details.append,
            "note": console.notes.append,
        }
        return Toolbox(commands, **{**given, **more})

    return make


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script)]


def calling(*names: str, arguments: str = "{}") -> dict[str, Any]:
    """A message that calls these, with the ids 0, 1 and so on."""
    calls = [
        {"id": str(place), "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, name in enumerate(names)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(box: Toolbox, message: dict[str, Any] | None = None) -> str:
    """The text that the model gets for the one call."""
    (answer,) = box.run(message or calling("f")).messages
    text: str = answer["content"]
    return text


# What a command gets and gives


def test_arguments_on_stdin_result_from_stdout(toolbox: Make, console: Told) -> None:
    box = toolbox({"f": ["cat"]})
    assert box.run(calling("f", arguments='{"city": "Tromsø"}')).messages == [
        {"role": "tool", "tool_call_id": "0", "content": '{"city": "Tromsø"}'}
    ]
    assert console.notes == []


def test_custom_tool_gets_its_text_and_a_function_call_is_answered_by_name(
    toolbox: Make,
) -> None:
    box = toolbox({"f": ["cat"]})
    custom = {"id": "x", "type": "custom", "custom": {"name": "f", "input": "a\nb\n\n"}}
    assert box.run({"tool_calls": [custom]}).messages == [
        {"role": "tool", "tool_call_id": "x", "content": "a\nb\n"}
    ]
    legacy = {"function_call": {"name": "f", "arguments": "{}"}}
    assert box.run(legacy).messages == [{"role": "function", "name": "f", "content": "{}"}]


@cases(
    "script, text",
    {
        "one final newline removed": ("printf 'a\\n'", "a"),
        "one only": ("printf 'a\\n\\n'", "a\n"),
        "nothing": ("printf ''", ""),
        "not UTF-8": ("printf '\\377a'", "\ufffda"),
        "NUL": ("printf 'a\\0b'", "a\ufffdb"),
        "stderr is not told": ("echo out; echo err >&2", "out"),
        "closes its pipes first": ("echo a; exec >&- 2>&-; sleep 0.1", "a"),
        "as much as is allowed": ("head -c 1048576 /dev/zero | tr '\\0' x", "x" * 1048576),
    },
)
def test_the_result_is_the_output_of_the_command(
    toolbox: Make, console: Told, script: str, text: str
) -> None:
    assert result(toolbox({"f": sh(script)})) == text
    assert console.notes == []


def test_no_shell_sees_the_command(toolbox: Make) -> None:
    box = toolbox({"f": ["echo", "$HOME", ";", "*", "`x`"]})
    assert result(box) == "$HOME ; * `x`"


LONG = '{"a":"' + "x" * 10_000_000 + '"}'


@pytest.mark.parametrize("script", ["exit 0", "exec <&-; echo", "head -c 1 >/dev/null"])
def test_a_tool_need_not_read_its_arguments(toolbox: Make, console: Told, script: str) -> None:
    assert result(toolbox({"f": sh(script)}), calling("f", arguments=LONG)) == ""
    assert console.notes == []


def test_long_arguments_arrive_whole(toolbox: Make) -> None:
    assert result(toolbox({"f": ["wc", "-c"]}), calling("f", arguments=LONG)).strip() == "10000008"


def test_a_tool_that_writes_before_it_reads_does_not_lock(toolbox: Make) -> None:
    box = toolbox({"f": sh("head -c 500000 /dev/zero >&2; head -c 500000 /dev/zero | tr '\\0' x; wc -c")})
    assert result(box, calling("f", arguments=LONG)).lstrip("x").strip() == "10000008"


def test_a_command_gets_its_environment_and_pipes_and_nothing_else(toolbox: Make) -> None:
    script = """
        import os, signal
        handed_on = []
        for number in range(3, 64):
            try:
                os.fstat(number)
                handed_on.append(number)
            except OSError:
                pass
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        print(handed_on, sorted(os.environ), sorted(mask), os.getsid(0) == os.getpid())
    """
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        box = toolbox({"f": python(script)}, environ={"A": "1", "LC_CTYPE": "C.UTF-8"})
        assert result(box) == "[] ['A', 'LC_CTYPE'] [] True"
    finally:
        os.close(read)
        os.close(write)


def test_signals_have_their_default_meaning(toolbox: Make, console: Told) -> None:
    """Python ignores SIGPIPE, and so would every `yes | head` of a script."""
    assert result(toolbox({"f": sh("kill -s PIPE $$; echo ignored")})) == (
        "error: the tool was killed by SIGPIPE"
    )
    assert console.notes == ["tool 'f' was killed by SIGPIPE: the model gets the error"]


# Several


def test_calls_run_at_the_same_time_and_are_answered_in_order(toolbox: Make, tmp_path: Path) -> None:
    """Each waits until all are running, and the first ends last."""
    met = f"echo >{tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) = 4 ]; do sleep 0.01; done"
    tools = {
        "a": f"{met}; sleep 0.2; echo slow",
        "b": f"{met}; sleep 0.1; echo less",
        "c": f"{met}; echo quick",
    }
    answers = (
        toolbox({name: sh(script) for name, script in tools.items()})
        .run(calling("a", "b", "a", "c"))
        .messages
    )
    assert [(answer["tool_call_id"], answer["content"]) for answer in answers] == [
        *(("0", "slow"), ("1", "less"), ("2", "slow"), ("3", "quick"))
    ]


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do this in each of `count` threads, and wait for all."""
    threads = [threading.Thread(target=work, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_more_calls_than_run_at_once_in_all_threads(
    toolbox: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(execute, "_MAX_CONCURRENT", 2)
    box = toolbox({"f": sh(f"touch {tmp_path}/$$; sleep 0.03; ls {tmp_path} | wc -l; rm {tmp_path}/$$")})
    answers: list[dict[str, Any]] = []
    in_threads(3, lambda _: answers.extend(box.run(calling(*"fff")).messages))
    assert sorted(answer["tool_call_id"] for answer in answers) == list("000111222")
    assert {int(answer["content"]) for answer in answers} <= {1, 2}


def test_calls_wait_if_the_system_has_no_descriptors_left(
    toolbox: Make, console: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ChildProcess.__init__
    box = toolbox({"f": ["echo", "x"]})

    def started_with_room(self: Any, *values: Any, **more: Any) -> None:
        if len(box._children) == 2:
            raise OSError(errno.EMFILE, "too many open files")
        start(self, *values, **more)

    monkeypatch.setattr(ChildProcess, "__init__", started_with_room)
    assert [answer["content"] for answer in box.run(calling(*"fffff")).messages] == ["x"] * 5
    assert console.notes == []


def test_one_that_fails_takes_nothing_from_the_others(toolbox: Make) -> None:
    box = toolbox({"a": sh("exit 1"), "b": ["/nonexistent"], "c": sh("sleep 0.05; echo fine")})
    assert [answer["content"] for answer in box.run(calling("a", "b", "c")).messages] == [
        "error: the tool ended with status 1",
        "error: the tool cannot be started: no such file or directory",
        "fine",
    ]


def test_nothing_called_nothing_answered(toolbox: Make) -> None:
    assert toolbox({}).run({"role": "assistant", "content": "hi"}).messages == []


# What goes wrong is told


def test_a_failed_status_is_reported_with_both_outputs(toolbox: Make, console: Told) -> None:
    box = toolbox({"f": sh("echo half; echo 'no such city' >&2; exit 3")})
    assert result(box) == "error: the tool ended with status 3\nstdout:\nhalf\nstderr:\nno such city"
    assert console.notes == ["tool 'f' ended with status 3: the model gets the error"]


def test_only_the_end_of_a_long_stderr_is_reported(toolbox: Make) -> None:
    box = toolbox({"f": python("import sys; sys.stderr.write('ä' * 100_000 + 'b'); sys.exit(1)")})
    assert result(box) == "error: the tool ended with status 1\nstderr:\n" + "ä" * 999 + "b"


def test_a_call_that_cannot_run_is_reported_to_the_model(toolbox: Make, console: Told) -> None:
    box = toolbox({"f": ["cat"]})
    calls = calling("wether", "f", arguments="[")
    slip, bad = (answer["content"] for answer in box.run(calls, ["weather", "f"]).messages)
    assert slip == "error: there is no tool 'wether': the tools are 'f', 'weather'"
    assert bad == (
        "error: the arguments are not JSON: expecting value (line 1, column 2): "
        "call the tool again with one JSON object, not '['"
    )
    assert console.notes == [
        "the model called 'wether', which is not a tool: it gets an error",
        "the model called 'f' with arguments that are not a JSON object: it gets an error",
    ]
    assert console.details == []


IGNORES = pytest.mark.parametrize(
    "ignores", ["", "trap '' TERM;"], ids=["ends by SIGTERM", "ignores SIGTERM"]
)


@IGNORES
@at_any_speed
def test_time_out_ends_the_whole_tree(
    factor: int, toolbox: Make, console: Told, tmp_path: Path, ignores: str
) -> None:
    """The grandchild holds the pipe: a parent that waits for its end would wait for a minute."""
    script = f"{ignores} sh -c '{ignores} echo $$ >{tmp_path}/pid; echo half; sleep 60; :' & wait; wait"
    since, limit_s = time.monotonic(), 0.5 * factor
    console.notes.clear()
    text = result(toolbox({"f": sh(script)}, timeout_s=limit_s))
    assert limit_s <= time.monotonic() - since < 50
    assert text == f"error: the tool took longer than {limit_s:g} s\nstdout:\nhalf"
    assert console.notes == [f"tool 'f' took longer than {limit_s:g} s: the model gets the error"]
    until(lambda: has_ended(int((tmp_path / "pid").read_text())))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing tells what is in a session")
@at_any_speed
def test_a_time_out_also_ends_other_process_groups(factor: int, toolbox: Make, tmp_path: Path) -> None:
    """timeout(1) makes such a group, and so does a shell with job control for each job."""
    script = f"""
        import os, subprocess
        inner = subprocess.Popen(["sleep", "60"], process_group=0)
        open("{tmp_path}/pid", "w").write(str(inner.pid))
        inner.wait()
    """
    text = result(toolbox({"f": python(script)}, timeout_s=factor))
    assert text.startswith(f"error: the tool took longer than {factor} s")
    until(lambda: has_ended(int((tmp_path / "pid").read_text())))


def test_a_background_process_of_a_tool_is_neither_awaited_nor_killed(toolbox: Make, console: Told) -> None:
    since = time.monotonic()
    text = result(toolbox({"f": sh("sleep 60 & echo $!")}))
    assert time.monotonic() - since < 50
    assert console.notes == []
    assert not has_ended(int(text))
    os.kill(int(text), signal.SIGKILL)


def test_output_behind_the_end_of_the_command_is_still_read(
    toolbox: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LINGER_S", PATIENCE_S)
    assert result(toolbox({"f": sh("(sleep 0.1; echo late) & echo soon")})) == "soon\nlate"


def test_too_much_output_ends_the_tool(toolbox: Make, console: Told) -> None:
    since = time.monotonic()
    text = result(toolbox({"f": ["yes", "n"]}))
    assert time.monotonic() - since < 50
    assert text == "error: the tool wrote more than 1,048,576 bytes\nstdout:\n" + "n\n" * 999 + "n"
    assert console.notes == ["tool 'f' wrote more than 1,048,576 bytes: the model gets the error"]


def test_output_after_the_limit_is_not_kept(toolbox: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    close = ChildProcess.close

    def closed(self: ChildProcess) -> CommandResult:
        ended = close(self)
        kept.append(len(ended.stdout))
        return ended

    monkeypatch.setattr(ChildProcess, "close", closed)
    text = result(toolbox({"f": sh("trap '' TERM; while :; do head -c 100000 /dev/zero; done")}))
    assert text.startswith("error: the tool wrote more than 1,048,576 bytes\n")
    assert kept[0] <= 1_048_576 + 65_536


def test_endless_stderr_is_cut_and_not_kept(toolbox: Make) -> None:
    assert result(toolbox({"f": sh("head -c 50000000 /dev/zero >&2; echo ok")}, detail=None)) == "ok"


def test_verbose_shows_call_end_and_stderr_of_a_command(toolbox: Make, console: Told) -> None:
    box = toolbox({"f": sh("echo one >&2; echo two >&2; echo result")})
    box.run(calling("f", arguments='{"a": "' + "x" * 500 + '"}'))
    first, end, *stderr = console.details
    assert first == '> tool f: {"a": "' + "x" * 190 + "..."
    assert end.startswith("< tool f: ended with status 0 after 0.")
    assert end.endswith(" s, 7 bytes")
    assert stderr == ["< tool f: stderr: one", "< tool f: stderr: two"]


# Stopping


@IGNORES
def test_interrupt_leaves_nothing_behind(toolbox: Make, tmp_path: Path, ignores: str) -> None:
    script = f"{ignores} echo $$ >{tmp_path}/$$; sleep 60 & echo $! >{tmp_path}/$!; wait; wait"

    def hit() -> None:
        until(lambda: len([path for path in tmp_path.iterdir() if path.read_text()]) == 4)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)  # an impatient one, while the first is being obeyed

    def run() -> None:
        thread = threading.Thread(target=hit)
        thread.start()
        try:
            toolbox({"f": sh(script)}).run(calling("f", "f"))
        finally:
            thread.join()

    with pytest.raises(Interrupted), interruptible():
        run()
    for path in tmp_path.iterdir():
        until(lambda path=path: has_ended(int(path.name)))  # type: ignore[misc]


def test_interrupt_while_a_command_is_started_leaves_nothing_behind(
    toolbox: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = ChildProcess.__init__
    started: list[int] = []

    def started_and_hit(self: Any, *values: Any, **more: Any) -> None:
        start(self, *values, **more)
        started.append(self._process.pid)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ChildProcess, "__init__", started_and_hit)
    with pytest.raises(Interrupted), interruptible():
        toolbox({"f": ["sleep", "60"]}).run(calling("f", "f"))
    assert len(started) == 1
    assert has_ended(started[0])


def test_stop_from_another_thread_kills_and_refuses(toolbox: Make, tmp_path: Path) -> None:
    box = toolbox({"f": sh(f"trap '' TERM; echo $$ >{tmp_path}/pid; sleep 60; :")})
    raised: list[BaseException] = []

    def work() -> None:
        try:
            box.run(calling("f"))
        except ToolsStopped as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    box.stop()
    until(lambda: has_ended(int((tmp_path / "pid").read_text())))
    thread.join()
    assert len(raised) == 1
    with pytest.raises(ToolsStopped):
        box.run(calling("f"))


def test_a_tool_killed_by_stop_is_not_reported(
    toolbox: Make, console: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks: the command is over, and only because of that."""
    box = toolbox({"f": ["sleep", "60"]})

    def stopped_just_then(self: ChildProcess, now: float) -> bool:
        box.stop()
        until(lambda: has_ended(self._process.pid))
        return True

    monkeypatch.setattr(ChildProcess, "is_over", stopped_just_then)
    with pytest.raises(ToolsStopped):
        box.run(calling("f"))
    assert console.notes == []


def test_runs_beside_each_other_in_threads(toolbox: Make, tmp_path: Path) -> None:
    met = f"echo >{tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) = 8 ]; do sleep 0.01; done"
    box = toolbox({"f": sh(f"{met}; cat")})
    answers: dict[int, str] = {}

    def work(number: int) -> None:
        answers[number] = result(box, calling("f", arguments=f'{{"n":{number}}}'))

    in_threads(8, work)
    assert answers == {number: f'{{"n":{number}}}' for number in range(8)}


def test_no_descriptor_is_left(toolbox: Make) -> None:
    box = toolbox({"a": ["true"], "b": ["false"], "c": ["/nonexistent"], "f": ["yes"]}, timeout_s=0.05)
    box.run(calling("a"))
    before = len(os.listdir("/proc/self/fd"))
    box.run(calling("a", "b", "c", "f", "a"))
    assert len(os.listdir("/proc/self/fd")) == before


# Whose calls they are


@cases(
    "message, ours",
    {
        "no calls": ({"role": "assistant", "content": "hi"}, False),
        "has a command": (calling("sql"), True),
        "offered, without a command: the caller's": (calling("sql", "weather"), False),
        "never offered: a slip": (calling("wether"), True),
        "slip beside a good one": (calling("sql", "wether"), True),
        "slip beside the caller's": (calling("weather", "wether"), False),
        "function_call": ({"function_call": {"name": "sql"}}, True),
        "function_call of the caller": ({"function_call": {"name": "weather"}}, False),
    },
)
def test_can_answer(toolbox: Make, message: dict[str, Any], ours: bool) -> None:
    assert toolbox({"sql": ["true"]}).can_answer(message, {"tools": TOOLS}) is ours


@cases(
    ("names", "failed"),
    {
        "none": (["good", "good"], set()),
        "by its status": (["good", "bad", "bad"], {"bad"}),
        "not started": (["none", "good"], {"none"}),
        "a mistake of the model": (["unknown", "good"], set()),
    },
)
def test_tools_whose_command_failed_are_named(toolbox: Make, names: list[str], failed: set[str]) -> None:
    box = toolbox({"good": ["true"], "bad": ["false"], "none": ["/no/such/program"]})
    assert box.run(calling(*names)).failed == failed
