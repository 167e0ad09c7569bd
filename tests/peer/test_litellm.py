"""chatpipe against a server that this project did not write: the proxy of LiteLLM, with its mock models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peer.litellm_proxy import KEY, SAYS
from support.process import Done, run, sh
from support.programs import program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def url(litellm: str) -> str:
    return litellm


def ask(url: str, *arguments: str, key: str = KEY) -> Done:
    return run("ask", "--base-url", url, "--retries", "0", *arguments, "Hello", env={"OPENAI_API_KEY": key})


def test_text_is_streamed(url: str) -> None:
    assert ask(url, "-m", "mock") == (0, f"{SAYS}\n".encode(), b"")


def test_chunks_show_as_the_same_text(url: str) -> None:
    raw = ask(url, "-m", "mock", "--raw")
    assert raw.status == 0
    assert raw.stdout.count(b"\n") > 3
    assert run("show", stdin=raw.stdout) == (0, f"{SAYS}\n".encode(), b"")


def test_an_event_stream_shows_as_the_same_text(url: str) -> None:
    stream = ask(url, "-m", "mock", "-f", "sse")
    assert stream.stdout.endswith(b"data: [DONE]\n\n")
    assert run("show", stdin=stream.stdout) == (0, f"{SAYS}\n".encode(), b"")


def test_json_is_its_completion(url: str) -> None:
    done = ask(url, "-m", "mock", "--json")
    completion = json.loads(done.stdout)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == SAYS
    assert (done.status, done.stdout.count(b"\n")) == (0, 1)


def test_a_folded_stream_says_what_the_completion_says(url: str) -> None:
    folded = json.loads(ask(url, "-m", "mock", "--json", "--stream").stdout)
    assert folded["object"] == "chat.completion"
    assert folded["choices"][0]["message"]["content"] == SAYS
    assert folded["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_several_choices(url: str, stream: str) -> None:
    assert ask(url, "-m", "mock", "-n", "3", stream) == (0, f"{SAYS}\n".encode() * 3, b"")


def test_usage_of_a_stream(url: str) -> None:
    done = ask(url, "-m", "mock", "--usage")
    counts = json.loads(done.stderr)
    assert (done.status, done.stdout) == (0, f"{SAYS}\n".encode())
    assert counts["model"] == "mock"
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"] > 0


def test_include_usage_is_in_the_last_chunk(url: str) -> None:
    chunks = [
        json.loads(line) for line in ask(url, "-m", "mock", "--raw", "--include-usage").stdout.splitlines()
    ]
    assert "usage" in chunks[-1]
    assert not any(chunk.get("usage") for chunk in chunks[:-1])


def test_tool_calls_are_handed_over(url: str) -> None:
    done = ask(url, "-m", "caller", "-f", "tool-calls")
    assert done == (0, b'{"id":"call_1","name":"get_weather","arguments":{"city":"Oslo"}}\n', b"")


def test_tool_calls_in_text_are_6(url: str) -> None:
    assert ask(url, "-m", "caller", "--no-stream").status == 6


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        pytest.param(("-m", "nope"), 65, "is the model one that the", id="an unknown model"),
        pytest.param(("-m", "limited"), 75, "rate limit", id="a rate limit"),
        pytest.param(("-m", "limited", "--no-stream"), 75, "rate limit", id="a rate limit, not streamed"),
        pytest.param(("-m", "broken", "--no-stream"), 69, "internal server error", id="a server fault"),
        pytest.param(("-m", "small", "--no-stream"), 65, "context window", id="too long a prompt"),
    ],
)
def test_its_errors_have_our_statuses(url: str, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = ask(url, *arguments)
    assert (done.status, done.stdout) == (status, b"")
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_wrong_key_is_77_and_not_repeated(url: str) -> None:
    done = ask(url, "-m", "mock", "-v", key="sk-wrong-one")
    assert (done.status, done.stdout) == (77, b"")
    assert b"401" in done.stderr
    assert b"sk-wrong-one" not in done.stderr


def test_a_wrong_path_is_78(url: str) -> None:
    assert ask(url.replace("/v1", "/v9"), "-m", "mock").status == 78


def test_curl_sends_the_output_of_build(url: str) -> None:
    curl, jq = program("curl"), program("jq")
    command = (
        f"chatpipe build -m mock --base-url {url} -f curl Hello | sh | {jq} -r '.choices[0].message.content'"
    )
    assert curl
    assert sh(command, env={"OPENAI_API_KEY": KEY}).stdout.decode() == f"{SAYS}\n"


def test_many_processes_at_once_are_answered(url: str) -> None:
    """What people do today for want of a batch: xargs -P, a line of JSON each."""
    ask_one = f"chatpipe ask --base-url {url} -m mock -f string --no-stdin 'say %'"
    done = sh(f"seq 24 | {program('xargs')} -P 8 -I % {ask_one}", env={"OPENAI_API_KEY": KEY})
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [f'"{SAYS}"'] * 24


LABEL = json.dumps(
    {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
)


def run_batch(url: str, *arguments: str, stdin: bytes, cwd: Path | None = None) -> Done:
    command = ("batch", "--base-url", url, "--retries", "0", *arguments)
    return run(*command, stdin=stdin, env={"OPENAI_API_KEY": KEY}, cwd=cwd)


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_a_batch_in_order(url: str, stream: str) -> None:
    prompts = "".join(f"{number}\n" for number in range(40)).encode()
    done = run_batch(url, "-m", "mock", "--lines", "-f", "string", stream, stdin=prompts)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [f'"{SAYS}"'] * 40


def test_a_batch_goes_on_with_what_failed(url: str, tmp_path: Path) -> None:
    """The second line asks for a model that is broken; once it asks for one that works, it alone is sent."""
    lines = [b'{"prompt":"a","model":"mock"}', b'{"prompt":"b","model":"broken"}']
    first = run_batch(url, "-o", "out", stdin=b"\n".join(lines), cwd=tmp_path)
    assert first.status == 1
    assert not (tmp_path / "out").exists()
    lines[1] = b'{"prompt":"b","model":"mock"}'
    second = run_batch(url, "-o", "out", "--report", "report", stdin=b"\n".join(lines), cwd=tmp_path)
    assert second.status == 0
    assert json.loads((tmp_path / "report").read_text())["reused"] == 1
    results = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [result["response"]["body"]["choices"][0]["message"]["content"] for result in results] == [
        SAYS
    ] * 2


def test_a_rate_limit_in_a_batch_pauses_it_to_the_end(url: str) -> None:
    done = run_batch(url, "-m", "limited", "--lines", "--max-pause", "0.2", stdin=b"a\nb\n")
    assert done.status == 75


def test_an_answer_of_the_form_that_was_asked_for(url: str) -> None:
    done = ask(url, "-m", "labels", "--schema-json", LABEL, "--no-stream")
    assert (done.status, done.stdout) == (0, b'{"label": "good"}\n')


def test_an_answer_of_another_form_is_5_after_the_last_time_it_was_sent_back(url: str) -> None:
    done = ask(url, "-m", "mock", "--schema-json", LABEL, "--reask", "2", "-f", "json")
    assert (done.status, done.stdout) == (5, b"")
    assert b"does not fit the schema" in done.stderr


def test_a_tool_runs_in_every_turn(url: str, tmp_path: Path) -> None:
    """The mock calls for ever: three turns are two runs, and calls that wait for a third."""
    (tmp_path / "tool.json").write_text('{"name": "get_weather", "parameters": {"type": "object"}}')
    options = ("--tool", "tool.json", "--exec", "get_weather=tee -a log", "--max-turns", "3", "--no-stream")
    done = run(
        *("ask", "--base-url", url, "-m", "caller", *options, "Weather?"),
        env={"OPENAI_API_KEY": KEY},
        cwd=tmp_path,
    )
    assert (done.status, done.stdout) == (6, b"")
    assert (tmp_path / "log").read_text() == '{"city": "Oslo"}' * 2


def test_a_transcript_goes_on(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(
            *("ask", "--base-url", url, "-m", "mock", "--transcript", "talk", "Hello"),
            env={"OPENAI_API_KEY": KEY},
            cwd=tmp_path,
        )
        assert (done.status, done.stdout) == (0, f"{SAYS}\n".encode())
    roles = [json.loads(line)["role"] for line in (tmp_path / "talk").read_text().splitlines()]
    assert roles == ["user", "assistant"] * 2


def test_a_table_gets_a_typed_column(url: str) -> None:
    done = run(
        *("map", "--base-url", url, "-m", "labels", "--csv", "--schema-json", LABEL, "--into", "answer"),
        *("--to", "jsonl", "How is this? {{text}}"),
        stdin=b"id,text\n1,fine\n2,nice\n",
        env={"OPENAI_API_KEY": KEY},
    )
    assert (done.status, done.stderr) == (0, b"")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"id": "1", "text": "fine", "answer": {"label": "good"}},
        {"id": "2", "text": "nice", "answer": {"label": "good"}},
    ]


@pytest.fixture(scope="module")
def env(url: str) -> dict[str, str]:
    """The variables of its profile."""
    return {"LITELLM_PROXY_API_BASE": url, "LITELLM_PROXY_API_KEY": KEY}


def test_profile_is_all_that_a_call_needs(env: dict[str, str]) -> None:
    options = ("-p", "litellm", "-m", "mock")
    assert run("ask", *options, "Hello", env=env) == (0, f"{SAYS}\n".encode(), b"")
    done = run("batch", *options, "--lines", "-f", "string", stdin=b"a\nb\n", env=env)
    assert done == (0, f'"{SAYS}"\n'.encode() * 2, b"")
    assert run("config", "check", "--call", *options, env=env).status == 0


def test_models_of_the_profile(env: dict[str, str]) -> None:
    done = run("models", "-p", "litellm", env=env)
    assert (done.status, done.stderr) == (0, b"")
    assert {"mock", "limited", "broken"} < set(done.stdout.decode().splitlines())


def test_profile_with_a_wrong_key_is_77(env: dict[str, str]) -> None:
    wrong = {**env, "LITELLM_PROXY_API_KEY": "sk-wrong"}
    for command in (("ask", "-m", "mock", "Hello"), ("models",)):
        assert run(command[0], "-p", "litellm", *command[1:], env=wrong).status == 77
