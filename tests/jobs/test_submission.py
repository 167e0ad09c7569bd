"""submission.py and jobs_file.py: each part is one job, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    MissingInput,
    NoAccess,
    SomeFailed,
    TryLater,
    Unreachable,
)
from chatpipe.jobs.input_parts import PartReader
from chatpipe.jobs.job_api import JobPage, is_unseen
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.jobs_file import JobsFile
from chatpipe.jobs.submission import Submission, SubmitTerms
from chatpipe.options.serve import BatchLife
from chatpipe.serve.served_request import ServedRequest
from chatpipe.system.console import Console
from jobs.mistral_provider import MistralProvider
from jobs.provider import BEGIN, Killed, Provider, changed, counted
from jobs.together_provider import TogetherProvider
from support.parametrize import cases

LINES = 7
PARTS = 3  # of two models, one of which has too many lines for one part


def write_input(folder: Path, lines: int = LINES, says: str = "say") -> Path:
    path = folder / "in.jsonl"
    models = ["a", "b", "a", "a", "b", "a", "a"]
    path.write_text(
        "".join(
            json.dumps(
                {
                    "custom_id": f"id-{n}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {
                        "model": models[n % 7],
                        "messages": [{"role": "user", "content": f"{says} {n}"}],
                    },
                }
            )
            + "\n"
            for n in range(lines)
        )
    )
    return path


def submit(
    provider: Provider, path: Path, job_lines: int | None = None, **terms: Any
) -> list[dict[str, Any]]:
    """The records that are written."""
    api = provider.api()
    api.dialect = api.dialect._replace(most_lines=3).with_job_lines(job_lines)
    found: list[dict[str, Any]] = []
    with path.open("rb") as file:
        parts = PartReader(str(path), api.dialect, api.connection.command).read(file)
        with JobsFile(f"{path}.jobs", provider.notes.append, create=True) as state:
            state._append = counted(provider, state._append)  # type: ignore[method-assign]
            Submission(api, state, SubmitTerms("s", "move it away", **terms), found.append).run(parts, file)
    return found


def paid(provider: Provider) -> list[str]:
    """The custom_ids of all lines in jobs that are not cancelled, each as often as it stands there."""
    files = [job["input_file_id"] for job in provider.jobs() if not job["status"].startswith("cancel")]
    contents = [
        provider.answer(ServedRequest("GET", f"/v1/files/{id_}/content", {}, b"")).content for id_ in files
    ]
    return sorted(json.loads(line)["custom_id"] for data in contents for line in data.splitlines())


ALL = sorted(f"id-{n}" for n in range(LINES))


def test_parts_are_submitted_once(tmp_path: Path) -> None:
    provider, path = Provider(), write_input(tmp_path)
    first = submit(provider, path)
    assert [(each["part"], each["parts"], each["lines"], each["model"], each["new"]) for each in first] == [
        (1, PARTS, 3, "a", True),
        (2, PARTS, 2, "b", True),
        (3, PARTS, 2, "a", True),
    ]
    assert [(each["first_line"], each["last_line"]) for each in first] == [(1, 4), (2, 5), (6, 7)]
    again = submit(provider, path)
    assert [(each["id"], each["new"]) for each in again] == [(each["id"], False) for each in first]
    assert paid(provider) == ALL
    assert {job["metadata"]["chatpipe_job"] for job in provider.jobs()} == {
        json.loads(line)["token"] for line in path.with_name("in.jsonl.jobs").read_text().splitlines()[1:]
    }


def points_of(provider: Provider, tmp_path: Path) -> int:
    """The number of points at which a submission can be killed."""
    submit(provider, write_input(tmp_path))
    return provider.points


@pytest.mark.parametrize("kind", [Provider, MistralProvider, TogetherProvider])
def test_a_kill_at_any_point_neither_loses_nor_doubles_a_line(
    kind: type[Provider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each request and each event of the state. Another kill follows in the second run."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a killed process needs none
    points = points_of(kind(), tmp_path)
    # The list; two requests and four events a part; before and after each
    assert points == 2 + PARTS * (2 * 2 + 4 * 2)
    for kill_at in range(1, points + 1):
        for second in (None, 1, 2, 4):
            folder = tmp_path / f"{kill_at}-{second}"
            folder.mkdir()
            provider, path = kind(), write_input(folder)
            provider.kill_at = kill_at
            with pytest.raises(Killed):
                submit(provider, path)
            if second is not None:
                provider.kill_at = provider.points + second
                with pytest.raises(Killed):
                    submit(provider, path)
            provider.kill_at = None
            submit(provider, path)
            assert paid(provider) == ALL, (kill_at, second)
            assert [each["new"] for each in submit(provider, path)] == [False] * PARTS


@pytest.mark.parametrize("torn", [b'{"event":"pla', b"{", b'{"event":"planned","token":"t"}'])
def test_a_torn_line_of_the_state_is_dropped(tmp_path: Path, torn: bytes) -> None:
    provider, path = Provider(), write_input(tmp_path)
    submit(provider, path)
    state = tmp_path / "in.jsonl.jobs"
    whole = state.read_bytes()
    state.write_bytes(whole + torn)
    submit(provider, path)
    assert state.read_bytes() == whole
    state.write_bytes(whole[:9])  # a torn header is an empty state
    assert [each["new"] for each in submit(provider, path)] == [True] * PARTS


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (rb'"at":[0-9.]+', b'"at":"now"', "not an event of a job"),
        (rb'"job_id":"\w+"', b'"job_id":5', "not an event of a job"),
        (rb'"file_id":"[\w-]+"', b'"file_id":null', "not an event of a job"),
        (rb'{"event":"created".*}', b"[]", "not an event of a job"),
        (rb'"event":"created"', b'"event"', "not JSON: "),
    ],
)
def test_a_line_of_the_state_that_was_changed_is_named(
    tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    provider, path, state = Provider(), write_input(tmp_path, 1), tmp_path / "in.jsonl.jobs"
    submit(provider, path)
    changed_text, count = re.subn(old, new, state.read_bytes(), count=1)
    assert count == 1
    state.write_bytes(changed_text)
    with pytest.raises(BadInput, match=words) as caught:
        submit(provider, path)
    assert re.fullmatch(rf"{re.escape(str(state))}:[2-6]", caught.value.place)
    assert caught.value.fix == "restore the line, or move the file away"
    assert len(provider.jobs()) == 1


@pytest.mark.parametrize(
    ("fault", "jobs", "notes"),
    [
        ("empty:on=create:times=1", PARTS, "checking whether the job was created anyway"),
        ("status=500:on=create:times=1", PARTS, "checking whether the job was created anyway"),
        ("html:on=create:times=1", PARTS, "checking whether the job was created anyway"),
        ("garbage:on=create:times=1", PARTS, "checking whether the job was created anyway"),
        ("status=429:on=create:times=2", PARTS, "trying again in"),
        ("status=503:on=create:times=1", PARTS, "checking whether"),  # another server may have taken it
        ("batch-unseen:times=2", PARTS, None),
        ("batch-unseen:times=6", PARTS, None),  # then the file is uploaded again
        ("batch-limit:times=1", PARTS, "trying again in"),
        ("empty:on=upload:times=1", PARTS, "trying again in"),
        ("empty:on=create:times=1 status=500:on=list:times=1", PARTS, "trying again in"),
    ],
)
def test_creates_that_are_not_confirmed(tmp_path: Path, fault: str, jobs: int, notes: str | None) -> None:
    provider, path = Provider(*fault.split(" ")), write_input(tmp_path)
    submit(provider, path)
    assert len(provider.jobs()) == jobs
    assert paid(provider) == ALL
    assert notes is None or any(notes in note for note in provider.notes)


def test_a_create_that_was_not_made_is_looked_for_as_long_as_it_may_turn_up(tmp_path: Path) -> None:
    provider, path = Provider("status=503:on=create:times=1"), write_input(tmp_path)
    submit(provider, path, settle_s=120.0)
    assert sum(provider.slept) == pytest.approx(120.0 * PARTS)
    looks = sum(call.startswith("GET /batches?") for call in provider.calls)
    assert looks > 10 * PARTS


def test_of_two_jobs_of_one_part_the_younger_is_cancelled(tmp_path: Path) -> None:
    """The first create turns up in the list only after the second was made."""
    provider, path = Provider("empty:on=create:times=1"), write_input(tmp_path, lines=1)
    jobs = provider.planner._batches._jobs
    shown, hidden = jobs._jobs, {"count": 0}
    real = type(jobs).list

    def late(route: Any, now: float) -> Any:
        hidden["count"] += 1
        if hidden["count"] > 4:
            return real(jobs, route, now)
        jobs._jobs = {}
        try:
            return real(jobs, route, now)
        finally:
            jobs._jobs = shown

    jobs.list = late  # type: ignore[method-assign]
    (record,) = submit(provider, path, settle_s=8.0)
    first, second = list(shown.values())
    assert record["id"] == first.order.id
    assert second.status == "cancelling"
    assert any("second job of the same lines: cancelled" in note for note in provider.notes)


def test_a_job_that_another_state_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it has other lines, too, or has ended, but not once somebody has given it up."""
    said: list[str] = []
    monkeypatch.setattr(Console, "warning", lambda _, text: said.append(text))
    provider, path = Provider(batch_life=BatchLife(polls=9)), write_input(tmp_path, lines=1)
    (first,) = submit(provider, path)
    assert submit(provider, path)[0]["id"] == first["id"]
    assert said == []
    Path(f"{path}.jobs").unlink()
    write_input(tmp_path, lines=2)
    submit(provider, path)
    (text,) = said
    assert text == (
        f"{first['id']} has most of these lines, too, and '{path}.jobs' does not know it: "
        f"chatpipe jobs cancel {first['id']} gives it up"
    )
    for job in provider.jobs():
        provider.api().cancel(job["id"])
    Path(f"{path}.jobs").unlink()
    submit(provider, path)
    assert said == [text]
    while any(job["status"] not in ("completed", "cancelled") for job in provider.jobs()):
        pass
    Path(f"{path}.jobs").unlink()
    submit(provider, path)
    assert said[1].endswith(" gets its answers")


