"""Conversations with tools: a server plays the model, the tools are scripts, each a process of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.parametrize import cases
from support.patience import until
from support.process import Done, has_ended, run, start
from support.servers.loopback import (
    Answer,
    Request,
    Server,
    chunk,
    completion,
    error,
    event,
    event_stream,
    in_turn,
    reply,
    serve,
)

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
SQL = {"type": "custom", "custom": {"name": "sql"}}
ASKED = {"role": "user", "content": "How is it?"}


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], **more: Any) -> bytes:
    """The reply of a model that calls tools."""
    message = {"role": "assistant", "content": None, "tool_calls": list(made)}
    return reply(200, completion(None, message=message, **{"finish_reason": "tool_calls", **more}))


def says(text: str) -> bytes:
    return reply(200, completion(text))


def result(call_id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


class Agent:
    """A folder with tools and scripts, and a server that gives its answers in turn."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        (folder / "tools.json").write_bytes(orjson.dumps([WEATHER, CLOCK, SQL]))

    def script(self, name: str, text: str, interpreter: str = "/bin/sh") -> None:
        path = self.folder / name
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(0o755)

    def words(self, *more: str) -> tuple[str, ...]:
        return ("ask", "--base-url", self.server.url, "-m", "m", "--tool", "tools.json", *more)

    def ask(self, *more: str, answers: tuple[Answer, ...], env: dict[str, str] | None = None) -> Done:
        self.server.handler = in_turn(*answers)
        return run(*self.words(*more, "How is it?"), cwd=self.folder, env=env)

    def sent(self) -> list[list[dict[str, Any]]]:
        """The messages of each request, those of the one before it left out."""
        all_of_them = [request.json()["messages"] for request in self.server.requests]
        for before, after in pairwise(all_of_them):
            assert after[: len(before)] == before
        lengths = [0, *map(len, all_of_them)]
        return [messages[length:] for messages, length in zip(all_of_them, lengths, strict=False)]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with serve() as server:
        yield Agent(tmp_path, server)


# The tool loop


def test_two_tools_over_three_turns(agent: Agent) -> None:
    agent.script("weather", 'import json, sys\nprint(4, json.load(sys.stdin)["city"])', sys.executable)
    agent.script("clock", "cat >/dev/null; echo noon")
    both = [call("1", "weather", '{"city": "Oslo"}'), call("2", "clock")]
    again = call("3", "weather", '{"city":"Tromsø"}')
    done = agent.ask(
        *("--exec", "weather=./weather", "--exec", "clock=./clock"),
        answers=(calls(*both), calls(again), says("Fine.")),
    )
    assert done == (0, b"Fine.\n", b"")
    assert agent.sent() == [
        [ASKED],
        [{"role": "assistant", "tool_calls": both}, result("1", "4 Oslo"), result("2", "noon")],
        [{"role": "assistant", "tool_calls": [again]}, result("3", "4 Tromsø")],
    ]


def test_calls_of_one_answer_run_at_the_same_time(agent: Agent) -> None:
    """Each waits for a file of the other: one after the other they would never end."""
    wait = "touch $1; while [ ! -e $2 ]; do sleep 0.01; done; echo $1"
    agent.script("tool", wait)
    done = agent.ask(
        *("--exec", "weather=./tool a b", "--exec", "clock=./tool b a", "--exec-timeout", "60"),
        answers=(calls(call("1", "weather"), call("2", "clock")), says("Fine.")),
    )
    assert done == (0, b"Fine.\n", b"")
    assert agent.sent()[1][1:] == [result("1", "a"), result("2", "b")]


def streamed(*deltas: dict[str, Any], finish_reason: str) -> Answer:
    chunks = [*map(chunk, deltas), chunk(finish_reason=finish_reason)]
    return event_stream([*map(event, chunks), event(b"[DONE]")])


def test_streamed_calls_in_pieces(agent: Agent) -> None:
    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more.pop("name")} if more else {})}
        return {"tool_calls": [{"index": index, **more, "function": function}]}

    done = agent.ask(
        *("--exec", "weather=cat", "--exec", "clock=cat"),
        answers=(
            streamed(
                {"role": "assistant", "content": None},
                piece(0, "", id="1", type="function", name="weather"),
                piece(0, '{"ci'),
                piece(1, '{"a', id="2", type="function", name="clock"),
                piece(0, 'ty":1}'),
                piece(1, '":2}'),
                finish_reason="tool_calls",
            ),
            streamed({"content": "Fi"}, {"content": "ne."}, finish_reason="stop"),
        ),
    )
    assert done == (0, b"Fine.\n", b"")
    assert agent.sent()[1][1:] == [result("1", '{"city":1}'), result("2", '{"a":2}')]


