"""Every record that the program writes fits its schema, and every field of a schema is written."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from formats import schemas
from serve.client import serving
from support.process import run

_FILES = Path(__file__).parent / "files"


class Step(NamedTuple):
    """A call in the folder of all steps. Its outputs become files there. `{url}` is the server."""

    command: str
    stdout: str = ""
    stderr: str = ""
    status: int = 0


_SPOKEN = "--modality audio --audio-voice v --audio-format wav"
_LOCAL = "--base-url {url} -m echo"
_PROVIDER = "--base-url {other} -q"
_POLL = "--poll 0.05"
_BY_JOBS = "--engine batch-api --keep-journal --prices prices.toml"
_LATE = "batch -m echo --base-url {other} --poll 0.05 short.jsonl -o late.jsonl " + _BY_JOBS
# The server answers by script.jsonl, and keeps a log and a verdict.
_STEPS = (
    # requests
    Step(f"build {_LOCAL} -f batch hello", "batch-line.jsonl"),
    Step("batch -p echo -f requests in.jsonl", "requests.jsonl"),
    # one answer
    Step("ask -p echo --json hello", "json.jsonl"),
    Step("ask -p echo --json --stream hello --include-usage", "streamed.jsonl"),
    Step("ask -p echo --raw --include-usage hello", "chunks.jsonl"),
    Step("ask -p echo -f message --transcript transcript.jsonl -s Hi hello", "message.jsonl"),
    Step("ask -p echo -f message --tool tool.json hello", "tool-message.jsonl"),
    Step("ask -p echo --tool tool.json --exec 'weather=echo 4' --transcript transcript.jsonl hello", "text"),
    Step(
        f"ask -p echo -f message {_SPOKEN} --messages messages.jsonl",
        "audio.jsonl",
    ),
    Step("ask -p echo -f tool-calls --tool tool.json hello", "tool-calls.jsonl"),
    Step(f"ask {_LOCAL} -f tool-calls raw", "raw-call.jsonl"),
    Step("ask -p echo -f usage hello", "usage.jsonl"),
    Step("ask -p echo --usage hello", "text", "usage-too.jsonl"),
    # runs
    Step(
        f"batch {_LOCAL} mixed.jsonl -k --retries 1 --errors errors.jsonl --report failed.json",
        "results.jsonl",
        status=1,
    ),
    Step(f"batch {_LOCAL} more.jsonl -o out.jsonl --keep-journal --report report.json"),
    Step(f"batch {_LOCAL} --base-url {{other}} more.jsonl --progress json", "two.jsonl", "progress.jsonl"),
    Step(
        "batch -p echo --tool tool.json --exec 'weather=echo 4 degrees' more.jsonl --progress json",
        "turns.jsonl",
        "turns-progress.jsonl",
    ),
    Step(
        "batch -p echo --tool tool.json --exec weather=false more.jsonl",
        "failed-tool.jsonl",
        stderr="failed-tools",
    ),
    Step("batch -p echo more.jsonl --dry-run", "estimate.json"),
    Step("batch -p echo -m echo more.jsonl --dry-run --prices prices.toml", "cost.json"),
    Step("batch -p echo more.jsonl -o again.jsonl"),
    Step("batch -p echo in.jsonl -o again.jsonl", stderr="kept"),
    # the Batch API, at a provider that refuses the first two jobs
    *(
        Step(command, stdout, status=status)
        for status in (65, 0)
        for command, stdout in (
            (f"batch -m echo {_PROVIDER} {_POLL} more.jsonl -o api.jsonl {_BY_JOBS}", ""),
            (f"jobs submit jobs.jsonl {_PROVIDER}", "submitted.jsonl"),
        )
    ),
    Step(f"{_LATE} -q --no-wait --report waiting.json", status=124),
    Step(f"{_LATE} --dry-run", "waiting-estimate.json"),
    Step(f"{_LATE} --progress json", stderr="jobs-progress.jsonl"),
    Step(f"jobs wait jobs.jsonl {_PROVIDER} {_POLL}", "waited.jsonl"),
    Step(f"jobs list {_PROVIDER}", "listed.jsonl"),
    Step(f"jobs results jobs.jsonl {_PROVIDER}", "job-results.jsonl"),
    # what is looked up and found wrong
    Step(f"ask {_LOCAL} --error-format json --retries 0 refuse", "", "error.jsonl", 65),
    Step("ask -p openai --error-format json -m m hello", "", "no-key.jsonl", 77),
    Step("check -f problems mixed.jsonl", "problems.jsonl", status=65),
    Step("models -f json --base-url {url}", "models.jsonl"),
    Step("models -f json --base-url {url} --base-url {other}", "models-of-two.jsonl"),
    Step("config show --json -p own -m m", "settings.json"),
    Step("config show --json -p echo", "settings-echo.json"),
    Step("config --profiles --json", "profiles.jsonl"),
    # recordings
    Step("ask -p echo --record recorded.jsonl hello", "text"),
    Step(f"ask {_LOCAL} --record recorded.jsonl --no-stream hello", "text"),
    Step(f"ask {_LOCAL} --record recorded.jsonl -q slow", "text", status=76),
    Step("ask --base-url http://127.0.0.1:1/v1 -m m --record recorded.jsonl --retries 0 -q hello", status=69),
    # processes that share a limit
    Step(f"batch {_LOCAL} --pace-file pace.json --rpm 60 --tpm 60000 --pace-jobs 2 in.jsonl", "paced"),
)

# The files with records of each schema. Those of the server are complete at its end.
RECORDS: Mapping[str, tuple[str, ...]] = {
    "batch-line": ("batch-line.jsonl", "requests.jsonl", "in.jsonl", "jobs.jsonl"),
    "prompt-row": ("more.jsonl", "short.jsonl"),
    "message": ("messages.jsonl", "message.jsonl", "tool-message.jsonl", "audio.jsonl", "transcript.jsonl"),
    "completion": ("json.jsonl", "streamed.jsonl"),
    "chunk": ("chunks.jsonl",),
    "tool-call": ("tool-calls.jsonl", "raw-call.jsonl"),
    "usage": ("usage.jsonl", "usage-too.jsonl"),
    "result": (
        "results.jsonl",
        "errors.jsonl",
        "out.jsonl",
        "two.jsonl",
        "turns.jsonl",
        "failed-tool.jsonl",
        "api.jsonl",
    ),
    "journal": ("out.jsonl.journal", "again.jsonl.journal", "api.jsonl.journal"),
    "jobs-file": ("jobs.jsonl.jobs",),
    "report": (
        "report.json",
        "failed.json",
        "waiting.json",
        "progress.jsonl",
        "turns-progress.jsonl",
        "jobs-progress.jsonl",
    ),
    "dry-run": ("estimate.json", "cost.json", "waiting-estimate.json"),
    "job": ("submitted.jsonl", "waited.jsonl", "listed.jsonl"),
    "job-result": ("job-results.jsonl",),
    "error": ("error.jsonl", "no-key.jsonl"),
    "problem": ("problems.jsonl",),
    "model": ("models.jsonl", "models-of-two.jsonl"),
    "config": ("config.toml",),
    "settings": ("settings.json", "settings-echo.json"),
    "profile": ("profiles.jsonl",),
    "exchange": ("recorded.jsonl",),
    "script-rule": ("script.jsonl",),
    "served-request": ("log.jsonl",),
    "verdict": ("verdict.json",),
    "pace": ("pace.json",),
    "prices": ("prices.toml",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All steps, one after another."""
    found = tmp_path_factory.mktemp("records")
    for path in _FILES.iterdir():
        (found / path.name).write_bytes(path.read_bytes())
    options = ("-q", "--script", "script.jsonl", "--log", "log.jsonl", "--verdict", "verdict.json")
    with (
        serving(*options, cwd=found) as server,
        serving("-q", "--fault", "status=400:on=create:of=all:times=2") as other,
    ):
        for step in _STEPS:
            words = shlex.split(step.command.format(url=server.url, other=other.url))
            done = run(*words, cwd=found, env={"CHATPIPE_CONFIG": str(found / "config.toml")})
            assert done.status == step.status, (step, done)
            for name, data in ((step.stdout, done.stdout), (step.stderr, done.stderr)):
                if name:
                    (found / name).write_bytes(data)
        server.process.terminate()
        server.process.wait()
    return found


def _records(folder: Path, name: str) -> list[Any]:
    found: list[Any] = []
    for file in RECORDS[name]:
        data = (folder / file).read_bytes()
        assert data, file
        lines = (
            [tomllib.loads(data.decode())] if file.endswith(".toml") else map(orjson.loads, data.splitlines())
        )
        found += lines
    return found


def test_every_schema_has_records() -> None:
    assert set(RECORDS) == set(schemas.names())


@pytest.mark.parametrize("name", RECORDS)
def test_records_fit_their_schema(name: str, folder: Path) -> None:
    for record in _records(folder, name):
        assert schemas.problems(name, record) == [], record


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_schema_is_in_a_record(name: str, folder: Path) -> None:
    found = {path for record in _records(folder, name) for path in schemas.used(record)}
    named = {
        field.path
        for variant in schemas.variants(name)
        for field in schemas.fields(variant.schema, schemas.load(name))
    }
    assert named - found == set()
