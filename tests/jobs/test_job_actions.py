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
from jobs.provider import Provider
from jobs.test_submission import submit, write_input


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