def test_custom_tool_gets_its_text(agent: Agent) -> None:
    custom = {"id": "1", "type": "custom", "custom": {"name": "sql", "input": "select 1\n"}}
    done = agent.ask("--exec", "sql=tr a-z A-Z", answers=(calls(custom), says("Fine.")))
    assert done == (0, b"Fine.\n", b"")
    assert agent.sent()[1] == [{"role": "assistant", "tool_calls": [custom]}, result("1", "SELECT 1")]


def test_function_call_of_the_older_kind(agent: Agent) -> None:
    (agent.folder / "old.json").write_bytes(orjson.dumps(WEATHER["function"]))
    called = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    message = {"role": "assistant", "content": None, "function_call": called}
    first = reply(200, completion(None, message=message, finish_reason="function_call"))
    agent.server.handler = in_turn(first, says("Fine."))
    words = ("--function", "old.json", "--exec", "weather=cat", "How is it?")
    done = run("ask", "--base-url", agent.server.url, "-m", "m", *words, cwd=agent.folder)
    assert done == (0, b"Fine.\n", b"")
    assert agent.sent()[1] == [
        {"role": "assistant", "function_call": called},
        {"role": "function", "name": "weather", "content": '{"city":"Oslo"}'},
    ]


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_forced_choice_holds_for_the_first_turn(agent: Agent, choice: str) -> None:
    done = agent.ask(
        *("--exec", "weather=cat", "--tool-choice", choice),
        answers=(calls(call("1", "weather")), says("Fine.")),
    )
    assert done.status == 0
    first, second = (request.json()["tool_choice"] for request in agent.server.requests)
    assert first != "auto"
    assert second == "auto"


# Failures are told to the model, and reported to the user


@cases(
    ("command", "made", "reported", "stderr"),
    {
        "fails": (
            "sh -c 'echo half; echo why >&2; exit 3'",
            call("1", "weather"),
            "error: the tool ended with status 3\nstdout:\nhalf\nstderr:\nwhy",
            "tool 'weather' ended with status 3: the model gets the error",
        ),
        "is too slow": (
            "sleep 30",
            call("1", "weather"),
            "error: the tool took longer than 0.2 s",
            "tool 'weather' took longer than 0.2 s: the model gets the error",
        ),
        "writes too much": (
            "yes",
            call("1", "weather"),
            "error: the tool wrote more than 1,048,576 bytes\nstdout:\n" + "y\n" * 999 + "y",
            "tool 'weather' wrote more than 1,048,576 bytes: the model gets the error",
        ),
        "is not there": (
            "cat",
            call("1", "wether"),
            "error: there is no tool 'wether': the tools are 'clock', 'sql', 'weather'",
            "the model called 'wether', which is not a tool: it gets an error",
        ),
    },
)
def test_a_failed_tool_is_reported_to_the_model(
    agent: Agent, command: str, made: dict[str, Any], reported: str, stderr: str
) -> None:
    done = agent.ask(
        *("--exec", f"weather={command}", "--exec-timeout", "0.2" if command == "sleep 30" else "60"),
        answers=(calls(made), says("Sorry.")),
    )
    assert done == (0, b"Sorry.\n", f"chatpipe: {stderr}\n".encode())
    assert agent.sent()[1] == [{"role": "assistant", "tool_calls": [made]}, result("1", reported)]


def test_arguments_that_are_not_json_are_reported_to_the_model(agent: Agent) -> None:
    """They are told, and not sent back as they are: servers that parse them would refuse the rest, too."""
    done = agent.ask(
        *("--exec", "weather=touch ran"), answers=(calls(call("1", "weather", '{"city": ')), says("Sorry."))
    )
    assert done == (
        0,
        b"Sorry.\n",
        b"chatpipe: the model called 'weather' with arguments that are not a JSON object: it gets an error\n",
    )
    assert agent.sent()[1] == [
        {"role": "assistant", "tool_calls": [call("1", "weather", "{}")]},
        result(
            "1",
            "error: the arguments are not JSON: expecting value (line 1, column 10): "
            "call the tool again with one JSON object, not '{\"city\":'",
        ),
    ]
    assert not (agent.folder / "ran").exists()


