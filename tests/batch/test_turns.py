"""Runs whose lines take several turns: schemas, re-asking, tools. Real processes, a real server."""

from __future__ import annotations

import json
import shlex
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from loopback import Answer, Pause, Request, chunk, completion, event, event_stream, reply, serve
from parametrize import cases
from process import Done, run, start

LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}
SCHEMA = ("--schema-json", json.dumps(LABEL))
LINES = b'{"prompt":"one"}\n{"prompt":"two"}\n'


def lines_of(done: Done) -> list[dict[str, Any]]:
    return sorted(
        (json.loads(line) for line in done.stdout.splitlines()), key=lambda each: each["chatpipe"]["line"]
    )


def outcomes(done: Done) -> list[str]:
    return [line["chatpipe"]["outcome"] for line in lines_of(done)]


def batch(url: str, *options: str, stdin: bytes = LINES, cwd: Path | None = None) -> Done:
    return run("batch", "--base-url", f"{url}/v1", "-m", "m", *options, stdin=stdin, cwd=cwd)


def counted(text: str, tokens: int = 10) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens - 2, "completion_tokens": 2, "total_tokens": tokens}
    return {**completion(text), "usage": usage}


def wrong_for_one(request: Request) -> list[bytes]:
    """`one` gets a label that is none, at first; everything else fits."""
    messages = request.json()["messages"]
    is_first = len(messages) == 1 and messages[0]["content"] == "one"
    return [reply(200, counted('{"label":"fair"}' if is_first else '{"label":"good"}'))]


def test_what_does_not_fit_is_a_mismatch_with_its_place() -> None:
    with serve(wrong_for_one) as server:
        done = batch(server.url, *SCHEMA)
    one, two = lines_of(done)
    assert done.status == 1
    assert (one["chatpipe"]["outcome"], two["chatpipe"]["outcome"]) == ("mismatch", "ok")
    assert one["error"]["code"] == "mismatch"
    assert "/label" in one["error"]["message"]
    assert one["response"]["body"]["choices"][0]["message"]["content"] == '{"label":"fair"}'


def test_all_mismatches_are_status_5() -> None:
    with serve(lambda request: [reply(200, counted("no JSON"))]) as server:
        assert batch(server.url, *SCHEMA).status == 5


def test_allowed_mismatches_are_good() -> None:
    with serve(wrong_for_one) as server:
        done = batch(server.url, *SCHEMA, "--allow", "mismatch")
    assert done.status == 0
    assert [line["error"] for line in lines_of(done)] == [None, None]


def test_reasking_tells_the_violation_and_counts_every_turn(tmp_path: Path) -> None:
    seen: list[Any] = []

    def watched(request: Request) -> list[bytes]:
        seen.append(request.json())
        return wrong_for_one(request)

    with serve(watched) as server:
        done = batch(server.url, *SCHEMA, "--reask", "1", "--report", "report.json", cwd=tmp_path)
    one, two = lines_of(done)
    assert (done.status, outcomes(done)) == (0, ["ok", "ok"])
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
        first = batch(server.url, *SCHEMA, "--reask", "1", *spent[2:], cwd=tmp_path)
        assert first.status == 0
        more = LINES + b'{"prompt":"three"}\n'
        done = batch(server.url, *SCHEMA, "--reask", "1", *spent, stdin=more, cwd=tmp_path)
    assert done.status == 7
    assert b"30 are spent" in done.stderr


def test_a_line_with_a_form_of_its_own_is_not_held_to_ours() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "text"}}
    with serve(lambda request: [reply(200, counted("plain"))]) as server:
        done = batch(server.url, *SCHEMA, stdin=json.dumps(body).encode())
    assert (done.status, outcomes(done)) == (0, ["ok"])


def test_mismatches_are_bought_again_only_when_that_is_asked(tmp_path: Path) -> None:
    sent: list[str] = []

    def watched(request: Request) -> list[bytes]:
        sent.append(request.json()["messages"][0]["content"])
        return [reply(200, counted('{"label":"fair"}' if len(sent) <= 2 else '{"label":"good"}'))]

    with serve(watched) as server:
        assert batch(server.url, *SCHEMA, "-o", "out", cwd=tmp_path).status == 5
        assert batch(server.url, *SCHEMA, "-o", "out", cwd=tmp_path).status == 5
        assert len(sent) == 2
        assert batch(server.url, *SCHEMA, "-o", "out", "--resend", "mismatch", cwd=tmp_path).status == 0
    assert len(sent) == 4


WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
def tool(tmp_path: Path) -> tuple[str, ...]:
    script = tmp_path / "weather.sh"
    script.write_text('#!/bin/sh\nread -r arguments\necho "$arguments: 12"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "weather.json").write_text(json.dumps(WEATHER))
    return "--tool", "weather.json", "--exec", "weather=./weather.sh"


def calls_then_answers(request: Request) -> list[bytes]:
    messages = request.json()["messages"]
    if messages[-1]["role"] == "tool":
        return [reply(200, counted(f"says {messages[-1]['content']}"))]
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": json.dumps({"city": messages[-1]["content"]})},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return [reply(200, {**counted(""), "choices": [choice]})]


def test_tools_run_for_every_line(tool: tuple[str, ...], tmp_path: Path) -> None:
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool, "-f", "string", cwd=tmp_path)
    assert done.status == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        'says {"city": "one"}: 12',
        'says {"city": "two"}: 12',
    ]


def test_the_last_turn_that_still_calls_is_that_line_s_failure(tool: tuple[str, ...], tmp_path: Path) -> None:
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool, "--max-turns", "1", cwd=tmp_path)
    assert (done.status, outcomes(done)) == (6, ["tool-calls", "tool-calls"])
    assert lines_of(done)[0]["error"]["message"] == "it still calls tools in turn 1"


def test_a_line_may_have_tools_of_its_own(tool: tuple[str, ...], tmp_path: Path) -> None:
    body = {
        "messages": [{"role": "user", "content": "Oslo"}],
        "tools": [{"type": "function", "function": WEATHER}],
    }
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool[2:], "-f", "string", stdin=json.dumps(body).encode(), cwd=tmp_path)
    assert (done.status, done.stdout) == (0, b'"says {\\"city\\": \\"Oslo\\"}: 12"\n')


def test_many_lines_with_tools_at_once(tool: tuple[str, ...], tmp_path: Path) -> None:
    prompts = b"".join(b'{"prompt":"%d"}\n' % number for number in range(100))
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool, "-j", "32", "-f", "string", stdin=prompts, cwd=tmp_path)
    assert done.status == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        f'says {{"city": "{number}"}}: 12' for number in range(100)
    ]


def test_a_stream_that_is_cut_keeps_the_part_that_came() -> None:
    begun = event_stream([event(chunk("Half of"))])
    with serve(lambda request: begun) as server:
        done = batch(server.url, "--stream", "--retries", "0", stdin=b'{"prompt":"x"}\n')
    (line,) = lines_of(done)
    assert (done.status, line["chatpipe"]["outcome"]) == (76, "network")
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "Half of"
    assert line["error"]["code"] == "network"


def always_calls(request: Request, answer: int = 5) -> list[bytes]:
    """A token is four bytes of a request."""
    used = len(request.body) // 4
    usage = {"prompt_tokens": used, "completion_tokens": answer, "total_tokens": used + answer}
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return [reply(200, {**completion(""), "usage": usage, "choices": [choice]})]


def prompts(count: int) -> bytes:
    return b"".join(b'{"prompt":"%d"}\n' % number for number in range(count))


@pytest.mark.parametrize("jobs", ["1", "3", "8"])
@cases(
    "limit", {"tokens": ("--max-total-tokens", "2000"), "money": ("--max-cost", "2000", "--prices", "prices")}
)
def test_a_budget_ends_conversations_too(
    jobs: str, limit: tuple[str, ...], tool: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "prices").write_text("[m]\ninput = 1e6\noutput = 1e6\n")
    with serve(always_calls) as server:
        options = (*tool, "--max-tokens", "5", "-j", jobs, *limit, "--report", "report", "--journal", "j")
        done = batch(server.url, *options, stdin=prompts(8), cwd=tmp_path)
        sent = len(server.requests)
        again = batch(server.url, *options, stdin=prompts(8), cwd=tmp_path)
        spent = sum(len(request.body) // 4 + 5 for request in server.requests)
    assert (done.status, again.status) == (7, 7)
    assert 1000 < spent <= 2000
    assert b"and the next turn may take" in done.stderr
    report = json.loads((tmp_path / "report").read_text())
    assert report["retries"] == 0
    stopped = [line for line in lines_of(done) if line["chatpipe"]["outcome"] == "unsent"]
    assert stopped
    for line in stopped:
        about = line["chatpipe"]
        assert line["error"]["code"] == "unsent"
        assert about["turns"] == about["attempts"] == len(about["earlier_usage"])
    assert sum(line["chatpipe"].get("turns", 1) for line in lines_of(done)) == sent


def test_a_budget_that_suffices_stops_no_conversation(tool: tuple[str, ...], tmp_path: Path) -> None:
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool, "--max-tokens", "5", "--max-total-tokens", "500", cwd=tmp_path)
    assert (done.status, outcomes(done)) == (0, ["ok", "ok"])


