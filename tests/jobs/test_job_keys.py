"""job_api.py: a key that a command prints, and that expires during the hours of a job."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from chatpipe.errors import NoAccess
from chatpipe.jobs.file_download import FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_watch import JobWatch
from chatpipe.options.jobs import JobWaits
from chatpipe.options.output import ConsoleOptions
from chatpipe.serve.served_request import ServedRequest
from chatpipe.server.server import Server
from chatpipe.system.console import Console
from jobs.provider import Provider, changed
from jobs.test_submission import paid, submit, write_input


class Expiring(Provider):
    """Each key is good for some requests. The client has the first one, and a command for the others.

    with_command: there is one, which may print the old key again.
    """

    def __init__(self, uses: int, *, with_command: bool = True, prints_new_ones: bool = True) -> None:
        super().__init__()
        self._uses, self._with_command, self._prints_new_ones = uses, with_command, prints_new_ones
        self._key = self._used = 0
        self.printed = 0
        self._api: JobApi | None = None

    def api(self) -> JobApi:
        """The one client, which keeps its key."""
        if self._api is not None:
            return self._api
        self._api = api = super().api()
        server = api.connection.server._replace(headers=(("api-key", "0"), ("x-own", "1")))

        def renew() -> Server:
            self.printed += 1
            key = self._key if self._prints_new_ones else 0
            return server._replace(headers=(("Authorization", f"Bearer {key}"), ("x-own", "1")))

        api.connection = api.connection._replace(server=server, renew=renew if self._with_command else None)
        return api

    def answer(self, request: ServedRequest) -> httpx.Response:
        if not request.headers:  # a look of the test itself
            return super().answer(request)
        assert request.headers["x-own"] == "1"
        keys = [request.headers.get("api-key"), request.headers.get("authorization")]
        if self._used >= self._uses:
            self._key, self._used = self._key + 1, 0
        if keys not in ([str(self._key), None], [None, f"Bearer {self._key}"]):
            return changed({"error": {"message": "expired", "code": "invalid_api_key"}}, status=401)
        self._used += 1
        return super().answer(request)


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_a_key_is_renewed_in_every_call(tmp_path: Path, uses: int) -> None:
    provider, path = Expiring(uses), write_input(tmp_path, lines=1)
    (record,) = submit(provider, path)
    api = provider.api()
    watch = JobWatch(api, Console(ConsoleOptions(quiet=True)), JobWaits())
    (job,) = watch.ends([record["id"]])
    assert job.output_file_id is not None
    spool = FileDownload(api, job.output_file_id).run()
    assert b"id-0" in spool.read(0, spool.size)
    assert (paid(provider), provider.printed > 1) == (["id-0"], True)


@pytest.mark.parametrize(("with_command", "prints_new_ones", "printed"), [(False, True, 0), (True, False, 1)])
def test_a_key_that_stays_wrong_is_refused(
    tmp_path: Path, with_command: bool, prints_new_ones: bool, printed: int
) -> None:
    """The first refusal after a success asks the command, the second one ends it."""
    provider = Expiring(1, with_command=with_command, prints_new_ones=prints_new_ones)
    with pytest.raises(NoAccess, match="401"):
        submit(provider, write_input(tmp_path, lines=1))
    assert provider.printed == printed


def test_a_key_that_was_never_good_is_not_renewed(tmp_path: Path) -> None:
    provider = Expiring(0)
    with pytest.raises(NoAccess, match="401"):
        submit(provider, write_input(tmp_path, lines=1))
    assert provider.printed == 0