def test_quiet_reports_to_the_model_only(agent: Agent) -> None:
    done = agent.ask("-q", "--exec", "weather=false", answers=(calls(call("1", "weather")), says("Sorry.")))
    assert done == (0, b"Sorry.\n", b"")


# Where it ends


def test_max_turns_ends_the_loop_with_6(agent: Agent) -> None:
    done = agent.ask(
        *("--exec", "weather=sh -c 'echo >>ran'", "--max-turns", "3", "-o", "out"),
        answers=(calls(call("1", "weather")),),
    )
    assert done.status == 6
    assert done.stdout == b""
    assert b"--max-turns" in done.stderr
    assert len(agent.server.requests) == 3
    assert (agent.folder / "ran").read_text() == "\n\n"
    assert not (agent.folder / "out").exists()


def test_half_a_call_is_not_run(agent: Agent) -> None:
    cut = calls(call("1", "weather", '{"city": "Os'), finish_reason="length")
    done = agent.ask("--exec", "weather=touch ran", answers=(cut,))
    assert done.status == 3
    assert not (agent.folder / "ran").exists()
    assert len(agent.server.requests) == 1


@pytest.mark.parametrize(("format", "status"), [("text", 6), ("tool-calls", 0)])
def test_calls_of_the_caller_are_handed_over_and_nothing_is_run(
    agent: Agent, format: str, status: int
) -> None:
    made = [call("1", "weather", '{"city":"Oslo"}'), call("2", "clock")]
    done = agent.ask("--exec", "weather=touch ran", "-f", format, answers=(calls(*made),))
    assert done.status == status
    assert not (agent.folder / "ran").exists()
    if format == "tool-calls":
        assert [orjson.loads(line) for line in done.stdout.splitlines()] == [
            {"id": "1", "name": "weather", "arguments": {"city": "Oslo"}},
            {"id": "2", "name": "clock", "arguments": {}},
        ]


def test_a_script_answers_by_a_transcript(agent: Agent) -> None:
    """Handed over, answered, and the conversation goes on: each call a process of its own."""
    first = agent.ask("--transcript", "talk", "-f", "tool-calls", answers=(calls(call("1", "clock")),))
    assert first == (0, b'{"id":"1","name":"clock","arguments":{}}\n', b"")
    agent.server.handler = in_turn(says("Noon."))
    done = run(*agent.words("--transcript", "talk", "--tool-result", "1=12:00"), cwd=agent.folder)
    assert done == (0, b"Noon.\n", b"")
    assert agent.server.requests[1].json()["messages"] == [
        ASKED,
        {"role": "assistant", "tool_calls": [call("1", "clock")]},
        result("1", "12:00"),
    ]


def test_every_step_is_in_the_transcript(agent: Agent) -> None:
    done = agent.ask(
        *("--exec", "weather=cat", "--transcript", "talk"),
        answers=(calls(call("1", "weather")), says("Fine.")),
    )
    assert done == (0, b"Fine.\n", b"")
    stored = [orjson.loads(line) for line in (agent.folder / "talk").read_bytes().splitlines()]
    assert stored == [
        ASKED,
        {"role": "assistant", "tool_calls": [call("1", "weather")]},
        result("1", "{}"),
        {"role": "assistant", "content": "Fine."},
    ]


def test_every_step_is_shown_by_verbose(agent: Agent) -> None:
    done = agent.ask(
        *("-v", "--exec", "weather=sh -c 'echo looking >&2; cat'"),
        answers=(calls(call("1", "weather", '{"city":"Oslo"}')), says("Fine.")),
    )
    lines = [line for line in done.stderr.decode().splitlines() if " tool weather" in line]
    started, ended, stderr = lines
    assert started == 'chatpipe: > tool weather: {"city":"Oslo"}'
    assert ended.startswith("chatpipe: < tool weather: ended with status 0 after ")
    assert ended.endswith(" s, 15 bytes")
    assert stderr == "chatpipe: < tool weather: stderr: looking"


# Nothing is given away, nothing is left behind


