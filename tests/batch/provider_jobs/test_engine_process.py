"""`--engine batch-api` as a process, against `chatpipe serve`: tables through pipes, signals, kill -9."""

from __future__ import annotations

import json
import re
import shlex
import signal
from pathlib import Path

import pytest

from serve.client import Running, serving
from support.parametrize import cases
from support.patience import until
from support.process import run, start

INPUT = '"one"\n"two"\n"three"\n'


def words(server: Running, folder: Path, *options: str) -> list[str]:
    (folder / "in.jsonl").write_text(INPUT)
    out = str(folder / "out.jsonl")
    return [
        *("batch", str(folder / "in.jsonl"), "-o", out, "-f", "string", "-m", "m", "--base-url", server.url),
        *("--engine", "batch-api", "--poll", "0.05", *options),
    ]


def test_a_table_through_a_pipe(tmp_path: Path) -> None:
    """The input is read twice, and comes once."""
    table = b'id,text\n1,good\n2,"bad, very"\n3,good\n'
    with serving("--batch-life", "1") as server:
        done = run(
            *("map", "Say {{text}}", "--csv", "--into", "label", "--journal", str(tmp_path / "j")),
            *("--engine", "batch-api", "-m", "m", "--base-url", server.url, "--poll", "0.05", "-q"),
            stdin=table,
        )
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout == b'id,text,label\n1,good,Say good\n2,"bad, very","Say bad, very"\n3,good,Say good\n'


def test_a_provider_without_a_batch_api_needs_no_key(tmp_path: Path) -> None:
    asked = run(
        "batch", "-p", "xai", "--engine", "batch-api", "-o", str(tmp_path / "out"), "-q", stdin=b'"a"'
    )
    assert asked.status == 78
    assert b"another shape than OpenAI's: --engine local works without one" in asked.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_jobs_of_a_run_that_ends_go_on(tmp_path: Path, number: signal.Signals) -> None:
    """The provider ends the job at the second look, which the first run does not come to."""
    with serving("--batch-life", "2") as server:
        with start(*words(server, tmp_path, "--poll", "600")) as process:
            journal = tmp_path / "out.jsonl.journal"
            until(lambda: journal.exists() and b'"created"' in journal.read_bytes())
            process.send_signal(number)
            _, said = process.communicate()
        assert process.returncode == -number
        if number != signal.SIGKILL:
            assert b"the job continues at the provider: run the same command later" in said
            assert re.search(rb"chatpipe jobs cancel batch_\w+ --base-url http://127\.0\.0\.1:\d+/v1\n", said)
        again = run(*words(server, tmp_path, "-q"))
        assert (again.status, again.stderr) == (0, b"")
        made = run("jobs", "list", "--base-url", server.url)
    assert made.stdout.count(b'"object":"batch"') == 1
    assert (tmp_path / "out.jsonl").read_text() == INPUT


@cases(
    ("way", "jobs"),
    {
        "its journal": (("--journal", "moved"), 1),
        "its answers": (("--reuse", "FILE"), 1),
        "without it": ((), 2),
        "once more": (("--fresh",), 2),
    },
)
def test_a_run_whose_journal_was_moved_names_ways_that_work(
    tmp_path: Path, way: tuple[str, ...], jobs: int
) -> None:
    with serving("--batch-life", "9") as server:
        at = ("--base-url", server.url)
        call = words(server, tmp_path, "-q")
        assert run(*call, "--no-wait").status == 124
        (tmp_path / "out.jsonl.journal").rename(tmp_path / "moved")
        refused = run(*call)
        assert (refused.status, refused.stderr.count(b"\n")) == (2, 1)
        found = re.search(
            "name the journal that does with --journal, or get the answers by chatpipe (jobs .*) and "
            "--reuse FILE, or pay for these lines twice with --fresh, "
            "or give it up by chatpipe (jobs cancel .*)\n",
            refused.stderr.decode(),
        )
        assert found is not None
        if way:
            results = shlex.split(found[1])
            assert run("jobs", "wait", results[2], *at, "--poll", "0.01").status == 0
            assert run(*results, cwd=tmp_path).status == 0
        else:
            assert run(*shlex.split(found[2])).status == 0
        again = run(*call, *way, cwd=tmp_path)
        made = run("jobs", "list", *at).stdout.count(b'"object":"batch"')
    assert (again.status, again.stderr, made) == (0, b"", jobs)
    assert (tmp_path / "out.jsonl").read_text() == INPUT


