"""Jobs and their result files, as far as the provider still has them."""

from __future__ import annotations

from chatpipe.errors import BadInput
from chatpipe.jobs.file_download import GONE, FileDownload
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import LOST, ProviderJob, lost_job
from chatpipe.jobs.line_reasons import LineReasons
from chatpipe.jobs.merged_results import JobFiles
from chatpipe.jobs.part_record import PartRecord
from chatpipe.jobs.whole_results import settled_job, whole_results
from chatpipe.system.spool import Spool


class JobLookup:
    """Looks for jobs. refusals say which jobs and files the provider does not have."""

    def __init__(self, api: JobApi) -> None:
        self._api = api
        self._console = api.connection.console
        self.refusals: list[BadInput] = []
        self._gone: list[str] = []  # the same, as warnings beside the results of other jobs

    def job(self, id_: str, part: PartRecord | None) -> ProviderJob:
        """A job as it is now. One that was submitted may be lost.

        An id without a part may be wrong, and its refusal is raised.
        """
        try:
            return self._api.retrieve(id_)
        except BadInput as fault:
            if fault.http_status not in GONE or part is None:
                raise
            self.refusals.append(fault)
            return lost_job(id_)

    def files(self, job: ProviderJob, part: PartRecord | None) -> JobFiles:
        """The files of a job that has ended. Raises like whole_results()."""
        job = settled_job(self._api, job)
        reasons = LineReasons(job, part)
        texts = [f"{job.id} {job.status}: {text}" for text in reasons.summary()]
        if job.status == LOST:
            self._gone += texts
        else:
            self._console.warnings(texts)

        def download(id_: str) -> Spool | None:
            try:
                return FileDownload(self._api, id_).run()
            except BadInput as fault:
                if fault.http_status not in GONE:
                    raise
                fault.place = job.id
                self.refusals.append(fault)
                self._gone.append(str(fault))
                reasons.missing_file = id_
                return None

        files = whole_results(self._api, job, download, 0 if part is None else part.size)
        return JobFiles(job, [file.spool for file in files.values()], reasons, part)

    def warn_of_gone(self) -> None:
        """Warn of the jobs and files that the provider does not have."""
        self._console.warnings(self._gone)

    def raise_refusals(self) -> None:
        """Raise the first refusal, if there are any, and warn of the others."""
        for other in self.refusals[1:]:
            self._console.warning(str(other))
        for first in self.refusals:
            raise first
