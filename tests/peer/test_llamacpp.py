"""chatpipe against llama.cpp's own server by `-p llamacpp`: a grammar leads a model of random weights.

`make test` installs it into .venv-peer; CHATPIPE_PEER_PYTHON names another Python that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.parametrize import cases
from support.process import Done, Process, environment, run
from support.programs import missing
from support.servers.loopback import closed_port

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

KEY = "k-12345"
SAYS = ("--set", 'grammar=root ::= "Good day."')  # a field of llama.cpp's own
PROGRAM = Path(__file__).with_name("llamacpp_server.py")


def peer_python() -> Path:
    named = os.environ.get("CHATPIPE_PEER_PYTHON")
    python = Path(named) if named else Path(__file__).parents[2] / ".venv-peer" / "bin" / "python"
    found = python.exists() and subprocess.run([python, "-c", "import gguf, xllamacpp"], check=False)
    if not found or found.returncode:
        missing(f"no llama.cpp for '{python}': make .venv-peer/.installed, or set CHATPIPE_PEER_PYTHON")
    return python


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a call, once the server answers: a configuration with its port, and its key."""
    folder, port = tmp_path_factory.mktemp("llamacpp"), closed_port()
    config = folder / "config.toml"
    config.write_text(f'[profiles.llamacpp]\nbase_url = "http://127.0.0.1:{port}/v1"\n')
    command = [str(peer_python()), str(PROGRAM), str(port), KEY, str(folder / "tiny.gguf")]
    with (
        (folder / "log").open("wb") as log,
        Process(
            command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        if not process.line().startswith(b"http"):
            pytest.fail(
                f"llama.cpp does not come up:\n{(folder / 'log').read_text(errors='replace')[-3000:]}"
            )
        yield {"CHATPIPE_CONFIG": str(config), "LLAMA_API_KEY": KEY}


def ask(env: dict[str, str], *arguments: str) -> Done:
    return run("ask", "-p", "llamacpp", "-m", "tiny", "--retries", "0", *arguments, env=env)


@cases(
    "arguments, stdout",
    {
        "whole": ((*SAYS, "--no-stream"), b"Good day.\n"),
        "streamed": ((*SAYS, "--stream"), b"Good day.\n"),
        "several choices": ((*SAYS, "-n", "2"), b"Good day.\nGood day.\n"),
        "a role that its template does not know": ((*SAYS, "--developer", "Be kind."), b"Good day.\n"),
        "a schema": (("--schema-json", '{"enum":["glad"]}'), b'"glad"\n'),
        "any name of the model": ((*SAYS, "-m", "other"), b"Good day.\n"),
    },
)
def test_llamacpp_answers(env: dict[str, str], arguments: tuple[str, ...], stdout: bytes) -> None:
    assert ask(env, *arguments, "-q", "Hello") == (0, stdout, b"")


def test_usage_of_a_stream(env: dict[str, str]) -> None:
    done = ask(env, *SAYS, "--stream", "--usage", "Hello")
    counts = json.loads(done.stderr)
    assert (done.status, counts["completion_tokens"]) == (0, 10)
    assert counts["total_tokens"] == counts["prompt_tokens"] + 10


def test_times_of_a_stream_are_in_its_chunks(env: dict[str, str]) -> None:
    chunks = [json.loads(line) for line in ask(env, *SAYS, "--raw", "Hello").stdout.splitlines()]
    assert any(chunk.get("timings", {}).get("predicted_n") for chunk in chunks)


@cases(
    "arguments, status, words",
    {
        "cut off": (
            ("--max-completion-tokens", "3", "--temperature", "0", *SAYS),
            3,
            "finish_reason 'length'",
        ),
        "more choices than slots": (("-n", "3"), 65, "Field 'n'"),
        "too long": (("word " * 200,), 65, "shorten the messages"),
    },
)
def test_each_way_an_answer_ends_has_its_status(
    env: dict[str, str], arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = ask(env, *arguments, "Hello")
    assert (done.status, done.stderr.count(b"\n")) == (status, 1)
    assert words in done.stderr.decode()


@cases(
    "key, words",
    {"wrong": ("k-wrong", "check the key"), "none": ("", "no key was sent: set LLAMA_API_KEY")},
)
def test_a_wrong_or_missing_key_is_77(env: dict[str, str], key: str, words: str) -> None:
    env = {**env, "LLAMA_API_KEY": key}
    for done in (ask(env, "Hello"), run("models", "-p", "llamacpp", env=env)):
        assert (done.status, done.stdout) == (77, b"")
        assert words in done.stderr.decode()


def test_models_are_listed_with_their_context_length(env: dict[str, str]) -> None:
    assert run("models", "-p", "llamacpp", env=env) == (0, b"tiny\n", b"")
    table = run("models", "-p", "llamacpp", "-f", "tsv", env=env).stdout.decode().splitlines()
    row = dict(zip(*(line.split("\t") for line in table), strict=True))
    assert (row["owner"], row["context_length"]) == ("llamacpp", "256")


def test_settings_are_good(env: dict[str, str]) -> None:
    done = run("config", "check", "-p", "llamacpp", "-m", "tiny", "--call", env=env)
    assert (done.status, done.stderr) == (0, b"")
    assert b"accepted" in done.stdout


def test_run_finds_the_slots(env: dict[str, str], tmp_path: Path) -> None:
    """Nothing is refused, and all is answered."""
    prompts = "".join(f"{number}\n" for number in range(100)).encode()
    options = ("--lines", "-f", "string", "--report", str(tmp_path / "report"), *SAYS)
    done = run("batch", "-p", "llamacpp", "-m", "tiny", *options, stdin=prompts, env=env)
    assert done == (0, b'"Good day."\n' * 100, b"")
    report = json.loads((tmp_path / "report").read_text())
    assert (report["good"], report["retries"]) == (100, 0)