def test_a_turn_waits_for_what_others_have_set_aside_and_do_not_use(
    tool: tuple[str, ...], tmp_path: Path
) -> None:
    """The first answer is a long one, so that for the next turn as much is set aside as for the others."""

    def honest(request: Request) -> Answer:
        if request.json()["messages"][-1]["content"].endswith(": 12"):
            used = {"prompt_tokens": len(request.body) // 4, "completion_tokens": 2}
            return [Pause(0.2), reply(200, {**completion("12"), "usage": used})]
        if request.json()["messages"][0]["content"] == "0":
            return always_calls(request, answer=300)
        return [Pause(0.3), *always_calls(request)]

    with serve(honest) as server:
        options = (*tool, "--max-tokens", "300", "--max-total-tokens", "1500", "-j8")
        done = batch(server.url, *options, stdin=prompts(4), cwd=tmp_path)
    assert (done.status, outcomes(done)) == (0, ["ok"] * 4)


def test_a_budget_ends_reasking_too(tmp_path: Path) -> None:
    with serve(lambda request: [reply(200, counted("no JSON", 100))]) as server:
        options = (*SCHEMA, "--reask", "5", "--max-tokens", "5", "--max-total-tokens", "330", "-j1")
        done = batch(server.url, *options, cwd=tmp_path)
        assert len(server.requests) <= 3
    assert (done.status, outcomes(done)) == (7, ["unsent"])


def test_a_tool_may_ask_in_the_place_that_its_conversation_has_left(
    tool: tuple[str, ...], tmp_path: Path
) -> None:
    with serve(calls_then_answers) as server:
        options = ("--base-url", f"{server.url}/v1", "-m", "m", "--pace-file", "pace", "--pace-jobs", "1")
        asks = shlex.join(["chatpipe", "ask", *options, "--no-stream", "--no-stdin", "inner"])
        (tmp_path / "weather.sh").write_text(f"#!/bin/sh\nexec {asks} >/dev/null\n")
        started = time.monotonic()
        done = batch(server.url, *tool, *options[4:], "--exec-timeout", "5", stdin=prompts(2), cwd=tmp_path)
        texts = [request.json()["messages"][0]["content"] for request in server.requests]
    assert time.monotonic() - started < 5
    assert (done.status, outcomes(done)) == (0, ["ok", "ok"])
    assert sorted(texts) == ["0", "0", "1", "1", "inner", "inner"]


def test_in_a_run_only_the_first_failures_of_tools_are_told(tool: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "weather.sh").write_text("#!/bin/sh\nexit 3\n")
    with serve(calls_then_answers) as server:
        done = batch(server.url, *tool, "-j4", stdin=prompts(15), cwd=tmp_path)
        told = done.stderr.splitlines()
        assert told == [
            *[b"chatpipe: tool 'weather' ended with status 3: the model is told"] * 10,
            b"chatpipe: there are more like these: -v shows each",
        ]
        shown = batch(server.url, *tool, "-v", stdin=prompts(15), cwd=tmp_path)
    assert done.status == 0
    assert shown.stderr.count(b"< tool weather: ended with status 3") == 15


def test_the_server_s_own_code_is_in_the_message() -> None:
    body = {"error": {"message": "no such thing", "type": "invalid_request_error", "code": "model_not_found"}}
    with serve(lambda request: [reply(404, body)]) as server:
        done = batch(server.url, stdin=b'{"prompt":"x"}\n')
    (line,) = lines_of(done)
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

    (tmp_path / "in.jsonl").write_bytes(b'{"prompt":"one"}\n')
    with serve(busy_later) as server:
        command = ("batch", "--base-url", f"{server.url}/v1", "-m", "m", *tool, "in.jsonl", "-o", "out")
        with start(*command, cwd=tmp_path) as process:
            server.until(lambda: len(server.requests) == 2)
            for _ in range(signals):
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT
    (line,) = [json.loads(each) for each in (tmp_path / "out.journal").read_text().splitlines()[1:]]
    assert (line["response"], line["chatpipe"]["outcome"]) == (None, "unsent")
    assert [usage["total_tokens"] for usage in line["chatpipe"]["earlier_usage"]] == [10]