class Azure(Provider):
    """Refuses to create a job of a file before it is processed."""

    def __init__(self, processed_s: float) -> None:
        super().__init__()
        self._processed_s = processed_s

    def answer(self, request: ServedRequest) -> httpx.Response:
        if self.clock_s < self._processed_s:
            if (request.method, request.target) == ("POST", "/v1/batches"):
                return changed({"error": {"message": "The file is not ready."}}, status=400)
            if re.fullmatch("/v1/files/[^/]+", request.target):
                return changed({"object": "file", "status": "pending"})
        return super().answer(request)


def test_a_file_that_the_provider_processes_is_waited_for(tmp_path: Path) -> None:
    provider, path = Azure(200), write_input(tmp_path)
    submit(provider, path)
    assert (paid(provider), len(provider.jobs())) == (ALL, PARTS)
    assert set(provider.slept) == {5.0}
    assert sum("the job is created after that" in note for note in provider.notes) == 1
    uploads = provider.calls.count("POST /files")
    assert uploads == PARTS


def test_a_file_that_is_never_processed_is_for_a_later_run(tmp_path: Path) -> None:
    provider, path = Azure(2000), write_input(tmp_path)
    with pytest.raises(TryLater, match="has not processed file-"):
        submit(provider, path)
    provider.clock_s = 2000
    submit(provider, path)
    assert (paid(provider), provider.calls.count("POST /files")) == (ALL, PARTS)


