"""job_watch.py: the wait for jobs, with a clock of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatpipe.errors import BrokenAnswer, NoAccess, OutcomeFault
from chatpipe.exchange import Hooks
from chatpipe.jobs.job_api import JobApi, JobPage
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.job_watch import JobWatch
from chatpipe.options.jobs import JobWaits
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.serve import BatchLife
from chatpipe.system.console import Console
from jobs.provider import BEGIN, Provider
from jobs.test_submission import submit, write_input


def watched(
    provider: Provider, tmp_path: Any, change: Callable[[JobApi], None] = lambda _: None, **options: Any
) -> list[str]:
    """The statuses at the ends of the jobs of a file."""
    ids = [each["id"] for each in submit(provider, write_input(tmp_path))]
    provider.slept.clear()
    provider.calls.clear()
    api = provider.api()
    change(api)
    watch = JobWatch(api, Console(ConsoleOptions(quiet=True)), JobWaits(**options))
    return [job.status for job in watch.ends([*ids, ids[0]])]


def test_looks_become_rare_while_nothing_changes(tmp_path: Any) -> None:
    provider = Provider(batch_life=BatchLife(seconds=1000))
    assert watched(provider, tmp_path, poll_s=20.0) == ["completed"] * 3
    assert provider.slept[:6] == [5.0, 7.5, 11.25, 16.875, 20.0, 20.0]
    assert max(provider.slept) == 20.0
    assert provider.slept.count(5.0) > 1  # a change makes them frequent again
    looks = [call.split("?")[0] for call in provider.calls[:-2]]
    assert {*looks[::2]} == {"GET /batches"}  # one list for all, and one job by itself
    assert len({*looks[1::2]}) == 3


def test_a_server_that_fails_for_a_while_does_not_end_the_wait(tmp_path: Any) -> None:
    provider = Provider("status=500:on=list:of=all:times=9", "status=503:on=poll:times=6")
    assert watched(provider, tmp_path) == ["completed"] * 3


@pytest.mark.parametrize(
    ("fault", "options", "error"),
    [
        ("status=401:on=list", {}, NoAccess),
        ("batch-lose", {"max_wait_s": 3.0}, OutcomeFault),
    ],
)
def test_the_wait_ends(tmp_path: Any, fault: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        watched(Provider(fault), tmp_path, **options)


@pytest.mark.parametrize(("max_wait_s", "slept"), [(23.0, [5.0, 7.5]), (23.75, [5.0, 7.5, 11.25])])
def test_the_wait_ends_where_the_next_look_would_be_too_late(
    tmp_path: Any, max_wait_s: float, slept: list[float]
) -> None:
    provider = Provider(batch_life=BatchLife(seconds=1000))
    with pytest.raises(OutcomeFault):
        watched(provider, tmp_path, poll_s=20.0, max_wait_s=max_wait_s)
    assert provider.slept == slept


@pytest.mark.parametrize("poll_s", [5.0, 60.0])
def test_a_list_that_shows_jobs_as_they_were_ends_no_wait(tmp_path: Any, poll_s: float) -> None:
    def change(api: JobApi) -> None:
        page = api.page

        def stale(**fields: Any) -> JobPage:
            found = page(**fields)
            return JobPage([job._replace(status="validating") for job in found.jobs], found.next)

        api.page = stale  # type: ignore[method-assign, assignment]

    assert watched(Provider(), tmp_path, change, poll_s=poll_s) == ["completed"] * 3


@pytest.mark.parametrize("status", [404, 405])
def test_jobs_of_a_provider_without_a_list_are_waited_for(tmp_path: Any, status: int) -> None:
    provider = Provider(f"status={status}:on=list:of=all")
    assert watched(provider, tmp_path) == ["completed"] * 3


def test_retry_after_is_obeyed(tmp_path: Any) -> None:
    class Asks(Hooks):
        asked_s = 33.0

    def change(api: JobApi) -> None:
        api._look = Asks()  # type: ignore[assignment]

    provider = Provider()
    watched(provider, tmp_path, change)
    assert set(provider.slept) == {33.0}


def test_a_status_that_nobody_knows_is_waited_for_until_the_job_is_overdue(tmp_path: Any) -> None:
    def change(api: JobApi) -> None:
        page, retrieve = api.page, api.retrieve

        def resting(job: ProviderJob) -> ProviderJob:
            return job._replace(status="resting", expires_at=BEGIN + 1000)

        def resting_page(**fields: Any) -> JobPage:
            found = page(**fields)
            return JobPage([*map(resting, found.jobs)], found.next)

        api.page = resting_page  # type: ignore[method-assign, assignment]
        api.retrieve = lambda id_: resting(retrieve(id_))  # type: ignore[method-assign]

    provider = Provider()
    with pytest.raises(BrokenAnswer, match="'resting', an hour after its end was due"):
        watched(provider, tmp_path, change)
    assert 4600 < sum(provider.slept) < 4700
