"""job_actions.py: actions on several jobs, in this process and with a clock of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatpipe.errors import BadInput
from chatpipe.jobs.job_actions import JobActions, jobs_in
from chatpipe.options.jobs import JobsOptions
from chatpipe.options.output import ConsoleOptions
from chatpipe.serve.served_request import ServedRequest
from chatpipe.system.console import Console
from jobs.provider import Provider, changed
from jobs.test_submission import submit, write_input
from support.parametrize import cases


def actions(provider: Provider) -> tuple[JobActions, list[dict[str, Any]]]:
    """The actions, and the records that they write."""
    found: list[dict[str, Any]] = []
    console = Console(ConsoleOptions(quiet=True))
    return JobActions(
        provider.api(), JobsOptions(), console, lambda line: found.append(json.loads(line))
    ), found


class LateCancel(Provider):
    """A provider whose jobs all end before a cancel arrives."""

    def answer(self, request: ServedRequest) -> httpx.Response:
        if request.target.endswith("/cancel"):
            while any(job["status"] != "completed" for job in self.jobs()):
                pass
        return super().answer(request)


def test_a_job_that_ends_before_it_is_cancelled_is_shown_as_it_is(tmp_path: Path) -> None:
    provider = LateCancel(retries=0)
    ids = [each["id"] for each in submit(provider, write_input(tmp_path))]
    made, found = actions(provider)
    assert made.cancel(ids) == 0
    assert [(each["id"], each["status"]) for each in found] == [(id_, "completed") for id_ in ids]


class LeakedIds(Provider):
    """A proxy that answers with the ids that the provider behind it has given to jobs."""

    def answer(self, request: ServedRequest) -> httpx.Response:
        response = super().answer(request)
        if not request.target.startswith("/v1/batches/"):
            return response
        return changed({**json.loads(response.content), "id": "raw"}, response.status_code)


def test_a_job_has_the_id_that_it_was_asked_for_by(tmp_path: Path) -> None:
    provider = LeakedIds()
    path = write_input(tmp_path, lines=1)
    ids = [each["id"] for each in submit(provider, path)]
    made, found = actions(provider)
    assert made.wait(ids, jobs_in(str(path), provider.api())) == 0
    assert (made.status(ids), made.cancel(ids)) == (0, 0)
    assert [each["id"] for each in found] == ids * 3


def test_a_job_that_cannot_be_cancelled_leaves_no_other_running(tmp_path: Path) -> None:
    provider = Provider()
    ids = [each["id"] for each in submit(provider, write_input(tmp_path))]
    made, found = actions(provider)
    with pytest.raises(BadInput, match="batch_none"):
        made.cancel([ids[0], "batch_none", "batch_other", *ids[1:]])
    assert [each["id"] for each in found] == ids
    assert {job["status"] for job in provider.jobs()} <= {"cancelling", "cancelled"}


def test_jobs_that_were_just_submitted_are_waited_for(tmp_path: Path) -> None:
    """The provider does not show them yet. Of an id alone nobody knows whether it is right."""
    provider, path = Provider("status=404:on=poll:times=3"), write_input(tmp_path, lines=1)
    submit(provider, path)
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    with pytest.raises(BadInput, match="404"):
        made.wait(list(records), {})
    assert made.wait(list(records), records) == 0
    assert [each["status"] for each in found] == ["completed"]


def test_a_submitted_job_that_stays_unknown_is_an_error(tmp_path: Path) -> None:
    provider, path = Provider("status=404:on=poll"), write_input(tmp_path, lines=1)
    submit(provider, path)
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    with pytest.raises(BadInput, match="404"):
        made.wait(list(records), records)
    assert (found, provider.clock_s >= 120) == ([], True)


def in_three_jobs(tmp_path: Path, provider: Provider) -> tuple[Path, list[str]]:
    """A submitted file, and the ids of its jobs: for lines 1, 3 and 4, for 2 and 5, for 6 and 7."""
    path = write_input(tmp_path)
    ids = [each["id"] for each in submit(provider, path)]
    while any(job["status"] not in ("completed", "failed") for job in provider.jobs()):
        pass
    return path, ids


class Forgetful(Provider):
    """Has lost what these words are: jobs, and paths of files."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def answer(self, request: ServedRequest) -> httpx.Response:
        if request.target.endswith(tuple(self.forgotten)):
            return changed({"error": {"message": "No such object."}}, status=404)
        response = super().answer(request)
        if request.method == "GET" and request.target.startswith("/v1/batches?"):
            page = json.loads(response.content)
            return changed({**page, "data": [job for job in page["data"] if job["id"] not in self.forgotten]})
        return response


def forget(provider: Forgetful, what: str, id_: str) -> str:
    """Let the provider lose a job, or its result file. Returns the id of what is lost."""
    (job,) = (each for each in provider.jobs() if each["id"] == id_)
    lost = id_ if what == "job" else str(job["output_file_id"])
    provider.forgotten.append(lost if what == "job" else f"{lost}/content")
    return lost


