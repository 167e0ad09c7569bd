"""`--engine batch-api`: one run against the provider of `serve`, in this process and with a clock of ours."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatpipe.batch.journal import journal as journal_module
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.provider_jobs import open_run_jobs
from chatpipe.batch.provider_jobs.job_lifecycle import JobLifecycle
from chatpipe.batch.provider_jobs.result_answer import answer_of, plain_answers
from chatpipe.commands.batch import batch
from chatpipe.errors import BadInput, ChatpipeError, Interrupted, NoAccess, Unreachable
from chatpipe.jobs.file_download import FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import DIALECTS
from chatpipe.models.connections import Connection
from chatpipe.options.serve import BatchLife
from chatpipe.system.spool import Room, Spool
from jobs.mistral_provider import MistralProvider
from jobs.provider import BASE_URL, Killed, Provider
from jobs.test_job_actions import BadLines, Forgetful, forget
from jobs.test_submission import paid
from jobs.together_provider import TogetherProvider
from support.parametrize import cases
from support.patience import until

LINES = 7
MODELS = ["a", "b", "a", "a", "b", "a", "a"]


class JobHarness:
    """A folder with an input of seven lines for two models, and a provider with room for 3 in a job."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self.provider = provider
        self.out = folder / "out.jsonl"
        self.journal = folder / "out.jsonl.journal"
        self.write(range(LINES))

    def write(self, numbers: Any) -> None:
        lines = [
            {"model": MODELS[n % 7], "messages": [{"role": "user", "content": f"say {n}"}]} for n in numbers
        ]
        (self.folder / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))

    def run(self, *options: str, engine: str = "batch-api", base_url: str = BASE_URL) -> tuple[int, str]:
        """The status and the last line of a run. Raises Killed."""
        words = [str(self.folder / "in.jsonl"), "-o", str(self.out), "--base-url", base_url]
        words += [] if "--progress" in options else ["-q"]
        try:
            batch.main([*words, "--engine", engine, *options], standalone_mode=False)
        except ChatpipeError as fault:
            return int(fault.status), str(fault)
        return 0, ""

    def answers(self) -> list[str]:
        records = [json.loads(line) for line in self.out.read_text().splitlines()]
        return [each["response"]["body"]["choices"][0]["message"]["content"] for each in records]

    def failures(self) -> dict[int, tuple[str, str]]:
        """The outcomes and messages of the lines whose last record in the journal is a failure."""
        records = [json.loads(line) for line in self.journal.read_text().splitlines()]
        last = {
            each["chatpipe"]["line"]: each for each in records if "chatpipe" in each and "response" in each
        }
        return {
            line: (each["chatpipe"]["outcome"], each["error"]["message"])
            for line, each in sorted(last.items())
            if each["error"] is not None
        }


def has_ended(made: JobHarness) -> bool:
    """Each call is a look at the jobs, and moves them on."""
    return all(job["status"] == "completed" for job in made.provider.jobs())


ALL = [f"say {n}" for n in range(LINES)]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobHarness]:
    """The function that makes a harness, with the faults of its provider."""
    places = iter(range(10_000))

    def make(*faults: str, kind: type[Provider] = Provider, **options: Any) -> JobHarness:
        provider = kind(*faults, **options)

        @contextmanager
        def connect(*_: object, words: tuple[str, ...]) -> Iterator[Connection]:
            yield provider.api().connection._replace(words=words)

        few = DIALECTS[kind.dialect]._replace(most_lines=3)
        monkeypatch.setattr(open_run_jobs, "connect", connect)
        monkeypatch.setattr(open_run_jobs, "dialect_of", lambda *_: few)
        folder = tmp_path / str(next(places))
        folder.mkdir()
        return JobHarness(folder, provider)

    for module, sync in ((os, "fsync"), (journal_module, "_sync")):  # nothing here is about the disk
        monkeypatch.setattr(module, sync, lambda _: None)
    return make


@pytest.mark.parametrize("kind", [Provider, MistralProvider, TogetherProvider])
def test_a_run_is_answered_by_jobs(harness: Callable[..., JobHarness], kind: type[Provider]) -> None:
    made = harness(kind=kind)
    assert made.run() == (0, "")
    assert made.answers() == ALL
    records = [json.loads(line) for line in made.out.read_text().splitlines()]
    assert {each["chatpipe"]["engine"] for each in records} == {"batch-api"}
    assert [each["custom_id"] for each in records] == [f"line-{n + 1}" for n in range(LINES)]
    took = {job["completed_at"] - job["created_at"] for job in made.provider.jobs()}
    assert {each["chatpipe"]["latency_s"] for each in records} == took
    assert min(took) > 0
    assert not made.journal.exists()
    assert len(made.provider.jobs()) == 3
    calls = len(made.provider.calls)
    assert made.run() == (0, "")  # everything is in OUT
    assert len(made.provider.calls) == calls


@pytest.mark.parametrize("kind", [Provider, MistralProvider, TogetherProvider])
def test_the_wait_counts_the_lines_of_all_jobs(
    harness: Callable[..., JobHarness], kind: type[Provider], capfd: pytest.CaptureFixture[str]
) -> None:
    """One provider says how many lines have an answer, another how much of a job is done."""
    made = harness(kind=kind, batch_life=BatchLife(polls=8))
    assert made.run("--progress", "json")[0] == 0
    shown = [json.loads(line)["jobs"] for line in capfd.readouterr().err.splitlines() if '"jobs"' in line]
    assert {each["lines"] for each in shown} == {LINES}
    done = [each["completed"] for each in shown]
    assert (done[0], sorted(done), done[-1] > 3) == (0, done, True)


# The calls of Mistral alone are killed at each point in test_submission.py.
@pytest.mark.parametrize(("kind", "step"), [(Provider, 1), (MistralProvider, 3)])
def test_a_kill_at_any_point_neither_loses_nor_doubles_a_line(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch, kind: type[Provider], step: int
) -> None:
    """Before and after each request, and before and after each write of the journal."""
    made = harness(kind=kind)
    write = Journal._write

    def counted(journal: Journal, lines: bytes) -> int:
        made.provider.point()
        offset = write(journal, lines)
        made.provider.point()
        return offset

    monkeypatch.setattr(Journal, "_write", counted)
    monkeypatch.setattr(journal_module, "_BLOCK_BYTES", 1500)  # two results
    assert made.run()[0] == 0
    points = made.provider.points
    assert points > 50
    for kill_at in range(1, points + 1, step):
        made = harness(kind=kind)
        made.provider.kill_at = kill_at
        with pytest.raises(Killed):
            made.run()
        made.provider.kill_at = None
        assert made.run() == (0, ""), kill_at
        assert made.answers() == ALL, kill_at
        found = paid(made.provider)
        assert len(found) == len(set(found)) == LINES, kill_at


LOST = "it is in neither result file"
FOREIGN = "batch-foreign=1"


