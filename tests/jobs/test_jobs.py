"""`chatpipe jobs` as a process, against `chatpipe serve`."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.test_submission import write_input
from serve.client import Running, get, serving
from support.process import Done, run, start
from support.speed import at_any_speed


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


def jobs(server: Running, *words: str) -> Done:
    return run("jobs", *words, "--base-url", server.url)


def records(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_from_a_file_to_its_results_in_order(server: Running, tmp_path: Path) -> None:
    path, out = str(write_input(tmp_path)), tmp_path / "out.jsonl"
    submitted = records(jobs(server, "submit", path))
    assert [(each["status"], each["lines"]) for each in submitted] == [("validating", 5), ("validating", 2)]
    ids = [each["id"] for each in submitted]
    assert [each["id"] for each in records(jobs(server, "list", "--limit", "1"))] == ids[-1:]
    assert records(jobs(server, "status", ids[0]))[0]["status"] == "in_progress"
    early = jobs(server, "results", path)
    assert (early.status, early.stdout) == (124, b"")
    assert f": chatpipe jobs wait {ids[0]} --base-url {server.url}\n" in early.stderr.decode()
    typed = run(*shlex.split(early.stderr.decode().rpartition(": chatpipe ")[2]), "--poll", "0.01")
    assert (typed.status, [each["id"] for each in records(typed)]) == (0, ids[:1])
    waited = jobs(server, "wait", path, "--poll", "0.01")
    assert (waited.status, [each["status"] for each in records(waited)]) == (0, ["completed"] * 2)
    assert jobs(server, "results", path, "-o", str(out)).status == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [f"id-{n}" for n in range(7)]
    says = [line["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    assert says == [f"say {n}" for n in range(7)]
    assert sorted(records(jobs(server, "results", *ids)), key=lambda line: line["custom_id"]) == lines
    assert records(jobs(server, "cancel", path))[0]["status"] == "completed"
    of_state = jobs(server, "results", f"{path}.jobs")
    assert records(of_state) == lines, of_state.stderr


def test_a_job_that_is_named_twice_counts_once(server: Running, tmp_path: Path) -> None:
    path = str(write_input(tmp_path, lines=1))
    (job,) = records(jobs(server, "submit", path))
    assert jobs(server, "wait", path, "-q", "--poll", "0.01").status == 0
    again = f"{tmp_path}/./{Path(path).name}"
    for words in ([job["id"]] * 2, [path, job["id"]], [path, f"{path}.jobs"], [path, again]):
        done = jobs(server, "results", *words)
        assert (done.status, len(records(done))) == (0, 1), done.stderr
    assert len(records(jobs(server, "status", path, job["id"]))) == 1


def test_a_link_to_a_file_has_jobs_of_its_own(server: Running, tmp_path: Path) -> None:
    path, link = write_input(tmp_path, lines=1), tmp_path / "link"
    link.symlink_to(path)
    made = [records(jobs(server, "submit", str(each)))[0]["id"] for each in (path, link)]
    assert [each["id"] for each in records(jobs(server, "status", str(path), str(link)))] == made


def test_the_journal_of_a_run_is_no_file_of_jobs(server: Running, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.journal"
    path.write_text('{"chatpipe_journal":1}\n')
    done = jobs(server, "status", str(path))
    assert (done.status, done.stdout) == (66, b"")
    assert done.stderr.decode() == f"chatpipe: '{path}' is the journal of a run: run its command again\n"


def test_all_of_it_through_a_proxy(server: Running, tmp_path: Path) -> None:
    """The server is the proxy, too: it takes the URL of another one for its own."""
    path = str(write_input(tmp_path))
    way = ("--base-url", "http://api.test/v1", "--proxy", server.url.removesuffix("/v1"))
    assert run("jobs", "submit", path, *way).status == 0
    assert run("jobs", "wait", path, "--poll", "0.01", *way).status == 0
    done = run("jobs", "results", path, *way)
    assert [line["custom_id"] for line in records(done)] == [f"id-{n}" for n in range(7)], done.stderr


def listed(server: Running, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(server.exchange(get(what)).partition(b"\r\n\r\n")[2])["data"]
    return found


@pytest.mark.parametrize(("call", "made"), [("upload", "/v1/files"), ("create", "/v1/batches")])
def test_a_killed_submission_goes_on(tmp_path: Path, call: str, made: str) -> None:
    """The process is killed when the server has made what it was asked for, and holds its reply back."""
    path = write_input(tmp_path)
    with serving("--fault", f"delay=60s:on={call}:times=1:of=all") as server:
        words = ("jobs", "submit", str(path), "--base-url", server.url, "--settle", "0.1")
        with start(*words) as process:
            while not listed(server, made):
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        again = run(*words)
        assert again.status == 0, again.stderr
        jobs_made = listed(server, "/v1/batches")
    assert len(jobs_made) == 2
    assert sorted(each["id"] for each in jobs_made) == sorted(each["id"] for each in records(again))


@pytest.mark.parametrize("fault", ["empty", "reset"])
def test_a_create_is_not_repeated_by_the_transport(tmp_path: Path, fault: str) -> None:
    """The connection of the upload is used again, and a close without a reply looks like an idle one's."""
    path = write_input(tmp_path, lines=1)
    with serving("--fault", f"{fault}:on=create:times=1") as server:
        done = jobs(server, "submit", str(path))
        made = listed(server, "/v1/batches")
    assert (done.status, len(made)) == (0, 1), done.stderr
    assert b"checking whether the job was created anyway" in done.stderr