@cases(
    ("what", "words"),
    {
        "a job": ("job", "{job} lost: the provider does not know it, or not by this key"),
        "a file": ("file", "{job}: the provider has not kept its results {lost}"),
    },
)
def test_results_of_the_other_jobs_come_beside_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    provider = Forgetful()
    path, ids = in_three_jobs(tmp_path, provider)
    lost = forget(provider, what, ids[1])
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    said: list[str] = []
    monkeypatch.setattr(Console, "warning", lambda _, text: said.append(text))
    assert made.results(list(records), str(path), records) == 1
    assert [(ids[1] in text, lost in text) for text in said] == [(True, True)]
    assert [each["custom_id"] for each in found] == [f"id-{n}" for n in range(7)]
    missing = {n for n, each in enumerate(found, 1) if each["error"] is not None}
    assert missing == {2, 5}
    reason = f"no result: {words.format(job=ids[1], lost=lost)}"
    assert [found[n - 1]["error"] for n in missing] == [{"code": "unsent", "message": reason}] * 2


@pytest.mark.parametrize("what", ["job", "file"])
def test_results_of_which_nothing_is_left_are_an_error(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job is named once."""
    said: list[str] = []
    monkeypatch.setattr(Console, "warning", lambda _, text: said.append(text))
    provider = Forgetful()
    path, ids = in_three_jobs(tmp_path, provider)
    for id_ in ids:
        forget(provider, what, id_)
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    with pytest.raises(BadInput, match="404") as caught:
        made.results(list(records), str(path), records)
    assert found == []
    texts = [str(caught.value), *said]
    assert [[id_ in text for id_ in ids] for text in texts] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]


def test_an_id_that_is_wrong_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    provider = Forgetful()
    _, ids = in_three_jobs(tmp_path, provider)
    made, found = actions(provider)
    with pytest.raises(BadInput, match="batch_none"):
        made.results([*ids, "batch_none"], None, {})
    assert found == []


@pytest.mark.parametrize("action", ["status", "wait"])
def test_a_job_that_is_gone_hides_no_other(tmp_path: Path, action: str) -> None:
    provider = Forgetful()
    path, ids = in_three_jobs(tmp_path, provider)
    forget(provider, "job", ids[0])
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    with pytest.raises(BadInput, match=ids[0]):
        made.status(ids) if action == "status" else made.wait(ids, records)
    assert sorted(each["id"] for each in found) == sorted(ids[1:])


class BadLines(Provider):
    """Refuses the second and the third line of the first job, and one that it does not have."""

    def answer(self, request: ServedRequest) -> httpx.Response:
        response = super().answer(request)
        if b'"invalid_json_line"' not in response.content:
            return response
        job = json.loads(response.content)
        if "errors" in job:
            lines = ((2, "second"), (3, "third"), (3, "again"), (9, "no such line"))
            job["errors"]["data"] = [
                {"code": "invalid_json_line", "message": text, "line": line} for line, text in lines
            ]
        return changed(job)


def test_each_line_of_a_job_that_failed_has_its_own_reason(tmp_path: Path) -> None:
    provider = BadLines("batch-fail=invalid_json_line:of=all:times=1")
    path, ids = in_three_jobs(tmp_path, provider)
    records = jobs_in(str(path), provider.api())
    made, found = actions(provider)
    assert made.results(list(records), str(path), records) == 1
    reasons = {n: each["error"]["message"] for n, each in enumerate(found, 1) if each["error"] is not None}
    failed = f"no result: {ids[0]} failed: line"
    assert reasons == {
        1: f"{failed} 3: invalid_json_line: second",
        3: f"{failed} 3: invalid_json_line: second",
        4: f"{failed} 4: invalid_json_line: third",
    }


def test_a_file_that_would_be_refused_again_is_not_submitted_again(tmp_path: Path) -> None:
    """Until it is corrected. Then the jobs of its other lines stay."""
    provider = BadLines("batch-fail=invalid_json_line:of=all:times=1")
    path, ids = in_three_jobs(tmp_path, provider)
    for _ in range(2):
        with pytest.raises(BadInput, match=f"{ids[0]} has failed as a whole: line 3: invalid_") as caught:
            submit(provider, path)
        assert (caught.value.place, caught.value.fix) == (str(path), "correct the file")
        assert "line 4: invalid_json_line: again; 1 more like these" in str(caught.value)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace("say 2", "tell 2"), *lines[3:]]))
    again = submit(provider, path)
    assert [each["new"] for each in again] == [True, False, False]
    assert [each["id"] for each in again][1:] == ids[1:]


def test_a_file_of_one_job_may_be_submitted_again_as_it_is(tmp_path: Path) -> None:
    """A model may be there now."""
    provider, path = BadLines("batch-fail=invalid_json_line:times=1"), write_input(tmp_path, lines=1)
    submit(provider, path)
    while provider.jobs()[0]["status"] != "failed":
        pass
    with pytest.raises(BadInput) as caught:
        submit(provider, path)
    state = f"{path}.jobs"
    assert caught.value.fix == f"correct the file, or move '{state}' away to submit it again as it is"
    Path(state).rename(f"{state}.old")
    assert submit(provider, path)[0]["new"] is True