@cases(
    ("fault", "failures"),
    {
        "one that is refused": ("status=400:on=line:match=say 4", {5: ("http", "400 from")}),
        "a lost line a job": ("batch-lose=1", dict.fromkeys((4, 5, 7), ("unsent", LOST))),
        "a result twice": ("batch-double=1", {}),
        "a result that nobody asked for": (FOREIGN, {}),
        "empty ids": ("batch-no-id=empty", {}),
        "a download that is cut": ("cut:on=content:times=1:of=all", {}),
        "a download that is short": ("truncate:on=content:times=1:of=all", {}),
        "a download that is damaged": ("garbage:on=content:times=1:of=all", {}),
        "a file that is not seen yet": ("batch-unseen:times=1", {}),
        "an ambiguous create": ("empty:on=create:times=1", {}),
        "a create that failed": ("status=500:on=create:times=1", {}),
        "looks that fail": ("status=503:on=poll:every=2:of=all", {}),
    },
)
def test_each_line_is_paid_for_once_whatever_happens(
    harness: Callable[..., JobHarness], fault: str, failures: dict[int, tuple[str, str]]
) -> None:
    """failures are the lines without an answer, with their outcomes and a part of their messages."""
    made = harness(fault)
    status, _ = made.run()
    found = made.failures() if made.journal.exists() else {}
    assert {line: outcome for line, (outcome, _) in found.items()} == {
        line: outcome for line, (outcome, _) in failures.items()
    }
    for line, (_, words) in failures.items():
        assert words in found[line][1]
    assert status == (1 if failures else 0)
    if not failures:
        assert made.answers() == ALL
    strange = "3 lines of the result files left out: they answer no request of this run"
    assert made.provider.warnings == ([strange] if fault == FOREIGN else [])
    sent = paid(made.provider)
    assert len(sent) == len(set(sent)) == LINES


@pytest.mark.parametrize(
    ("kind", "fault", "reason"),
    [
        (Provider, "batch-expire=1", "batch_expired"),
        (Provider, "batch-cancel=1", "cancel"),
        (Provider, "batch-lose=1", "it is in neither result file"),
        (Provider, "batch-fail=invalid_json_line", "failed: line 4: invalid_json_line"),
        (TogetherProvider, "batch-expire=1", "batch_expired"),
        (TogetherProvider, "batch-fail=invalid_json_line", "failed: This line is not parseable"),
        (MistralProvider, "batch-expire=1", "batch_expired"),
        (MistralProvider, "batch-fail=invalid_json_line", "failed: This line is not parseable"),
    ],
)
def test_what_has_no_answer_is_sent_by_the_next_run(
    harness: Callable[..., JobHarness], kind: type[Provider], fault: str, reason: str
) -> None:
    made = harness(f"{fault}:times=1:of=all", kind=kind)
    status, words = made.run()
    failures = made.failures()
    assert (status, {outcome for outcome, _ in failures.values()}) == (1, {"unsent"})
    assert all(reason in message for _, message in failures.values()), failures
    has_failed = fault.startswith("batch-fail")
    fix = "add --engine local, " if has_failed and kind is Provider else ""
    assert words.endswith(f" shows them, {fix}run the same command again")
    assert any(reason in text for text in made.provider.warnings) == has_failed
    status, _ = made.run("--report", str(made.folder / "report"))
    assert (status, made.answers()) == (0, ALL)
    report = json.loads((made.folder / "report").read_text())
    assert report["sent"] == {"unsent": len(failures)}


@pytest.mark.parametrize("fault", ["batch-fail=too_many_tasks", "batch-fail=token_limit_exceeded"])
def test_a_job_that_is_too_large_alone_names_the_option_for_smaller_ones(
    fault: str, harness: Callable[..., JobHarness]
) -> None:
    made = harness(f"{fault}:of=all:times=1")
    made.write([0, 2, 3])
    status, words = made.run()
    assert (status, words.endswith(", add --job-lines 1, run the same command again")) == (1, True)
    assert made.run("--job-lines", "1") == (0, "")
    assert [job["request_counts"]["total"] for job in made.provider.jobs()] == [1, 1, 1, 0]
    assert made.answers() == ["say 0", "say 2", "say 3"]


@pytest.mark.parametrize("numbers", [range(LINES), [6, 3, 0, 2]])
def test_each_line_of_a_job_that_failed_has_its_own_reason(
    harness: Callable[..., JobHarness], numbers: Sequence[int]
) -> None:
    """By the number that it had when the job was created: the input may be another one now."""
    made = harness("batch-fail=invalid_json_line:of=all:times=1", kind=BadLines)
    assert made.run("--no-wait")[0] == 124
    (failed, *_) = [record["id"] for record in reversed(made.provider.jobs())]
    made.write(numbers)
    status, words = made.run()
    assert (status, words.endswith(", add --engine local, run the same command again")) == (1, True)
    own = {
        0: "3: invalid_json_line: second",
        2: "3: invalid_json_line: second",
        3: "4: invalid_json_line: third",
    }
    reasons = {numbers[line - 1]: message for line, (_, message) in made.failures().items()}
    assert reasons == {number: f"{failed} failed: line {text}" for number, text in own.items()}
    found = made.run(engine="local")
    assert "--engine local" not in found[1]


def test_parts_wait_for_room_in_the_queue_of_the_provider(harness: Callable[..., JobHarness]) -> None:
    made = harness("batch-limit:times=1")
    assert made.run() == (0, "")
    assert made.answers() == ALL
    good = [job for job in made.provider.jobs() if job["status"] == "completed"]
    assert sum(job["request_counts"]["completed"] for job in good) == LINES


def test_the_last_job_that_found_no_room_is_submitted_again(harness: Callable[..., JobHarness]) -> None:
    """One look sees the end of all jobs."""
    made = harness("batch-fail=token_limit_exceeded:every=3:times=1:of=all", batch_life=BatchLife(polls=1))
    assert (made.run(), made.answers()) == ((0, ""), ALL)
    assert sum(job["request_counts"]["completed"] for job in made.provider.jobs()) == LINES


def test_a_part_that_the_provider_refuses_has_its_place(harness: Callable[..., JobHarness]) -> None:
    made = harness("status=400:on=create:every=2:times=1:of=all")
    status, words = made.run()
    assert (status, words.startswith("part 2 of 3, lines 2 to 5: 400 from")) == (65, True)
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


@pytest.mark.parametrize(
    ("fault", "status"),
    [("status=401:on=list:after=1:of=all", 77), ("status=400:on=create:every=2:times=1:of=all", 65)],
)
def test_a_run_that_is_refused_says_that_its_jobs_go_on(
    harness: Callable[..., JobHarness], capfd: pytest.CaptureFixture[str], fault: str, status: int
) -> None:
    made = harness(fault)
    assert made.run("--progress", "none")[0] == status
    assert "at the provider: run the same command later, or stop " in capfd.readouterr().err


def test_a_part_that_is_refused_for_want_of_room_is_held_back(harness: Callable[..., JobHarness]) -> None:
    made = harness("batch-limit:every=2:of=all", retries=0)
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)
    assert made.provider.calls.count("POST /batches") == 5
    alone = harness("batch-limit", retries=0)
    status, words = alone.run()
    assert (status, "token limit" in words) == (75, True)


def test_a_job_at_another_server_has_ways_out(harness: Callable[..., JobHarness]) -> None:
    made = harness(kind=Forgetful)
    assert isinstance(made.provider, Forgetful)
    assert made.run("--no-wait")[0] == 124
    text = made.journal.read_text()
    server = json.loads(text.splitlines()[1])["server"]
    made.journal.write_text(text.replace(f'"server":"{server}"', '"server":"gone.test/v1"'))
    status, words = made.run()
    assert (status, "at 'gone.test/v1' since" in words) == (1, True)
    assert "set --base-url to that server, or give the job up with another --journal" in words
    made.provider.forgotten += [job["id"] for job in made.provider.jobs()]  # they are at the other server
    assert made.run("--journal", str(made.folder / "another")) == (0, "")
    assert made.answers() == ALL
    made.journal.write_text(text)
    made.provider.forgotten.clear()
    assert made.run() == (0, "")


