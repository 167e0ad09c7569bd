"""Runs whose lines take several turns: schemas, re-asking, tools. Real processes, a real server."""

from __future__ import annotations

import functools
import json
import shlex
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from batch import runs
from batch.result_lines import outcomes, records
from batch.runs import command, jsonl, prompt, started
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import run
from support.servers.loopback import (
    Answer,
    Pause,
    Request,
    chunk,
    completion,
    event,
    event_stream,
    reply,
    serve,
)

LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}
SCHEMA = ("--schema-json", json.dumps(LABEL))


TWO = jsonl({"prompt": "one"}, {"prompt": "two"})
batch = functools.partial(runs.batch, stdin=TWO)


def counted(text: str, tokens: int = 10) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens - 2, "completion_tokens": 2, "total_tokens": tokens}
    return {**completion(text), "usage": usage}


def wrong_for_one(request: Request) -> list[bytes]:
    """`one` gets a label that is none, at first; everything else fits."""
    messages = request.json()["messages"]
    is_first = len(messages) == 1 and messages[0]["content"] == "one"
    return [reply(200, counted('{"label":"fair"}' if is_first else '{"label":"good"}'))]


def test_an_answer_that_does_not_fit_is_a_mismatch_with_its_place() -> None:
    done = batch(*SCHEMA, handler=wrong_for_one)
    one, two = done.in_order
    assert done.status == 1
    assert (one["chatpipe"]["outcome"], two["chatpipe"]["outcome"]) == ("mismatch", "ok")
    assert one["error"]["code"] == "mismatch"
    assert "/label" in one["error"]["message"]
    assert one["response"]["body"]["choices"][0]["message"]["content"] == '{"label":"fair"}'


def test_all_mismatches_are_status_5() -> None:
    assert batch(*SCHEMA, handler=lambda _: [reply(200, counted("no JSON"))]).status == 5


def test_allowed_mismatches_are_good() -> None:
    done = batch(*SCHEMA, "--allow", "mismatch", handler=wrong_for_one)
    assert done.status == 0
    assert [line["error"] for line in done.in_order] == [None, None]


def test_reasking_names_the_violation_and_counts_every_turn(tmp_path: Path) -> None:
    seen: list[Any] = []

    def watched(request: Request) -> list[bytes]:
        seen.append(request.json())
        return wrong_for_one(request)

    done = batch(*SCHEMA, "--reask", "1", "--report", "report.json", cwd=tmp_path, handler=watched)
    one, two = done.in_order
    assert (done.status, done.outcomes) == (0, ["ok", "ok"])
    again = next(body for body in seen if len(body["messages"]) == 3)["messages"]
    assert [message["role"] for message in again] == ["user", "assistant", "user"]
    assert again[1]["content"] == '{"label":"fair"}'
    assert "/label" in again[2]["content"]
    assert (one["chatpipe"]["turns"], one["chatpipe"]["attempts"]) == (2, 2)
    assert "turns" not in two["chatpipe"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["tokens"]["total"], report["retries"]) == (30, 0)


def test_a_reask_counts_for_the_budget_of_the_next_run_too(tmp_path: Path) -> None:
    """30 tokens are spent in the first run; what the journal says of earlier turns is among them."""
    spent = ("--max-total-tokens", "30", "-o", "out", "--journal", "j", "--max-completion-tokens", "1")
    with serve(wrong_for_one) as server:
        again = command(server, *SCHEMA, "--reask", "1")
        first = run(*again, *spent[2:], stdin=TWO + b"{\n", cwd=tmp_path)
        assert first.status == 1  # a run that is finished would not count
        done = run(*again, *spent, stdin=TWO + jsonl({"prompt": "three"}), cwd=tmp_path)
    assert done.status == 7
    assert b"30 are spent" in done.stderr


def test_a_line_with_its_own_format_is_not_checked_against_ours() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "text"}}
    done = batch(*SCHEMA, stdin=jsonl(body), handler=lambda _: [reply(200, counted("plain"))])
    assert (done.status, done.outcomes) == (0, ["ok"])


