"""One run of `jobs`: its arguments, the server, the output, and the action."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.errors import Status, UsageFault
from chatpipe.inputs.sources import stdin_owner
from chatpipe.jobs.job_actions import JobActions, Write, has_jobs, jobs_in, unique_words
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import dialect_of
from chatpipe.jobs.jobs_file import SUFFIX
from chatpipe.jobs.part_record import PartRecord
from chatpipe.models.connections import Connections
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import STDERR_USE, FileUse
from chatpipe.options.jobs import JobsOptions
from chatpipe.options.server import ServerOptions
from chatpipe.output.target import open_target, refuse_shared
from chatpipe.server.identity import comparable_name, recorded_name
from chatpipe.system.console import Console


class JobsCommand(NamedTuple):
    """The command line of `jobs`: the action, the ids and files after it, and the options."""

    action: str
    operands: Sequence[str]
    options: JobsOptions
    server: ServerOptions

    def run(self, connections: Connections, console: Console) -> Status:
        """Raises UsageFault, BadConfiguration, and the fault of a request."""
        self._check()
        endpoints = connections.servers()
        if len(endpoints) > 1:
            fix = "leave out all --base-url but one"
            raise UsageFault("jobs are at one server", place="--base-url", fix=fix)
        (endpoint,) = endpoints
        dialect = dialect_of(endpoint).with_job_lines(self.options.job_lines)
        with (
            open_target(self.options.output, (), escape=True) as out,
            connections.open(endpoint) as connection,
        ):
            api = JobApi(connection, dialect)
            status = self._act(api, console, out.write, comparable_name(recorded_name(endpoint)))
            out.replace()
        return status

    def _act(self, api: JobApi, console: Console, write: Write, server: str) -> Status:
        actions = JobActions(api, self.options, console, write)
        if self.action == "submit":
            return actions.submit(self.operands[0], server)
        if self.action == "list":
            return actions.list()
        ids: dict[str, None] = {}
        records: dict[str, PartRecord] = {}
        for word in self._words():
            found = jobs_in(word, api) if has_jobs(word) else {}
            ids |= dict.fromkeys(found or [word])
            records |= found
        if self.action == "results":
            return actions.results(list(ids), self._input(), records)
        if self.action == "wait":
            return actions.wait(list(ids), records)
        return {"status": actions.status, "cancel": actions.cancel}[self.action](list(ids))

    def _words(self) -> list[str]:
        """The operands of an action on jobs: ids and input files."""
        return unique_words(self.operands)

    def _input(self) -> str | None:
        """The file whose order results have: the only operand, if it is one."""
        words = self._words()
        return self.options.input or (words[0] if len(words) == 1 and has_jobs(words[0]) else None)

    def _check(self) -> None:
        """Raises UsageFault for words that do not fit the action."""
        count = len(self.operands)
        if self.action == "submit" and count != 1:
            raise UsageFault("submit takes one FILE", fix="chatpipe jobs submit FILE")
        if self.action == "list" and count:
            raise UsageFault("list takes no ID", fix="chatpipe jobs status ID shows one job")
        if self.action not in ("submit", "list") and not any(self.operands):
            raise UsageFault("no job is named", fix=f"chatpipe jobs {self.action} ID, or FILE after a submit")
        if "" in self.operands:
            raise UsageFault("an operand is empty", fix="leave it out")
        uses = self._uses()
        stdin_owner([*self.server.stdin_claims, *((use.option, use.path) for use in uses)])
        refuse_shared(self.options.output, [STDERR_USE, *self.server.uses, *uses])

    def _uses(self) -> list[FileUse]:
        """The input files, and the files of their jobs."""
        files = self.operands if self.action == "submit" else filter(has_jobs, self._words())
        files = list(files)
        found = [FileUse("FILE", path, "reads") for path in files]
        found += [FileUse("FILE", path + SUFFIX, "locks", "jobs") for path in files]
        if self.options.input is not None:
            found.append(FileUse("--input", self.options.input, "reads"))
        return found