@cases(
    ("fingerprints", "status"),
    {"no digits": ("z" * 32, 65), "not all digits": ("a" * 31, 65), "none": ("", 1), "an array": ([], 65)},
)
def test_fingerprints_that_were_changed_in_the_journal(
    harness: Callable[..., JobHarness], fingerprints: Any, status: int
) -> None:
    made = harness()
    assert made.run("--no-wait")[0] == 124
    header, planned, *events = made.journal.read_text().splitlines()
    changed = json.dumps({**json.loads(planned), "fingerprints": fingerprints}, separators=(",", ":"))
    made.journal.write_text("\n".join([header, "", changed, *events, ""]))
    fault = f"{made.journal}:3: a line about a job was changed: restore the line, or give the job up "
    found = made.run("--engine", "local", "--no-send", "--no-wait")
    assert found == (status, f"{fault}with another --journal") if status == 65 else found[0] == status


def test_jobs_of_a_server_that_is_gone_have_a_way_out(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise Unreachable("cannot reach it", fix="check it")

    made = harness()
    assert made.run("--no-wait")[0] == 124
    monkeypatch.setattr(JobLifecycle, "collect_ended", gone)
    found = made.run()
    assert found == (69, "cannot reach it: check it, or give the jobs up with another --journal")
    made.journal.unlink()
    assert made.run() == (69, "cannot reach it: check it")


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_signal_in_a_download_says_that_the_jobs_have_ended(
    harness: Callable[..., JobHarness],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    engine: str,
) -> None:
    def interrupted(_: FileDownload) -> Spool:
        raise Interrupted(signal.SIGINT)

    made = harness()
    made.run("--no-wait")
    until(lambda: has_ended(made))
    with monkeypatch.context() as patch:
        patch.setattr(FileDownload, "run", interrupted)
        with pytest.raises(Interrupted):
            made.run("--progress", "none", engine=engine)
    words = "3 jobs have ended, and not all results are here: run the same command again"
    assert capfd.readouterr().err == f"chatpipe: {words}\n"
    assert made.run() == (0, "")


@cases(
    ("fault", "words"),
    {
        "it cannot be reached": (Unreachable("cannot reach it"), "another --journal gives them up"),
        "the key is not good": (NoAccess("401 from it"), "another --journal gives them up"),
        "it answers": (None, f" --base-url {BASE_URL} gives them up"),
    },
)
def test_the_way_out_of_a_job_is_one_that_works(
    harness: Callable[..., JobHarness],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fault: ChatpipeError | None,
    words: str,
) -> None:
    """Nothing can be cancelled at a server that does not answer."""

    def refused(*_: object) -> None:
        if fault is not None:
            raise fault

    made = harness()
    assert made.run("--no-wait")[0] == 124
    monkeypatch.setattr(JobLifecycle, "collect_ended", refused)
    status, said = made.run("--progress", "none", engine="local")
    assert (status, said.endswith(words)) == (1, True)
    if fault is not None:
        assert "jobs cancel" not in said
        assert f"warning: {fault}: the lines of its jobs wait\n" in capfd.readouterr().err


def test_the_way_out_in_a_run_over_several_servers_names_the_one_with_the_job(
    harness: Callable[..., JobHarness],
) -> None:
    """`jobs` takes one server."""
    made = harness(batch_life=BatchLife(polls=9))
    made.run("--no-wait")
    status, words = made.run("--base-url", "http://other.test/v1", engine="local")
    assert (status, words.count("--base-url")) == (1, 1)
    assert f"--base-url {BASE_URL} gives them up" in words


def test_a_run_over_several_servers_collects_the_jobs_of_any(harness: Callable[..., JobHarness]) -> None:
    """Their answers have its name, by which a later run knows them."""
    made = harness()
    made.run("--no-wait")
    until(lambda: has_ended(made))
    other = "http://other.test/v1"
    assert made.run("--base-url", BASE_URL, "--same-server", engine="local", base_url=other) == (0, "")
    records = [json.loads(line)["chatpipe"] for line in made.out.read_text().splitlines()]
    assert {(each["server"], each["engine"]) for each in records} == {(BASE_URL, "batch-api")}


def test_created_now_and_collected_later(harness: Callable[..., JobHarness]) -> None:
    made = harness()
    status, words = made.run("--no-wait")
    assert (status, words) == (124, "7 lines in 3 jobs at the provider: run the same command later")
    assert not made.out.exists()
    status, words = made.run(engine="local")
    assert status == 1
    (first, *_) = made.failures().values()
    assert first[0] == "unsent"
    assert re.fullmatch(r"it is in job batch_\w+ since [\d-]+T[\d:.]+Z", first[1])
    assert "--engine batch-api waits for batch_" in words
    assert "chatpipe jobs cancel batch_" in words
    assert f" --base-url {BASE_URL} gives them up" in words
    status, words = made.run("--fresh")
    assert (status, "leave it out in the next run, which collects them" in words) == (2, True)
    assert made.run("--fresh", "--dry-run") == (status, words)
    reports = []
    for _ in range(6):
        status, _ = made.run("--no-wait", "--report", str(made.folder / "report"))
        reports.append(json.loads((made.folder / "report").read_text()))
    assert (status, made.answers()) == (0, ALL)
    # The run by the other engine has recorded them so. Each is counted once, when its answer is collected.
    assert sum(each["sent"].get("unsent", 0) for each in reports) == LINES
    assert len(paid(made.provider)) == LINES


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_journal_that_was_moved_is_not_reused_while_it_has_jobs(
    harness: Callable[..., JobHarness], engine: str
) -> None:
    """The run would send the lines of these jobs once more."""
    made = harness()
    made.run("--no-wait")
    moved = made.journal.rename(made.folder / "moved")
    status, words = made.run("--reuse", str(moved), engine=engine)
    assert (status, made.out.exists()) == (2, False)
    assert re.search("moved has job batch_.* name this file with --journal, or add --no-send", words)
    assert made.run("--reuse", str(moved), "--dry-run", engine=engine) == (status, words)
    assert made.run("--reuse", str(moved), "--no-send")[0] == 1
    made.journal.unlink(missing_ok=True)
    assert made.run("--journal", str(moved), "--reuse", str(moved)) == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


MORE = 60  # lines, of which a job has a sample
LOST = "--journal: "
WARNED = "of these lines, too, and"


@cases(
    ("before", "after", "ended", "lost"),
    {
        "no edit": (range(LINES), range(LINES), False, LOST),
        "a line more": (range(LINES), range(LINES + 1), False, LOST),
        "a line less": (range(LINES), range(1, LINES), False, LOST),
        "many more": (range(3), range(-MORE, 3), False, LOST),
        "another order": (range(LINES), range(LINES - 1, -1, -1), False, LOST),
        "one of ten": (range(0, -10, -1), [0, *range(1, 10)], False, WARNED),
        "nothing in common": (range(LINES), range(LINES, 2 * LINES), False, ""),
        "all have answers": (range(LINES), range(LINES + 1), True, WARNED),
        "a few have answers": (range(0, -10, -1), [0, *range(1, 10)], True, ""),
    },
)
def test_the_lines_of_a_lost_journal_are_found_in_their_jobs(
    harness: Callable[..., JobHarness],
    before: Sequence[int],
    after: Sequence[int],
    ended: bool,
    lost: str,
) -> None:
    made = harness(batch_life=BatchLife(polls=2 if ended else 9))
    made.write(before)
    made.run("--no-wait")
    while ended and any(job["status"] != "completed" for job in made.provider.jobs()):
        pass
    bought = len(paid(made.provider))
    made.journal.unlink()
    made.write(after)
    status, words = made.run("--no-wait", "--job-lines", "2")
    assert (status == 2) == (lost == LOST)
    assert lost in "".join([words, *made.provider.warnings])
    assert (len(paid(made.provider)) == bought) == (lost == LOST)


@cases(
    ("before", "after", "ended", "lost"),
    {
        "the same lines": (range(3), range(3), False, LOST),
        "many more": (range(3), range(-MORE, 3), False, LOST),
        "one of ten": (range(0, -10, -1), [0, *range(1, 10)], False, WARNED),
        "nothing in common": (range(LINES), range(LINES, 2 * LINES), False, ""),
        "all have answers": (range(3), range(3), True, WARNED),
        "a few have answers": (range(0, -10, -1), [0, *range(1, 10)], True, ""),
    },
)
def test_the_name_of_the_input_file_stands_for_metadata(
    harness: Callable[..., JobHarness],
    before: Sequence[int],
    after: Sequence[int],
    ended: bool,
    lost: str,
) -> None:
    """The jobs of Together keep none."""
    made = harness(kind=TogetherProvider, batch_life=BatchLife(polls=2 if ended else 9))
    made.write(before)
    assert made.run("--no-wait")[0] == 124
    if ended:
        until(lambda: has_ended(made))
    bought = len(paid(made.provider))
    made.journal.unlink()
    made.write(after)
    status, words = made.run("--no-wait", "--job-lines", "2")
    said = made.provider.warnings
    assert (status == 2, lost in "".join([words, *said]), bool(said)) == (lost == LOST, True, lost == WARNED)
    assert (len(paid(made.provider)) == bought) == (lost == LOST)


@cases(
    "lines",
    {"all": range(MORE), "many more": range(-MORE, MORE), "a few": range(0, MORE, 3)},
)
def test_a_job_of_many_lines_is_known_by_a_sample(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch, lines: Sequence[int]
) -> None:
    made = harness(batch_life=BatchLife(polls=9))
    monkeypatch.setattr(open_run_jobs, "dialect_of", lambda *_: DIALECTS["openai"])
    made.write(range(MORE))
    made.run("--no-wait", "--override", "-m", "a")
    (job,) = made.provider.jobs()
    assert len(job["metadata"]["chatpipe_lines"]) == 15 * 32
    made.journal.unlink()
    made.write(lines)
    status, words = made.run("--no-wait", "--override", "-m", "a")
    assert (status, f"{job['id']} has lines of this run" in words) == (2, True)


def test_a_refused_run_keeps_what_it_has_collected(harness: Callable[..., JobHarness]) -> None:
    """The next one may be refused, too, and the provider does not keep results for ever."""
    made = harness(batch_life=BatchLife(polls=9))
    made.write([0])
    made.run("--no-wait")
    own = made.journal.rename(made.folder / "own")
    until(lambda: has_ended(made))
    made.write([2, 3])
    made.run("--no-wait")
    made.journal.unlink()
    assert (made.run("--no-wait")[0], made.journal.exists()) == (2, False)
    own.rename(made.journal)
    made.write([0, 2, 3])
    for _ in range(2):
        assert made.run()[0] == 2
    assert sum(call.endswith("/content") for call in made.provider.calls) == 1
    made.write([0])
    assert (made.run(), made.answers(), len(paid(made.provider))) == ((0, ""), ["say 0"], 3)


def test_a_copy_of_the_journal_and_one_without_open_jobs_are_reused(
    harness: Callable[..., JobHarness],
) -> None:
    made = harness()
    made.run("--no-wait")
    copy = made.folder / "copy"
    copy.write_bytes(made.journal.read_bytes())
    assert made.run("--reuse", str(copy), "--keep-journal") == (0, "")
    old = made.journal.rename(made.folder / "old")
    made.out.unlink()
    assert made.run("--reuse", str(old)) == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_line_in_a_job_of_another_server_waits(harness: Callable[..., JobHarness], engine: str) -> None:
    made = harness()
    made.run("--no-wait")
    status, words = made.run(engine=engine, base_url="http://moved.test/v1")
    assert (status, made.out.exists()) == (1, False)
    assert " at 'provider.test/v1' since" in words
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


def test_a_create_that_cannot_be_looked_for_is_in_flight(harness: Callable[..., JobHarness]) -> None:
    made = harness("empty:on=create:times=1", "status=401:on=list:times=3:of=all")
    made.write([0, 2, 3])  # one part
    assert made.run()[0] == 77
    status, words = made.run(engine="local")
    assert (status, "it may be in a job that was not confirmed since" in words) == (1, True)
    assert words.endswith("another --journal gives the job up")
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (3, ["say 0", "say 2", "say 3"])


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_create_that_was_not_confirmed_is_not_repeated_with_the_key_of_another_account(
    harness: Callable[..., JobHarness], engine: str
) -> None:
    made = harness("empty:on=create:times=1", "status=401:on=list:times=3:of=all")
    made.write([0, 2, 3])
    assert made.run()[0] == 77
    right, made.provider.planner = made.provider.planner, Provider().planner
    made.provider.clock_s += 999
    status, words = made.run(engine=engine)
    assert (status, made.provider.jobs()) == (1, [])
    if engine == "batch-api":
        assert words.endswith(": use the key that created it, or give the job up with another --journal")
    right._rules._rules.clear()
    made.provider.planner = right
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (3, ["say 0", "say 2", "say 3"])


def test_an_input_that_was_edited_finds_its_lines(harness: Callable[..., JobHarness]) -> None:
    made = harness()
    made.run("--no-wait")
    made.write([6, 2, 9])
    assert made.run() == (0, "")
    assert made.answers() == ["say 6", "say 2", "say 9"]
    header, *unused, finished = map(json.loads, made.journal.read_text().splitlines())
    assert ("chatpipe_journal" in header, len(unused), finished["finished"]) == (True, 5, True)
    assert len(paid(made.provider)) == LINES + 1
    made.write(range(LINES))  # the answers that nobody asked for any more were kept
    calls = len(made.provider.calls)
    assert made.run() == (0, "")
    assert made.answers() == ALL
    assert len(made.provider.calls) == calls


CALLS = {"role": "assistant", "content": "hi", "tool_calls": []}


@cases(
    "models, fields, options",
    {
        "one part": ("aaa", {}, ()),
        "one model in two parts": ("aaaa", {}, ()),
        "a part for each model": ("abab", {}, ()),
        "several for each": ("aaabbbabab", {}, ()),
        "no model": ("-a-", {}, ("--no-check",)),
        "a stream": ("aa", {"stream": True}, ()),
        "empty calls": ("aa", {"messages": [CALLS]}, ("--no-check",)),
        "limits of one part": ("aaaa", {}, ("--job-lines", "1")),
        "a budget": ("aaab", {}, ("--max-tokens", "25")),
        "identical": ("abaab", {"messages": [{"role": "user", "content": "hi"}]}, ()),
        "identical, once": ("abaab", {"messages": [{"role": "user", "content": "hi"}]}, ("--dedupe",)),
    },
)
def test_lines_that_are_read_together_lie_where_they_would_one_by_one(
    harness: Callable[..., JobHarness], models: str, fields: dict[str, Any], options: Sequence[str]
) -> None:
    found = []
    for one_by_one in ((), ("--shard", "1/1")):
        made = harness(batch_life=BatchLife(polls=9))
        with (made.folder / "in.jsonl").open("w") as file:
            for number, model in enumerate(models):
                body = {"model": model, "messages": [{"role": "user", "content": str(number)}], **fields}
                if model == "-":
                    del body["model"]
                line = {"custom_id": f"id-{number}", "url": "/v1/chat/completions", "body": body}
                file.write(json.dumps(line) + "\n")
        made.run("--no-wait", *options, *one_by_one)
        events = [json.loads(line) for line in made.journal.read_text().splitlines()]
        planned = [each for each in events if each.get("chatpipe_job") == "planned"]
        found.append([{**each, "token": "", "server": ""} for each in planned])
    assert found[0] == found[1]
    assert found[0]


@cases("options", {"in OUT": (), "as text": ("-f", "text"), "duplicates": ("--dedupe",)})
def test_answers_that_are_read_together_are_like_others(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch, options: Sequence[str]
) -> None:
    """The first run reads each answer by itself."""
    place = "chatpipe.batch.provider_jobs"
    found = []
    for read, alone in ((lambda *_: None, answer_of), (plain_answers, _refused)):
        monkeypatch.setattr(f"{place}.collected_file.plain_answers", read)
        monkeypatch.setattr(
            f"{place}.collected_results.answer_of", answer_of if options == ("--dedupe",) else alone
        )
        made = harness()
        made.write([0, 2, 3])  # they are for one model
        report = made.folder / "report"
        assert made.run("--report", str(report), *options) == (0, "")
        counts = json.loads(report.read_text())
        found.append((made.out.read_text(), {**counts, "wall_s": 0, "requests_per_s": 0}))
    assert found[0] == found[1]


def test_answers_that_need_a_verdict_are_parsed_once(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatpipe.batch.provider_jobs.collected_file.plain_answers", _refused)
    made = harness()
    made.write([0, 2, 3])
    assert made.run("-f", "code")[0] == 5
    outcomes = {outcome for outcome, _ in made.failures().values()}
    assert outcomes == {"mismatch"}


def _refused(*_: object) -> None:
    raise AssertionError


def test_a_line_that_is_too_large_goes_alone(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = harness()
    lines = [json.dumps({"model": "a", "messages": [{"role": "user", "content": text}]}) for text in ALL]
    lines[3] = lines[3].replace("say 3", "say 3" + " " * 2000)
    (made.folder / "in.jsonl").write_text("\n".join(lines))
    small, large = (DIALECTS["openai"]._replace(most_bytes=most) for most in (1000, 10_000))
    monkeypatch.setattr(open_run_jobs, "dialect_of", lambda *_: small)
    status, words = made.run()
    assert (status, paid(made.provider)) == (65, [])
    assert "in.jsonl:4: the request has 2162 bytes" in words
    assert "add --engine local --shard 4/1000000000 to send it alone" in words
    monkeypatch.setattr(open_run_jobs, "dialect_of", lambda *_: large)  # as if it were the other engine
    assert made.run("--shard", "4/1000000000") == (0, "")
    monkeypatch.setattr(open_run_jobs, "dialect_of", lambda *_: small)
    assert made.run() == (0, "")
    assert [each.strip() for each in made.answers()] == ALL
    assert len(paid(made.provider)) == LINES


def test_a_bad_line_is_no_line_that_the_run_waits_for(harness: Callable[..., JobHarness]) -> None:
    made = harness()
    with (made.folder / "in.jsonl").open("a") as file:
        file.write("{\n")
    assert made.run("--no-wait")[0] == 124
    assert {line: outcome for line, (outcome, _) in made.failures().items()} == {LINES + 1: "input"}


def test_of_the_lines_in_jobs_a_run_gives_those_that_have_ended(harness: Callable[..., JobHarness]) -> None:
    """The others have no record: they have not failed."""
    made = harness()
    made.write([0, 2, 3])
    assert made.run("--no-wait")[0] == 124
    until(lambda: has_ended(made))
    made.write([0, 2, 3, 5])
    for reused in (0, 3):
        assert made.run("--no-wait", "--report", str(made.folder / "report"))[0] == 124
        report = json.loads((made.folder / "report").read_text())
        assert (report["outcomes"], report["reused"], made.failures()) == ({"ok": 3}, reused, {})


def test_a_wait_that_is_too_long(harness: Callable[..., JobHarness]) -> None:
    made = harness(batch_life=BatchLife(polls=50))
    status, words = made.run("--max-wait", "20")
    assert (status, "run the same command later" in words) == (124, True)
    status, words = made.run()
    assert (status, made.answers()) == (0, ALL)


def test_a_budget_leaves_lines_out(harness: Callable[..., JobHarness]) -> None:
    made = harness()
    limit = ("--max-tokens", "10")
    status, words = made.run("--max-total-tokens", "40", *limit)
    some = len(paid(made.provider))
    assert 0 < some < LINES
    left = f"{LINES - some} lines left out: {4 * some} of 40 tokens spent so far"
    assert (status, words) == (7, f"{left}: run the same command again")  # they took less than was reserved
    made.run("--max-total-tokens", "40", *limit)
    more = len(paid(made.provider))
    assert some < more < LINES
    status, words = made.run("--max-total-tokens", "20", *limit)
    left = f"{LINES - more} lines left out: the budget of 20 tokens is reached: {4 * more} are spent "
    assert words.startswith(left)
    assert words.endswith(": raise --max-total-tokens, run the same command again")
    assert (status, len(paid(made.provider))) == (7, more)
    assert made.run(*limit) == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


PRICES = "".join(
    f"[{model}]\ninput = 1e6\noutput = 2e6\nbatch_input = 0.5e6\nbatch_output = 1e6\n" for model in "ab"
)


def test_money_counts_at_the_price_of_jobs(harness: Callable[..., JobHarness]) -> None:
    """Lines in jobs count: as expected at first, and as they cost once they are collected."""
    made = harness()
    (made.folder / "prices").write_text(PRICES)
    money = ("--max-tokens", "10", "--prices", str(made.folder / "prices"), "--max-cost")
    made.write([0, 2, 3])
    assert made.run("--no-wait", *money, "80")[0] == 124
    (planned,) = [line for line in made.journal.read_text().splitlines() if "planned" in line]
    cost = json.loads(planned)["expected_cost"]
    assert any(f"3 lines submitted, expected cost {cost:.4g} USD" in note for note in made.provider.notes)
    made.write([0, 2, 3, 5])
    report = ("--report", str(made.folder / "report"))
    status, words = made.run("--no-wait", *report, *money, str(cost * 1.1))
    assert status == 7
    assert words.startswith(f"1 line left out: the budget of {cost * 1.1:g} USD is reached: 0 is spent, ")
    assert f", {cost:.4g} reserved, and the next line may take " in words
    assert words.endswith(": run the same command later, or raise --max-cost")
    assert len(paid(made.provider)) == 3
    report = json.loads((made.folder / "report").read_text())
    assert report["open_jobs"] == {"jobs": 1, "lines": 3, "expected_cost": cost}
    until(lambda: has_ended(made))
    assert made.run("--no-wait", *money, str(cost))[0] == 124  # what was collected cost less
    assert len(paid(made.provider)) == 4


def test_a_run_of_a_shard_sends_no_other_lines(harness: Callable[..., JobHarness]) -> None:
    made = harness()
    made.write(range(5))
    assert made.run("--no-wait", "--shard", "2/2")[0] == 124
    assert len(paid(made.provider)) == 2


@cases(
    ("first", "later", "engine"),
    {
        "both with --match id": (("--match", "id"), ("--match", "id"), "batch-api"),
        "only the later one": ((), ("--match", "id"), "batch-api"),
        "collected by the other engine": ((), ("--match", "id"), "local"),
        "in a later job": (("--job-lines", "1"), ("--match", "id"), "batch-api"),
    },
)
def test_an_edited_line_takes_the_answer_that_its_id_has_in_a_job(
    harness: Callable[..., JobHarness], first: tuple[str, ...], later: tuple[str, ...], engine: str
) -> None:
    """While the job is open the line waits for it, and once it was collected the journal has the id."""
    made = harness()
    file = made.folder / "in.jsonl"
    file.write_text('"two"\n{"custom_id":"é","prompt":"one"}\n')
    assert made.run("-m", "a", *first, "--no-wait")[0] == 124
    edited = '"two"\n{"custom_id":"é","prompt":"edited"}\n'
    file.write_text(edited)
    assert made.run("-m", "a", *later, "--no-wait")[0] == 124
    until(lambda: has_ended(made))
    file.write_text('"two"\n')
    assert made.run("-m", "a", engine=engine) == (0, "")
    file.write_text(edited)
    assert made.run("-m", "a", *later, engine=engine) == (0, "")
    assert (made.answers(), len(paid(made.provider))) == (["two", "one"], 2)
    record = json.loads(made.out.read_text().splitlines()[1])
    assert (record["custom_id"], record["error"]) == ("é", None)


@cases(
    ("prompt", "options", "counts"),
    {
        "lines in an open job": ("one", (), (2, {"new": 1})),
        "one was edited": ("edited", (), (1, {"new": 2})),
        "one was edited, and has its id": ("edited", ("--match", "id"), (2, {"new": 1})),
    },
)
def test_an_estimate_leaves_out_what_lies_in_open_jobs(
    harness: Callable[..., JobHarness],
    capfd: pytest.CaptureFixture[str],
    prompt: str,
    options: tuple[str, ...],
    counts: tuple[int, dict[str, int]],
) -> None:
    made = harness()
    file = made.folder / "in.jsonl"
    file.write_text('{"custom_id":"x","prompt":"one"}\n"two"\n')
    assert made.run("-m", "a", "--no-wait")[0] == 124
    file.write_text(f'{{"custom_id":"x","prompt":"{prompt}"}}\n"two"\n"three"\n')
    capfd.readouterr()
    made.run("-m", "a", "--dry-run", *options)
    found = json.loads(capfd.readouterr().out)
    assert (found["lines"], found["reused"], found["in_jobs"], found["sent"]) == (3, 0, *counts)


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_run_that_sends_nothing_collects_no_job_and_says_so(
    harness: Callable[..., JobHarness], engine: str
) -> None:
    made = harness()
    made.write([0, 2])
    assert made.run("--no-wait")[0] == 124
    until(lambda: has_ended(made))
    calls = len(made.provider.calls)
    status, words = made.run("--no-send", engine=engine)
    assert (status, len(made.provider.calls)) == (1, calls)
    assert "and --no-send does not ask for its answer: " in words
    assert words.endswith("run it again without --no-send")
    assert made.run(engine=engine) == (0, "")
    assert made.answers() == ["say 0", "say 2"]


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_line_with_its_id_in_an_open_job_is_in_flight(
    harness: Callable[..., JobHarness], engine: str
) -> None:
    made = harness()
    file = made.folder / "in.jsonl"
    file.write_text('{"custom_id":"x","prompt":"one"}\n')
    assert made.run("-m", "a", "--no-wait")[0] == 124
    file.write_text('{"custom_id":"x","prompt":"edited"}\n')
    assert made.run("-m", "a", "--match", "id", engine=engine)[0] == (0 if engine == "batch-api" else 1)
    assert len(paid(made.provider)) == 1


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_answers_that_are_bought_need_no_budget(harness: Callable[..., JobHarness], engine: str) -> None:
    made = harness()
    (made.folder / "prices").write_text(PRICES)
    made.run("--no-wait")
    until(lambda: has_ended(made))
    money = ("--prices", str(made.folder / "prices"), "--max-cost", "0.01")
    assert made.run(*money, engine=engine) == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_budget_counts_the_jobs_of_the_journal_before_anything_is_sent(
    harness: Callable[..., JobHarness], engine: str, has_ended: bool
) -> None:
    """Also those whose lines come later in the input. What they have cost counts, once they have ended."""
    made = harness()
    limit = ("--max-tokens", "10")
    made.write([0, 2, 3])
    assert made.run("--no-wait", *limit)[0] == 124
    while has_ended and any(job["status"] != "completed" for job in made.provider.jobs()):
        pass
    made.write([5, 0, 2, 3])
    waits = ("--no-wait",) if engine == "batch-api" else ()
    status, words = made.run(*waits, *limit, "--max-total-tokens", "30", engine=engine)
    assert (status, len(paid(made.provider))) == (7, 3)
    if has_ended:
        assert "12 are spent in this run and those before it, and the next line may take " in words
    else:
        assert re.search(r": 0 are spent, \d\d reserved, and the next line may take ", words)
        assert made.provider.jobs()[0]["id"] in words or "run the same command later" in words


def test_a_budget_counts_what_the_jobs_cost_that_ended_in_the_wait(
    harness: Callable[..., JobHarness],
) -> None:
    """As long as they are open, what they may cost is reserved, which left a line out."""
    made = harness()
    limit = ("--max-tokens", "10")
    made.write([0, 2, 3])
    assert made.run("--no-wait", *limit)[0] == 124
    made.write([5, 0, 2, 3])
    status, words = made.run(*limit, "--max-total-tokens", "40")
    told = ": 12 are spent in this run and those before it, and the next line may take "
    assert (status, told in words) == (7, True)


@pytest.mark.parametrize("fault", ["status=400:on=line:match=say 2", "batch-lose=1"])
@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_line_that_its_job_did_not_answer_costs_nothing(
    harness: Callable[..., JobHarness], engine: str, fault: str
) -> None:
    made = harness(fault)
    made.write([0, 2, 3])
    assert made.run("--no-wait")[0] == 124
    until(lambda: has_ended(made))
    made.write([5, 0, 2, 3])
    status, words = made.run("--max-total-tokens", "9", engine=engine)
    assert (status, " 8 are spent in this run and those before it" in words) == (7, True)


def test_a_budget_counts_the_jobs_of_an_earlier_release(harness: Callable[..., JobHarness]) -> None:
    """Their expected usage is not in the journal: the usual guess is 256 tokens a line."""
    made = harness()
    made.write([0, 2, 3])
    assert made.run("--no-wait")[0] == 124
    old = re.sub(rb'"model":"a",|"expected_usage":\{[^}]*\},?', b"", made.journal.read_bytes())
    made.journal.write_bytes(old.replace(b',"expected', b"").replace(b",}", b"}"))
    made.write([5, 0, 2, 3])
    status, words = made.run("--max-total-tokens", "700", engine="local")
    assert (status, ": 0 are spent, 769 reserved" in words) == (7, True)


def spent(made: JobHarness, *options: str, engine: str = "batch-api") -> dict[str, Any]:
    """The tokens and the cost of a run, and the number of lines whose answers it had already."""
    (made.folder / "prices").write_text(PRICES)
    places = ("--prices", str(made.folder / "prices"), "--report", str(made.folder / "report"))
    assert made.run(*places, *options, engine=engine) == (0, "")
    report = json.loads((made.folder / "report").read_text())
    return {"tokens": report["tokens"]["total"], "cost": report["cost"], "reused": report["reused"]}


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_identical_lines_count_their_answer_once(harness: Callable[..., JobHarness], engine: str) -> None:
    """Whether the run waits for the job, or collects it later. local collects what the other has ordered."""
    made = harness()
    made.write([0, 2])
    once = spent(made)
    assert (once["tokens"] > 0, once["cost"] > 0, once["reused"]) == (True, True, 0)
    made = harness()
    made.write([0, 0, 2, 0, 0, 2])
    made.run("--dedupe", "--no-wait")
    until(lambda: has_ended(made))
    assert spent(made, "--dedupe", "--keep-journal", engine=engine) == {**once, "reused": 4}
    assert made.answers() == ["say 0", "say 0", "say 2", "say 0", "say 0", "say 2"]
    assert spent(made, "--dedupe", engine=engine) == {"tokens": 0, "cost": 0, "reused": 6}


def test_identical_lines_take_the_answer_that_was_sent_for_again(harness: Callable[..., JobHarness]) -> None:
    """Not the one that was cut off, which is recorded under the same request."""
    made = harness("length:on=line:match=say 4")
    made.write([4, 4, 4])
    assert made.run("--dedupe")[0] == 3
    made.provider.planner._rules._rules.clear()
    assert made.run("--dedupe", "--resend", "truncated", "--no-wait")[0] == 124
    until(lambda: has_ended(made))
    assert made.run("--dedupe") == (0, "")
    assert made.answers() == ["say 4"] * 3


@pytest.mark.parametrize(("numbers", "options"), [([0, 2], ()), ([0, 0, 2, 0], ("--dedupe",))])
def test_answers_that_a_killed_run_recorded_are_spent_once(
    harness: Callable[..., JobHarness],
    monkeypatch: pytest.MonkeyPatch,
    numbers: list[int],
    options: tuple[str, ...],
) -> None:
    """Its job is not noted as collected, so the next run collects it again."""
    made = harness()
    made.write([0, 2])
    once = spent(made)["tokens"]
    made = harness()
    made.write(numbers)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(JobLifecycle, "finish", killed)
        with pytest.raises(Killed):
            made.run(*options)
    assert made.journal.read_text().count('"response"') == len(numbers)
    made.write([*numbers, 5])
    for _ in range(2):  # the second one finds both copies
        made.provider.clock_s += 9
        status, words = made.run(*options, "--max-total-tokens", "1")
        assert (status, words.split(": ")[2].partition(",")[0]) == (
            7,
            f"{once} are spent in this run and those before it",
        )
    assert made.run(*options) == (0, "")
    assert len(paid(made.provider)) == 3


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_job_that_the_provider_has_forgotten(harness: Callable[..., JobHarness], engine: str) -> None:
    """The key may be another one, so that not even a run that sends its lines sends these at once."""
    made = harness()
    made.run("--no-wait")
    made.provider.planner = Provider().planner  # it was started again
    made.provider.clock_s += 3600  # the job is not just created
    status, _ = made.run(engine=engine)
    assert status == 1
    assert {message.partition(": ")[2] for _, message in made.failures().values()} == {
        "the provider does not know it, or not by this key"
    }
    assert made.run() == (0, "")
    assert made.answers() == ALL


@pytest.mark.parametrize("engine", ["batch-api", "local"])
def test_a_run_with_the_key_of_another_account_loses_no_job(
    harness: Callable[..., JobHarness], engine: str
) -> None:
    """The other account has no such jobs. The next run, with the right key, finds them."""
    made = harness()
    made.run("--no-wait")
    right = made.provider.planner
    made.provider.planner = Provider().planner
    assert made.run(engine=engine)[0] == 1
    made.provider.planner = right
    until(lambda: has_ended(made))
    assert made.run(engine=engine) == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


@cases(
    ("first", "options"),
    {
        "a run that waits": ("batch-api", ()),
        "a run that does not": ("batch-api", ("--no-wait",)),
        "a run that sends its lines": ("local", ()),
    },
)
def test_a_job_whose_results_are_in_doubt_holds_up_no_other(
    harness: Callable[..., JobHarness], first: str, options: tuple[str, ...]
) -> None:
    made = harness(kind=Forgetful)
    assert isinstance(made.provider, Forgetful)
    made.run("--no-wait")
    until(lambda: has_ended(made))
    forget(made.provider, "file", made.provider.jobs()[-1]["id"])
    status, words = made.run(*options, engine=first)
    if first == "batch-api":
        assert (status, words.endswith("No such object: run the same command later")) == (76, True)
    else:
        assert (status, "another --journal gives it up" in words) == (1, True)
    made.provider.forgotten.clear()
    made.provider.calls.clear()
    assert (made.run(), made.answers()) == ((0, ""), ALL)
    assert sum(call.endswith("/content") for call in made.provider.calls) == 1
    assert len(paid(made.provider)) == LINES


@pytest.mark.parametrize(
    ("days", "times", "status", "bought"),
    [(0, 4, 76, LINES), (2, 1, 1, LINES + 3)],
)
@pytest.mark.parametrize("refusal", [404, 410])
def test_results_that_the_provider_has_not(
    harness: Callable[..., JobHarness], refusal: int, days: int, times: int, status: int, bought: int
) -> None:
    """Those of today may be not visible yet, so the run asks twice. The others are gone."""
    made = harness(f"status={refusal}:on=content:times={times}:of=all")
    made.run("--no-wait")
    until(lambda: has_ended(made))
    made.provider.clock_s += days * 86400 + 1
    assert made.run()[0] == status
    failed = {message.partition(": ")[2][:36] for _, message in made.failures().values()}
    assert failed == (set() if days == 0 else {"the provider has not kept its result"})
    assert len(made.provider.warnings) == (0 if days == 0 else 1), made.provider.warnings
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (bought, ALL)


@pytest.mark.parametrize(
    ("fault", "numbers", "words"),
    [
        ("truncate:on=content:of=all", [0, 2, 3], "1 line of its result files cannot be read"),
        ("truncate:on=content:of=all", [0], "1 line of its result files cannot be read"),
        ("garbage:on=content:of=all", [0], "1 line of its result files cannot be read"),
        ("garbage=0:on=content:of=all", [0, 2, 3], "1 line of its result files cannot be read"),
    ],
)
@pytest.mark.parametrize("days", [0, 2])
def test_results_that_stay_damaged_wait_for_another_run(
    harness: Callable[..., JobHarness], fault: str, numbers: list[int], words: str, days: int
) -> None:
    """Those of a job that ended long ago are what the provider has, and hold up nothing."""
    made = harness(fault, retries=1)
    made.write(numbers)
    made.run("--no-wait")
    until(lambda: has_ended(made))
    made.provider.clock_s += days * 86400 + 1
    status, message = made.run()
    assert status == (76 if days == 0 else 1)
    assert (words in message) == (days == 0)
    missing = len(made.failures())
    assert (missing > 0) == (days > 0)
    strange = f"{words.partition(' its ')[0]} the result files left out: they answer no request of this run"
    assert made.provider.warnings[1:] == ([] if days == 0 else [strange])
    assert made.provider.slept
    made.provider.planner._rules._rules.clear()
    assert made.run() == (0, "")
    assert made.answers() == [f"say {n}" for n in numbers]
    assert len(paid(made.provider)) == len(numbers) + missing


@cases(
    ("days", "damaged_text", "is_final"),
    {
        "on its way": (0, b'"status_code', False),
        "on its way, long ago": (2, b'"status_code', True),
        "at the provider": (0, b' status_code"', True),
    },
)
@pytest.mark.parametrize("numbers", [[0, 2, 3], []])
def test_a_result_that_seems_whole_and_is_not(
    harness: Callable[..., JobHarness],
    monkeypatch: pytest.MonkeyPatch,
    numbers: list[int],
    days: int,
    damaged_text: bytes,
    is_final: bool,
) -> None:
    """It is seen when it is read: with a line that asks for it, and at the end of a run without one.

    A file of the size that the provider names is as the provider has it.
    """
    made = harness()
    made.write([0, 2, 3])
    made.run("--no-wait")
    until(lambda: has_ended(made))
    made.provider.clock_s += days * 86400 + 1
    made.write(numbers)
    whole = FileDownload.run

    def damaged(download: FileDownload) -> Spool:
        spool = whole(download)
        text = spool.read(0, spool.size)
        spool = Spool(Room(1 << 20))
        spool.write(text.replace(b'"status_code"', damaged_text, 1))
        return spool

    with monkeypatch.context() as patch:
        patch.setattr(FileDownload, "run", damaged)
        status, message = made.run()
    assert status == (bool(numbers) if is_final else 76)
    assert ("a line of its result files cannot be read: run the same command later" in message) != is_final
    made.write([0, 2, 3])
    assert made.run() == (0, "")
    assert made.answers() == ["say 0", "say 2", "say 3"]
    assert len(paid(made.provider)) == (4 if is_final else 3)


@pytest.mark.parametrize("size", [None, 0, "404"])
def test_results_are_downloaded_again_also_where_no_size_is_known(
    harness: Callable[..., JobHarness], monkeypatch: pytest.MonkeyPatch, size: object
) -> None:
    def file_size(*_: object) -> object:
        if size == "404":
            raise BadInput("404", http_status=404)
        return size

    monkeypatch.setattr(JobApi, "file_size", file_size)
    made = harness("truncate:on=content:times=1:of=all")
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (LINES, ALL)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status=404:on=create:of=all", "it may have no Batch API, and --engine local works without one"),
        ("status=404:on=upload:of=all", "it may have no Batch API, and --engine local works without one"),
        ("status=405:on=create:of=all", "it may have no Batch API, and --engine local works without one"),
    ],
)
def test_a_server_without_a_batch_api(harness: Callable[..., JobHarness], fault: str, words: str) -> None:
    made = harness(fault)
    status, message = made.run()
    assert (status, words in message) == (78, True), message
    assert made.provider.jobs() == []


def test_a_job_that_is_not_visible_yet_is_waited_for(harness: Callable[..., JobHarness]) -> None:
    made = harness("status=404:on=poll:times=2")
    made.write([0, 2])
    assert made.run() == (0, "")
    assert (len(paid(made.provider)), made.answers()) == (2, ["say 0", "say 2"])


def test_a_job_that_is_never_visible_is_lost(harness: Callable[..., JobHarness]) -> None:
    made = harness("status=404:on=poll")
    made.write([0, 2])
    assert made.run("--settle", "60")[0] == 1
    assert made.provider.clock_s >= 60
    assert {message.partition(": ")[2] for _, message in made.failures().values()} == {
        "the provider does not know it, or not by this key"
    }


def test_what_is_sent_again_by_choice_and_collected_later(harness: Callable[..., JobHarness]) -> None:
    """The new answer counts at once, and not the one that was cut off before it."""
    made = harness("length:on=line:match=say 4")
    status, _ = made.run()
    assert (status, made.failures()[5][0]) == (1, "truncated")
    made.provider.planner._rules._rules.clear()
    assert made.run("--resend", "truncated", "--no-wait")[0] == 124
    until(lambda: has_ended(made))
    assert made.run("--report", str(made.folder / "report")) == (0, "")
    assert made.answers() == ALL
    assert len(paid(made.provider)) == LINES + 1
    assert json.loads((made.folder / "report").read_text())["sent"] == {"resent": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stream"], "--stream: a job of the Batch API does not stream"),
        (["--base-url", "http://other.test/v1"], "jobs are at one server"),
        (["--record", "r"], "--record: jobs of the Batch API are not recorded"),
        (["--record", "r", "--replay", "r"], "--replay: jobs of the Batch API are not recorded"),
        (["--no-wait", "--max-wait", "3"], "--no-wait and --max-wait contradict each other"),
    ],
)
def test_what_jobs_cannot_do(harness: Callable[..., JobHarness], options: list[str], words: str) -> None:
    status, message = harness().run(*options)
    assert status == 2
    assert words in message