@pytest.mark.parametrize("source", ["environment", "file", "header"])
def test_a_tool_gets_no_key(agent: Agent, source: str) -> None:
    (agent.folder / "key").write_text("sk-secret-1\n")
    words = {
        "environment": (),
        "file": ("--key-file", "key"),
        "header": ("-H", "X-Api-Key: sk-secret-1"),
    }[source]
    env = {"MY_COPY": "Bearer sk-secret-1", "OPENAI_CUSTOM_HEADERS": "X-A: b", "HARMLESS": "yes"}
    if source == "environment":
        env["OPENAI_API_KEY"] = "sk-secret-1"
    made = calls(call("1", "weather"))
    done = agent.ask("-v", "--exec", "weather=env", *words, answers=(made, says("Fine.")), env=env)
    assert done.status == 0
    console = agent.sent()[1][1]["content"]
    assert "HARMLESS=yes" in console
    assert "sk-secret-1" not in console
    assert "OPENAI_" not in console
    assert b"sk-secret-1" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_tools_run_leaves_nothing(agent: Agent, number: signal.Signals) -> None:
    agent.script("tool", "sleep 60 & echo $! $$ >$1.new; mv $1.new $1.pids; wait")
    agent.server.handler = in_turn(calls(call("1", "weather"), call("2", "clock")))
    words = agent.words("--exec", "weather=./tool a", "--exec", "clock=./tool b", "-o", "out", "x")
    with start(*words, cwd=agent.folder) as process:
        until(lambda: len(list(agent.folder.glob("*.pids"))) == 2)
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr) == (-number, b"", b"")
    for path in agent.folder.glob("*.pids"):
        for pid in path.read_text().split():
            until(lambda pid=pid: has_ended(int(pid)))  # type: ignore[misc]
    assert sorted(path.name for path in agent.folder.iterdir()) == ["a.pids", "b.pids", "tool", "tools.json"]


# Before anything is sent


@cases(
    ("words", "status", "stderr"),
    {
        "slip": (
            ["--exec", "wether=cat"],
            2,
            "--exec: the request has no tool 'wether': did you mean 'weather'?",
        ),
        "missing": (
            ["--exec", "weather=./missing"],
            66,
            "--exec weather: no program './missing': check that it is executable and on PATH",
        ),
        "choices": (
            ["--exec", "weather=cat", "-n", "2"],
            2,
            "--exec: tools are run for one choice only: ask for one with -n 1",
        ),
        "nothing to run": (
            ["--max-turns", "2"],
            2,
            "--max-turns: there is no tool to run: add --exec NAME=COMMAND",
        ),
    },
)
def test_a_wrong_call_is_refused_before_anything_is_sent(
    agent: Agent, words: list[str], status: int, stderr: str
) -> None:
    done = agent.ask(*words, "-o", "out", answers=(says("Fine."),))
    assert done == (status, b"", f"chatpipe: {stderr}\n".encode())
    assert agent.server.requests == []
    assert [path.name for path in agent.folder.iterdir()] == ["tools.json"]


OLD, NEW = "sk-old-key-0123456789", "sk-new-key-0123456789"


@cases(
    ("printed", "old", "status", "bearers", "shown"),
    {
        "it expires between turns": ((OLD, NEW), 1, 0, [OLD, OLD, NEW], b"Sunny.\n"),
        "the command has no other": ((OLD, OLD), 1, 77, [OLD, OLD], b""),
        "the next one is refused too": ((OLD, "sk-other-key-0123456789"), 1, 77, [OLD, OLD], b""),
        "it was never good": ((OLD, NEW), 0, 77, [OLD], b""),
    },
)
def test_a_key_by_command_that_expires(
    agent: Agent, printed: tuple[str, ...], old: int, status: int, bearers: list[str], shown: bytes
) -> None:
    """After a success a 401 calls the command once more. The turn is sent again, and no tool runs twice."""
    left = [old]

    def handler(request: Request) -> Answer:
        key = request.headers["authorization"].removeprefix("Bearer ")
        if key != NEW and not left[0]:
            return error(401, "it has expired")
        left[0] -= key == OLD
        return says("Sunny.") if request.json()["messages"][1:] else calls(call("c1", "weather"))

    agent.server.handler = handler
    (agent.folder / "keys").write_text("".join(f"{key}\n" for key in printed))
    agent.script("key", 'echo x >>printed; sed -n "$(wc -l <printed)p" keys')
    agent.script("tool", "echo x >>ran; echo sun")
    words = agent.words("--exec", "weather=./tool", "--key-command", "./key", "x")
    done = run(*words, cwd=agent.folder)
    assert (done.status, done.stdout) == (status, shown), done.stderr
    sent = [request.headers["authorization"].removeprefix("Bearer ") for request in agent.server.requests]
    assert sent[: len(bearers)] == bearers
    assert len(sent) <= len(bearers) + (printed[1] not in (OLD, NEW))
    ran = agent.folder / "ran"
    assert (ran.read_text() if ran.exists() else "") == ("x\n" if old else "")