@pytest.mark.parametrize(
    ("fault", "good", "missing", "words"),
    [
        ("batch-expire=1", 1, 0, "1 good, 2 failed"),
        ("batch-lose=1", 2, 1, "2 good, 1 missing"),
        ("batch-foreign=1", 3, 0, "1 result with a custom_id that the input does not have"),
        ("batch-fail=token_limit_exceeded", 0, 3, "failed: token_limit_exceeded: Enqueued token limit"),
        ("batch-fail=invalid_json_line", 0, 3, "failed: line 4: invalid_json_line"),
        ("cut:on=content:times=1", 3, 0, "trying again in"),
        ("truncate:on=content:times=1", 3, 0, "cannot be read: downloading again in"),
        ("garbage:on=content:times=1", 3, 0, "cannot be read: downloading again in"),
        ("status=400:on=line:match=say 1", 2, 0, "2 good, 1 failed"),
        ("batch-no-id=empty", 3, 0, "3 good"),
    ],
)
def test_what_comes_of_jobs_that_do_not_end_well(
    tmp_path: Path, fault: str, good: int, missing: int, words: str
) -> None:
    path = tmp_path / "in.jsonl"
    lines = write_input(tmp_path).read_text().replace('"b"', '"a"').splitlines(True)
    path.write_text("\n" + "".join(lines[:3]))
    with serving("--fault", fault, "--batch-life", "1") as server:
        assert jobs(server, "submit", str(path)).status == 0
        waited = jobs(server, "wait", str(path), "--poll", "0.01")
        done = jobs(server, "results", str(path))
    found = records(done)
    assert [line["custom_id"] for line in found] == ["id-0", "id-1", "id-2"]
    assert sum(line["error"] is None and line["response"]["status_code"] == 200 for line in found) == good
    assert sum((line["error"] or {}).get("code") == "unsent" for line in found) == missing
    assert done.status == (0 if good == 3 else 1)
    assert waited.status == (1 if fault.startswith(("batch-expire", "batch-fail")) else 0)
    assert words in done.stderr.decode()


@at_any_speed
def test_a_wait_that_ends_before_the_job(factor: int, tmp_path: Path) -> None:
    folder, limit = tmp_path / str(factor), f"{0.5 * factor:g}"
    folder.mkdir()
    with serving("--batch-life", "1h", "--fault", "status=500:on=poll:every=2") as server:
        path = str(write_input(folder, lines=1))
        jobs(server, "submit", path)
        done = jobs(server, "wait", path, "--poll", "0.05", "--max-wait", limit, "--retries", "0")
    assert (done.status, done.stdout) == (124, b"")
    assert b"still waiting" in done.stderr
    assert done.stderr.endswith(f"1 job not ended after {limit} s: run the same command later\n".encode())