@cases(
    ("numbers", "options", "status"),
    {
        "a budget": ([5, 0, 2, 3], ("--max-total-tokens", "20"), 7),
        "a rule": ([-1, 0, 2, 3], ("--halt", "soon,fail=1"), 1),
    },
)
def test_a_run_that_stops_collects_its_jobs_once(
    harness: Callable[..., JobHarness], numbers: list[int], options: tuple[str, ...], status: int
) -> None:
    """Also the answers to lines beyond the one at which it stopped. One report counts their tokens."""
    made = harness()
    report, file = made.folder / "report", made.folder / "in.jsonl"
    made.write([0, 2, 3])
    made.run("--no-wait", "--max-tokens", "9")
    until(lambda: has_ended(made))
    made.write(numbers)
    file.write_text(file.read_text().replace('"say -1"', "5"))  # a wrong line
    tokens = []
    for _ in range(2):
        found, _ = made.run(*options, "--max-tokens", "9", "--report", str(report), engine="local")
        assert found == status
        tokens.append(json.loads(report.read_text())["tokens"]["total"])
    assert tokens == [12, 0]
    assert sum(call.endswith("/content") for call in made.provider.calls) == 1
    made.write([0, 2, 3])
    assert made.run("--max-tokens", "9") == (0, "")
    assert (made.answers(), len(paid(made.provider))) == (["say 0", "say 2", "say 3"], 3)


def test_an_edited_line_is_not_sent_in_the_name_of_the_request_in_its_job(
    harness: Callable[..., JobHarness],
) -> None:
    """The next run sends it as a request of its own, by which its answer is found."""
    made = harness("batch-expire=0:times=1:of=all")
    file = made.folder / "in.jsonl"
    file.write_text('{"custom_id":"x","prompt":"one"}\n')
    assert made.run("-m", "a", "--no-wait")[0] == 124
    until(lambda: all(job["status"] == "expired" for job in made.provider.jobs()))
    file.write_text('{"custom_id":"x","prompt":"edited"}\n')
    assert made.run("-m", "a", "--match", "id", engine="local")[0] == 1
    ((outcome, why),) = made.failures().values()
    assert (outcome, "expired" in why) == ("unsent", True)
    for _ in range(2):
        assert made.run("-m", "a", "--match", "id") == (0, "")
    assert (made.answers(), len(made.provider.jobs())) == (["edited"], 2)