class NoFile(Provider):
    """Answers an upload with this value."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self._value = value

    def answer(self, request: ServedRequest) -> httpx.Response:
        response = super().answer(request)
        return changed(self._value) if request.target == "/v1/files" else response


@pytest.mark.parametrize("value", [{"id": ""}, {"id": None}, {"object": "file"}, ["file-1"]])
def test_a_job_is_created_of_a_file_that_has_an_id(tmp_path: Path, value: object) -> None:
    provider = NoFile(value)
    with pytest.raises(BrokenAnswer, match="the answer to the upload names no file"):
        submit(provider, write_input(tmp_path, 1))
    assert provider.jobs() == []


class OddList(Provider):
    """Lists two jobs on a page. odd changes the list of all, from which the page is cut."""

    knows_cursors = True

    def __init__(self, fault: str, odd: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(fault)
        self._odd = odd

    def answer(self, request: ServedRequest) -> httpx.Response:
        path, _, query = request.target.partition("?")
        if (request.method, path) != ("GET", "/v1/batches"):
            return super().answer(request)
        whole = super().answer(replace(request, target=f"{path}?limit=100"))
        jobs = self._odd(json.loads(whole.content)["data"])
        ids = [job["id"] for job in jobs]
        after = dict(httpx.QueryParams(query)).get("after") if self.knows_cursors else None
        start = ids.index(after) + 1 if after else 0
        page = {"data": jobs[start : start + 2], "has_more": len(jobs) > start + 2}
        return changed(page)


def _with(**changes: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda jobs: [{**job, **changes} for job in jobs]


OLD = [
    {"id": f"old{n}", "status": "completed", "input_file_id": "f", "created_at": BEGIN - 10**6}
    for n in range(5)
]


@cases(
    "odd",
    {
        "the newest first": lambda jobs: [*jobs, *OLD],
        "the oldest first": lambda jobs: [*OLD, *jobs[::-1]],
        "without times": lambda jobs: [*_with(created_at=None)(OLD), *_with(created_at=0)(jobs)],
        "times in milliseconds": lambda jobs: [*_with(created_at=BEGIN * 1000)(jobs), *OLD],
        "without metadata": lambda jobs: [*_with(metadata=None)(jobs), *OLD],
        "beside a job of a blob": lambda jobs: [{"id": "x", "status": "y", "input_blob": "b"}, *jobs],
        "beside an old job of nothing": lambda jobs: [*jobs, {"id": "x", "status": "y", "created_at": 9}],
    },
)
def test_a_create_is_found_in_any_list(tmp_path: Path, odd: Callable[[list[Any]], list[Any]]) -> None:
    provider, path = OddList("empty:on=create:times=1", odd), write_input(tmp_path, lines=1)
    submit(provider, path, settle_s=8.0)
    assert paid(provider) == ["id-0"]


def test_a_list_that_begins_again_at_each_page_is_read_once(tmp_path: Path) -> None:
    path = write_input(tmp_path, lines=1)
    provider = OddList("status=503:on=create:times=1", lambda jobs: [*_with(created_at=BEGIN)(OLD), *jobs])
    provider.knows_cursors = False
    submit(provider, path, settle_s=8.0)
    assert paid(provider) == ["id-0"]


@pytest.mark.parametrize("order", [1, -1])
def test_an_old_list_is_not_read_to_its_end(tmp_path: Path, order: int) -> None:
    """Only a list with the newest first says where the older ones begin."""
    path = write_input(tmp_path, lines=1)
    many = [{**OLD[0], "id": f"old{n}", "created_at": BEGIN - 10**6 - n} for n in range(40)]
    provider = OddList("empty:on=create:times=1", lambda jobs: [*jobs, *many][::order])
    submit(provider, path)
    looks = sum(call.startswith("GET /batches?") for call in provider.calls)
    before = 1 if order == 1 else 3  # the look for other jobs of these lines
    assert looks == before + (1 if order == 1 else 21)


def test_a_list_without_an_end_makes_no_second_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, path = Provider("empty:on=create:times=1"), write_input(tmp_path, lines=1)
    api, numbers = provider.api(), count()

    def page(**_: str) -> JobPage:
        return JobPage([ProviderJob(f"j{next(numbers)}", "failed", {}, input_file_id="f")], "next")

    monkeypatch.setattr(api, "page", page)
    with path.open("rb") as file:
        parts = PartReader(str(path), api.dialect, api.connection.command).read(file)
        with JobsFile(f"{path}.jobs", provider.notes.append, create=True) as state:
            submission = Submission(api, state, SubmitTerms("s", "move it away"), lambda _: None)
            with pytest.raises(BrokenAnswer, match="the list of jobs has no end: 1000 pages came"):
                submission.run(parts, file)
    assert len(provider.jobs()) == 1


def _nameless(provider: Provider) -> JobPage:
    """The list of a provider that says nothing about the files of its jobs."""
    return JobPage([ProviderJob(job["id"], job["status"], {}) for job in provider.jobs()], None)


def test_jobs_that_name_neither_file_nor_token_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, path = Provider("empty:on=create:times=1"), write_input(tmp_path, lines=1)
    api = provider.api()
    monkeypatch.setattr(api, "page", lambda **_: _nameless(provider))
    with path.open("rb") as file:
        parts = PartReader(str(path), api.dialect, api.connection.command).read(file)
        with (
            JobsFile(f"{path}.jobs", provider.notes.append, create=True) as state,
            pytest.raises(SomeFailed) as caught,
        ):
            Submission(api, state, SubmitTerms("s", "move it away"), lambda _: None).run(parts, file)
    assert caught.value.fix == "look for it in the provider's console, and if it is not there, move it away"
    assert len(provider.jobs()) == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_job_that_no_list_shows_is_not_made_again(tmp_path: Path, status: int) -> None:
    """The provider has a Batch API, so that another engine or URL is no remedy."""
    provider = Provider("empty:on=create:times=1", f"status={status}:on=list:of=all")
    with pytest.raises(SomeFailed, match="the provider shows no list of jobs") as caught:
        submit(provider, write_input(tmp_path, lines=1))
    assert caught.value.fix == "look for it in the provider's console, and if it is not there, move it away"
    provider.planner._rules._rules.clear()
    assert len(provider.jobs()) == 1


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("status=401:on=create", ChatpipeError, "401"),
        ("status=400:on=create", BadInput, "part 1 of 3, lines 1 to 4"),
        ("batch-limit", TryLater, "Enqueued token limit"),
        ("status=500:on=upload", Unreachable, "after 5 tries"),
        ("status=404:on=upload", BadConfiguration, "it may have no Batch API"),
        ("status=413:on=upload", BadInput, ": add --job-lines 1"),
        ("status=429:on=upload", TryLater, ": run the same command later"),
    ],
)
def test_refusals_end_the_submission_and_the_next_one_goes_on(
    tmp_path: Path, fault: str, error: type[ChatpipeError], words: str
) -> None:
    provider, path = Provider(fault), write_input(tmp_path)
    with pytest.raises(error, match=words):
        submit(provider, path)
    assert provider.jobs() == []
    provider.planner._rules._rules.clear()
    submit(provider, path)
    assert paid(provider) == ALL


def test_an_unconfirmed_job_is_not_looked_for_in_another_account(tmp_path: Path) -> None:
    """Its list does not have the job, whether it was created or not."""
    provider, path = (
        Provider("empty:on=create:times=1", "status=401:on=list:of=all"),
        write_input(tmp_path, 1),
    )
    with pytest.raises(NoAccess):
        submit(provider, path)
    right, provider.planner = provider.planner, Provider().planner
    provider.clock_s += 999
    with pytest.raises(SomeFailed, match=r"a job of file-.* may have been created") as caught:
        submit(provider, path)
    assert (caught.value.fix, provider.jobs()) == ("use the key that created it, or move it away", [])
    right._rules._rules.clear()
    provider.planner = right
    assert [each["new"] for each in submit(provider, path)] == [False]
    assert paid(provider) == ["id-0"]


def test_a_part_that_failed_as_a_whole_is_submitted_again_with_its_file(tmp_path: Path) -> None:
    provider, path = Provider("batch-fail=token_limit_exceeded:of=all:times=1"), write_input(tmp_path)
    first = submit(provider, path)
    for _ in range(4):
        provider.jobs()
    again = submit(provider, path)
    assert [each["new"] for each in again] == [True, False, False]
    assert again[0]["input_file_id"] == first[0]["input_file_id"]
    assert again[0]["id"] != first[0]["id"]


def test_a_file_that_was_changed_after_a_submission_is_refused(tmp_path: Path) -> None:
    provider, path = Provider(), write_input(tmp_path)
    submit(provider, path)
    write_input(tmp_path, says="tell")
    for _ in range(2):
        with pytest.raises(BadInput, match="the file or --job-lines was changed after 3 jobs") as caught:
            submit(provider, path)
    assert caught.value.place == str(path)
    assert len(provider.jobs()) == PARTS


@pytest.mark.parametrize("code", ["too_many_tasks", "token_limit_exceeded"])
def test_a_job_that_is_too_large_is_not_submitted_again_as_it_is(code: str, tmp_path: Path) -> None:
    """Then the file may be split in another way: nothing of it was paid."""
    provider, path = Provider(f"batch-fail={code}:of=all:times=1"), write_input(tmp_path, lines=3)
    path.write_text(path.read_text().replace('"model": "b"', '"model": "a"'))
    submit(provider, path)
    while provider.jobs()[0]["status"] != "failed":
        pass
    for _ in range(2):
        with pytest.raises(BadInput, match=f"has failed as a whole: {code}") as caught:
            submit(provider, path)
        assert (caught.value.place, caught.value.fix) == (str(path), "add --job-lines 1")
    found = submit(provider, path, job_lines=1)
    assert [each["lines"] for each in found] == [1, 1, 1]
    assert [each["new"] for each in submit(provider, path, job_lines=1)] == [False] * 3


def test_another_server_gets_jobs_of_its_own(tmp_path: Path) -> None:
    provider, path = Provider(), write_input(tmp_path)
    with JobsFile(f"{path}.jobs", print, create=True) as state:
        state.plan("t", sha256="x", server="other")
    assert [each["new"] for each in submit(provider, path)] == [True] * PARTS


def test_a_file_of_jobs_is_locked_and_no_other_file_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.jobs"
    path.write_text("my notes\n")
    with pytest.raises(BadInput, match="not a file of jobs"):
        JobsFile(str(path), print, create=True)
    assert path.read_text() == "my notes\n"
    with pytest.raises(MissingInput, match="chatpipe jobs submit FILE makes it"):
        JobsFile(str(tmp_path / "b.jobs"), print, create=False)


@pytest.mark.parametrize(
    ("status", "body", "is_it"),
    [
        (400, b"Cannot find file file-1, or organization does not have access to it.", True),
        (404, b'{"detail":"Input file not found"}', True),
        (400, b'{"error":{"param":"input_file_id"}}', True),
        (404, b'{"error":"File Not Found"}', False),  # there is no such route
        (400, b'{"error":{"param":"endpoint"}}', False),
        (403, b"file-1", False),
        (400, None, False),
    ],
)
def test_refusals_of_a_file_that_is_not_visible_yet(status: int, body: bytes | None, is_it: bool) -> None:
    assert is_unseen(BadInput("no", http_status=status, body=body), "file-1") == is_it