def test_the_job_of_a_submitted_file_is_found_by_a_run(tmp_path: Path) -> None:
    """Its results have the custom_ids of the file."""
    with serving("--batch-life", "2") as server:
        at = ("--base-url", server.url)
        lines = str(tmp_path / "lines.jsonl")
        assert run("batch", "-f", "requests", "-o", lines, "-m", "m", stdin=INPUT.encode()).status == 0
        assert run("jobs", "submit", lines, *at).status == 0
        call = (
            "batch",
            lines,
            "--engine",
            "batch-api",
            "--journal",
            str(tmp_path / "j"),
            "-f",
            "string",
            *at,
        )
        refused = run(*call, "-q")
        found = re.search(
            "get the answers by chatpipe (jobs results .*) and (--reuse FILE --match id),",
            refused.stderr.decode(),
        )
        assert (refused.status, found is not None) == (2, True)
        assert found is not None
        assert run("jobs", "wait", lines, *at, "--poll", "0.01").status == 0
        assert run(*shlex.split(found[1]), cwd=tmp_path).status == 0
        again = run(*call, *found[2].split(), "-q", cwd=tmp_path)
    assert (again.status, again.stderr) == (0, b"")
    assert sorted(again.stdout.decode().splitlines()) == sorted(INPUT.splitlines())


TOOL = '{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}'
MISFIT = '{"match":{"occurrence":1},"answer":{"content":"no JSON"}}'


@cases(
    ("options", "remedy"),
    {
        "a call of a tool": (
            ("--tool", "tool", "--exec", "now=echo noon"),
            "--engine local --resend tool-calls, or with --allow tool-calls",
        ),
        "another form": (
            ("--schema-fields", "a int"),
            "--engine local --resend mismatch --reask 2, or with --allow mismatch",
        ),
        "another form, and it may be asked again": (
            ("--schema-fields", "a int", "--reask", "1"),
            "--engine local --resend mismatch, or with --allow mismatch",
        ),
    },
)
def test_what_takes_a_further_turn_is_left_for_another_engine(
    tmp_path: Path, options: tuple[str, ...], remedy: str
) -> None:
    (tmp_path / "tool").write_text(TOOL)
    (tmp_path / "script").write_text(MISFIT)
    has_tool = "--tool" in options
    script = () if has_tool else ("--script", str(tmp_path / "script"))
    with serving("--batch-life", "1", *script) as server:
        call = words(server, tmp_path, "-q", *options)
        first = run(*call, cwd=tmp_path)
        assert first.status == (6 if has_tool else 1)
        assert first.stderr.decode().endswith(f"run the same command again with {remedy}\n")
        again = run(*call, *remedy.partition(",")[0].split(), cwd=tmp_path)
    assert (again.status, again.stderr) == (0, b"")


@pytest.mark.parametrize("code", ["invalid_json_line", "empty_file"])
def test_a_job_that_fails_each_time_has_a_way_out(tmp_path: Path, code: str) -> None:
    with serving("--batch-life", "1", "--fault", f"batch-fail={code}") as server:
        call = words(server, tmp_path, "-q")
        for _ in range(2):
            failed = run(*call)
            assert failed.status == 1
            assert failed.stderr.endswith(b", add --engine local, run the same command again\n")
        again = run(*call, "--engine", "local")
    assert (again.status, again.stderr) == (0, b"")
    assert (tmp_path / "out.jsonl").read_text() == INPUT


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ("batch-expire=1", {"new": 1, "unsent": 2}),
        ("batch-lose=1", {"new": 2, "unsent": 1}),
        ("batch-fail=empty_file", {"unsent": 3}),
    ],
)
def test_a_run_sends_what_a_job_that_it_collects_has_not_answered(
    tmp_path: Path, fault: str, sent: dict[str, int]
) -> None:
    """At once: the user has asked for an engine that sends. The answers of the job are not paid for again."""
    requests = str(tmp_path / "requests")
    with serving("--batch-life", "1", "--fault", fault, "--log", requests) as server:
        call = words(server, tmp_path, "-q")
        assert run(*call, "--no-wait").status == 124
        report = tmp_path / "report"
        done = run(*call, "--engine", "local", "--report", str(report))
        assert (done.status, done.stderr) == (0, b"")
    assert (tmp_path / "out.jsonl").read_text() == INPUT
    assert json.loads(report.read_text())["sent"] == sent
    assert Path(requests).read_bytes().count(b"/v1/chat/completions") == sent["unsent"]