def test_a_wait_of_no_time_looks_once(tmp_path: Path) -> None:
    with serving("--batch-life", "1h") as server:
        path = str(write_input(tmp_path, lines=1))
        jobs(server, "submit", path)
        done = jobs(server, "wait", path, "--max-wait", "0")
    assert (done.status, done.stdout) == (124, b"")
    assert done.stderr.endswith(b"1 job not ended after 0 s: run the same command later\n")


def test_a_provider_that_is_not_reached_is_tried_for_the_list_alone(tmp_path: Path) -> None:
    path = str(write_input(tmp_path, lines=1))
    done = run("jobs", "submit", path, "--base-url", "http://127.0.0.1:1/v1", "--retries", "0")
    assert (done.status, done.stdout) == (69, b"")
    assert done.stderr.startswith(b"chatpipe: cannot reach 'http://127.0.0.1:1/v1/batches'")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("submit",), 2, "submit takes one FILE"),
        (("submit", "nothing.jsonl"), 66, "cannot read 'nothing.jsonl'"),
        (("list", "batch_x"), 2, "list takes no ID"),
        (("wait",), 2, "no job is named"),
        (("cancel", ""), 2, "no job is named"),
        (("status", "batch_x", ""), 2, "an operand is empty"),
        (("submit", ""), 2, "an operand is empty"),
        (("start",), 2, "'start' is not one of"),
        (("status", "batch_x", "-o", "out"), 2, "--output: it is for results only"),
        (("wait", "batch_x", "--input", "in"), 2, "--input: it is for results only"),
        (("status", "batch_x"), 65, "/v1 shows the jobs that there are"),
        (("cancel", "batch_x"), 65, "'batch_x': chatpipe jobs list --base-url http://"),
        (("submit", "-"), 66, "stdin can be read only once"),
        (("results", "batch_x", "--poll", "0"), 2, "'0' is not a number of seconds above 0"),
        (("wait", "batch_x", "--max-wait", "-1"), 2, "'-1' is not a number of seconds (0 or more)"),
        (
            ("wait", __file__),
            66,
            f"there is no '{__file__}.jobs': chatpipe jobs submit {__file__} --base-url http",
        ),
        (("list", "-p", "xai"), 78, "a Batch API of another shape"),
        (("submit", __file__, "--window", "soon"), 2, "'soon' is not a time such as 24h or 7d"),
        (("list", "-p", "echo"), 78, "profile 'echo' has no Batch API"),
        (("list", "--base-url", "http://localhost:1/v1"), 2, "jobs are at one server"),
        (("submit", __file__, "-v"), 65, "not JSON"),
    ],
)
def test_words_that_cannot_work(server: Running, words: tuple[str, ...], status: int, message: str) -> None:
    asked = run("jobs", *words) if "-p" in words else jobs(server, *words)
    assert asked.status == status
    assert message in asked.stderr.decode()
    assert asked.stderr.count(b"\n") == 1 or "-v" in words


@pytest.mark.parametrize(
    "words",
    [("jobs", "list"), ("batch", "--journal", "j", "--engine", "batch-api", "--poll", "0.01", "-m", "m")],
    ids=lambda words: words[0],
)
def test_the_way_without_a_key_is_one_with_a_batch_api(tmp_path: Path, words: tuple[str, ...]) -> None:
    with serving("--batch-life", "1") as server:
        refused = run(*words, stdin=b'"a"', cwd=tmp_path)
        assert refused.status == 77
        assert b", or try the --base-url of a chatpipe serve, which needs none\n" in refused.stderr
        assert run(*words, "--base-url", server.url, stdin=b'"a"', cwd=tmp_path).status == 0