def test_mismatches_are_sent_again_only_on_request(tmp_path: Path) -> None:
    sent: list[str] = []

    def watched(request: Request) -> list[bytes]:
        sent.append(request.json()["messages"][0]["content"])
        return [reply(200, counted('{"label":"fair"}' if len(sent) <= 2 else '{"label":"good"}'))]

    with serve(watched) as server:
        again = command(server, *SCHEMA, "-o", "out")
        assert run(*again, stdin=TWO, cwd=tmp_path).status == 5
        assert run(*again, stdin=TWO, cwd=tmp_path).status == 5
        assert len(sent) == 2
        assert run(*again, "--resend", "mismatch", stdin=TWO, cwd=tmp_path).status == 0
    assert len(sent) == 4


WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
def tool(tmp_path: Path) -> tuple[str, ...]:
    script = tmp_path / "weather.sh"
    script.write_text('#!/bin/sh\nread -r arguments\necho "$arguments: 12"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "weather.json").write_text(json.dumps(WEATHER))
    return "--tool", "weather.json", "--exec", "weather=./weather.sh"


def calling(arguments: dict[str, str], usage: dict[str, int]) -> bytes:
    """An answer that calls the tool."""
    function = {"name": "weather", "arguments": json.dumps(arguments)}
    call = {"id": "c1", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return reply(200, completion(None, message=message, finish_reason="tool_calls", usage=usage))


def calls_then_answers(request: Request) -> list[bytes]:
    if request.json()["messages"][-1]["role"] == "tool":
        return [reply(200, counted(f"says {prompt(request)}"))]
    return [calling({"city": prompt(request)}, counted("")["usage"])]


def test_tools_run_for_every_line(tool: tuple[str, ...], tmp_path: Path) -> None:
    done = batch(*tool, "-f", "string", cwd=tmp_path, handler=calls_then_answers)
    assert done.status == 0
    assert done.records == [
        'says {"city": "one"}: 12',
        'says {"city": "two"}: 12',
    ]


def test_the_last_turn_that_still_calls_is_that_line_s_failure(tool: tuple[str, ...], tmp_path: Path) -> None:
    done = batch(*tool, "--max-turns", "1", cwd=tmp_path, handler=calls_then_answers)
    assert (done.status, done.outcomes) == (6, ["tool-calls", "tool-calls"])
    assert done.in_order[0]["error"]["message"] == "it still calls tools in turn 1"


def test_a_line_may_have_tools_of_its_own(tool: tuple[str, ...], tmp_path: Path) -> None:
    body = {
        "messages": [{"role": "user", "content": "Oslo"}],
        "tools": [{"type": "function", "function": WEATHER}],
    }
    done = batch(*tool[2:], "-f", "string", stdin=jsonl(body), cwd=tmp_path, handler=calls_then_answers)
    assert (done.status, done.stdout) == (0, b'"says {\\"city\\": \\"Oslo\\"}: 12"\n')


def test_many_lines_with_tools_at_once(tool: tuple[str, ...], tmp_path: Path) -> None:
    done = batch(
        *tool, "-j", "32", "-f", "string", stdin=prompts(100), cwd=tmp_path, handler=calls_then_answers
    )
    assert done.status == 0
    assert done.records == [f'says {{"city": "{number}"}}: 12' for number in range(100)]


def test_a_stream_that_is_cut_keeps_the_part_that_came() -> None:
    begun = event_stream([event(chunk("Half of"))])
    done = batch("--stream", "--retries", "0", stdin=jsonl("x"), handler=lambda _: begun)
    (line,) = done.in_order
    assert (done.status, line["chatpipe"]["outcome"]) == (76, "network")
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "Half of"
    assert line["error"]["code"] == "network"


def always_calls(request: Request, answer: int = 5) -> list[bytes]:
    """A token is four bytes of a request."""
    used = len(request.body) // 4
    return [calling({}, {"prompt_tokens": used, "completion_tokens": answer, "total_tokens": used + answer})]


def prompts(count: int) -> bytes:
    return jsonl(*({"prompt": str(number)} for number in range(count)))


@pytest.mark.parametrize("jobs", ["1", "3", "8"])
@cases(
    "limit", {"tokens": ("--max-total-tokens", "2000"), "money": ("--max-cost", "2000", "--prices", "prices")}
)
def test_a_budget_ends_conversations_too(
    jobs: str, limit: tuple[str, ...], tool: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "prices").write_text("[m]\ninput = 1e6\noutput = 1e6\n")
    options = (*tool, "--max-tokens", "5", "-j", jobs, *limit, "--report", "report", "--journal", "j")
    with serve(always_calls) as server:
        done = run(*command(server, *options), stdin=prompts(8), cwd=tmp_path)
        sent = len(server.requests)
        again = run(*command(server, *options), stdin=prompts(8), cwd=tmp_path)
        spent = sum(len(request.body) // 4 + 5 for request in server.requests)
    assert (done.status, again.status) == (7, 7)
    assert 1000 < spent <= 2000
    assert b"and the next turn may take" in done.stderr
    assert json.loads((tmp_path / "report").read_text())["retries"] == 0
    lines = records(done.stdout)
    stopped = [line for line in lines if line["chatpipe"]["outcome"] == "unsent"]
    assert stopped
    for line in stopped:
        about = line["chatpipe"]
        assert line["error"]["code"] == "unsent"
        assert about["turns"] == about["attempts"] == len(about["earlier_usage"])
    assert sum(line["chatpipe"].get("turns", 1) for line in lines) == sent


def test_a_budget_that_suffices_stops_no_conversation(tool: tuple[str, ...], tmp_path: Path) -> None:
    done = batch(
        *tool, "--max-tokens", "5", "--max-total-tokens", "500", cwd=tmp_path, handler=calls_then_answers
    )
    assert (done.status, done.outcomes) == (0, ["ok", "ok"])


def test_a_turn_waits_for_budget_that_others_have_reserved(tool: tuple[str, ...], tmp_path: Path) -> None:
    """The first answer is a long one, so that for the next turn as much is set aside as for the others."""

    def honest(request: Request) -> Answer:
        if request.json()["messages"][-1]["content"].endswith(": 12"):
            used = {"prompt_tokens": len(request.body) // 4, "completion_tokens": 2}
            return [Pause(0.2), reply(200, {**completion("12"), "usage": used})]
        if request.json()["messages"][0]["content"] == "0":
            return always_calls(request, answer=300)
        return [Pause(0.3), *always_calls(request)]

    options = (*tool, "--max-tokens", "300", "--max-total-tokens", "1500", "-j8")
    done = batch(*options, stdin=prompts(4), cwd=tmp_path, handler=honest)
    assert (done.status, done.outcomes) == (0, ["ok"] * 4)


def test_a_budget_ends_reasking_too(tmp_path: Path) -> None:
    options = (*SCHEMA, "--reask", "5", "--max-tokens", "5", "--max-total-tokens", "330", "-j1")
    done = batch(*options, cwd=tmp_path, handler=lambda _: [reply(200, counted("no JSON", 100))])
    assert len(done.requests) <= 3
    assert (done.status, done.outcomes) == (7, ["unsent"])


def test_a_tool_may_ask_in_the_place_that_its_conversation_has_left(
    tool: tuple[str, ...], tmp_path: Path
) -> None:
    pace = ("--pace-file", "pace", "--pace-jobs", "1")
    with serve(calls_then_answers) as server:
        asks = ["chatpipe", *command(server, *pace, "--no-stream", "--no-stdin", "inner", name="ask")]
        (tmp_path / "weather.sh").write_text(f"#!/bin/sh\nexec {shlex.join(asks)} >/dev/null\n")
        started = time.monotonic()
        run_it = command(server, *tool, *pace, "--exec-timeout", f"{PATIENCE_S}")
        done = run(*run_it, stdin=prompts(2), cwd=tmp_path)
        texts = [request.json()["messages"][0]["content"] for request in server.requests]
    assert time.monotonic() - started < PATIENCE_S
    assert (done.status, outcomes(done.stdout)) == (0, ["ok", "ok"])
    assert sorted(texts) == ["0", "0", "1", "1", "inner", "inner"]


def test_a_run_reports_only_the_first_failures_of_tools(tool: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "weather.sh").write_text("#!/bin/sh\nexit 3\n")
    few, all_of_them = (
        batch(*tool, option, stdin=prompts(15), cwd=tmp_path, handler=calls_then_answers)
        for option in ("-j4", "-v")
    )
    assert few.status == 0
    assert few.stderr.splitlines()[:-1] == [
        *[b"chatpipe: tool 'weather' ended with status 3: the model gets the error"] * 10,
        b"chatpipe: there are more like these: -v shows each",
    ]
    remedy = b"run it again with --reuse FILE --resend failed-tools, where FILE has these results"
    assert few.stderr.endswith(b"15 answers after the failure of a tool: fix the tool, and " + remedy + b"\n")
    assert all_of_them.stderr.count(b"< tool weather: ended with status 3") == 15


def test_answers_after_the_failure_of_a_tool_are_sent_again_on_request(
    tool: tuple[str, ...], tmp_path: Path
) -> None:
    """The tool fails for the second line of two, and is then mended."""
    script = (tmp_path / "weather.sh").read_text()
    (tmp_path / "weather.sh").write_text("#!/bin/sh\ngrep -q one || exit 3\n")
    with serve(calls_then_answers) as server:
        again = command(server, *tool, "-o", "out")
        first = run(*again, stdin=TWO, cwd=tmp_path)
        (tmp_path / "weather.sh").write_text(script)
        second = run(*again, stdin=TWO, cwd=tmp_path)
        sent = len(server.requests)
        third = run(*again, "--resend", "failed-tools", stdin=TWO, cwd=tmp_path)
        assert (sent, len(server.requests)) == (4, 6)
    note = (
        b"chatpipe: 1 answer after the failure of a tool: fix the tool, and run the same command again with "
    )
    assert first.stderr.endswith(note + b"--resend failed-tools\n")
    assert second.stderr == note + b"--resend failed-tools\n"
    assert (first.status, second.status, third.status, third.stderr) == (0, 0, 0, b"")
    assert b"failed_tools" not in (tmp_path / "out").read_bytes()


@cases(
    ("rows", "advice"),
    {
        "of the options": (
            [{"prompt": "x"}, {"prompt": "y"}],
            "is the model one that the server offers?, run the same command again",
        ),
        "of a line": ([{"prompt": "x", "model": "other"}], "correct line 1"),
    },
)
def test_an_unknown_model_is_corrected_where_it_stands(rows: list[dict[str, str]], advice: str) -> None:
    body = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
    done = batch(stdin=jsonl(*rows), handler=lambda _: [reply(404, body)])
    assert done.status == 65
    assert done.stderr.decode().endswith(f": jq 'select(.error)' shows them, {advice}\n")


def test_the_server_s_own_code_is_in_the_message() -> None:
    body = {"error": {"message": "no such thing", "type": "invalid_request_error", "code": "model_not_found"}}
    done = batch(stdin=jsonl("x"), handler=lambda _: [reply(404, body)])
    (line,) = done.in_order
    assert line["error"]["code"] == "http_404"
    assert line["error"]["message"].endswith("no such thing (model_not_found)")


@pytest.mark.parametrize("signals", [1, 2])
def test_turns_that_were_paid_are_known_when_the_run_is_stopped_between_them(
    signals: int, tool: tuple[str, ...], tmp_path: Path
) -> None:
    """The second turn has to wait for the server's pause, and Ctrl-C ends that wait."""

    def busy_later(request: Request) -> list[bytes]:
        if request.json()["messages"][-1]["role"] == "tool":
            return [reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "60"})]
        return calls_then_answers(request)

    options = (*tool, "-o", "out")
    with started(*options, folder=tmp_path, lines=jsonl("one"), handler=busy_later) as (server, process):
        server.until(lambda: len(server.requests) == 2)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == -signal.SIGINT
    (line,) = records(tmp_path / "out.journal")
    assert (line["response"], line["chatpipe"]["outcome"]) == (None, "unsent")
    assert [usage["total_tokens"] for usage in line["chatpipe"]["earlier_usage"]] == [10]
