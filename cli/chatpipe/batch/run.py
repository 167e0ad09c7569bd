"""One run of many requests, put together: input, memory, output, and what it ends in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator

from chatpipe.batch import dry_run, input
from chatpipe.batch import watch as watching
from chatpipe.batch.failures import FailureReporter, errors_file
from chatpipe.batch.input import RunInput
from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.answers import AnswerIndex, MatchBy, expand_patterns
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.journal.unused import UnusedAnswers
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.session import Session
from chatpipe.batch.stop import Stop, count_lines
from chatpipe.batch.tally import Tally
from chatpipe.conversation.turns import TurnRules
from chatpipe.errors import ChatpipeError, Interrupted, SomeFailed, Status, UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.sources import STDIN, STDIN_NAME, Sources
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import OutputOptions
from chatpipe.output.target import OpenOutput, open_target, with_part
from chatpipe.server.server import Server, open_server
from chatpipe.system import replace
from chatpipe.system.same_file import find_same_file
from chatpipe.wire.transports import check_transport


class Run:
    """One run of a job, from its input to its end."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, sources: Sources) -> int:
        """The status. Raises the ChatpipeError that the run ends in, and Interrupted."""
        with input.open_lines(self._job.file, sources) as lines:
            source = RunInput(
                lines,
                self._job.reader,
                self._job.input,
                self._job.console,
                own_ids_once=self._job.resume.match == "id",
            )
            inputs = [*sources.names, *([] if self._job.file == STDIN else [self._job.file])]
            self._refuse_same(inputs)
            if not (self._job.only_requests or self._job.report.dry_run):
                check_transport(self._job.endpoint, self._job.connection, self._job.environ)
            watch = self._watch()  # a part of stdin is read after that
            source.read_head()
            if self._job.report.dry_run:
                return self._estimate(source.items())
            beside = self._job.connection.files
            with open_target(self._job.target, inputs, escape=True, beside=beside) as out:
                if self._job.only_requests:
                    return asyncio.run(dry_run.write_requests(source.items(), out, self._job.console))
                return self._answer(source.items(), out, watch)

    def _refuse_same(self, inputs: list[str]) -> None:
        """What is written may be neither an input nor written twice. Raises UsageFault, CannotWrite."""
        if self._job.target.path in (None, "-") and find_same_file(1, [self._job.file]):
            raise UsageFault("stdout is the input, too: the run would never end", fix="write to another file")
        journal = self._job.resume.journal
        taken = [*inputs, *self._job.connection.files, "/dev/fd/0", "/dev/fd/1"]
        if self._job.to_file and self._job.target.path is not None:
            taken.append(self._job.target.path)
        self._refuse("--journal", journal, taken)
        if self._job.journal_path is not None:
            taken.append(self._job.journal_path)
        taken += expand_patterns(self._job.resume.reuse)
        self._refuse("--errors", self._job.report.errors, taken)
        self._refuse("--report", self._job.report.report, taken)
        if self._job.report.report is not None:
            replace.check_side_file(self._job.report.report)

    def _refuse(self, option: str, path: str | None, taken: list[str]) -> None:
        if path is None:
            return
        if path == "-" and (option != "--report" or self._job.target.path in (None, "-")):
            raise UsageFault("stdout is for the results", place=option, fix="name a file")
        if path in taken or find_same_file(path, taken):
            raise UsageFault(f"'{path}' is an input or an output, too", place=option, fix="name another file")
        taken.append(path)

    def _estimate(self, items: AsyncIterator[Item]) -> int:
        """To look before spending: bad lines are status 65, as for check."""
        record = asyncio.run(dry_run.estimate(items, self._job.limits.prices, self._job.console))
        with open_target(OutputOptions(), (), escape=True) as out:
            out.write(values.dumps(record) + b"\n")
        return Status.BAD_INPUT if record["bad"] else Status.OK

    def _answer(self, items: AsyncIterator[Item], out: OpenOutput, watch: ProgressOptions) -> int:
        job = self._job
        server = open_server(job.endpoint, job.connection, job.environ, sends=not job.resume.no_send)
        tally = Tally()
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            journal = self._journal(stack)
            recorded = self._recorded(journal, "body", stack)
            by_id = self._recorded(journal, "id", stack) if self._job.resume.match == "id" else None
            store = RunStore(
                self._job.resume,
                base_url=self._job.endpoint.journal_name,
                journal=journal,
                recorded=recorded,
                by_id=by_id,
                dedupe=self._job.input.dedupe,
                keeps_order=self._job.writes_at_the_end,
                keeps_all=not self._job.run_format.writes_result_lines,
                is_shard=self._job.input.shard is not None,
            )
            run = Session(
                self._job,
                store,
                tally,
                out,
                errors=stack.enter_context(errors_file(self._job.report.errors)),
                teller=self._teller(),
                recorded=recorded,
                started=started,
                watch=watch,
                rules=self._rules(server, stack),
            )
            if not self._job.writes_at_the_end:
                out.write(self._job.run_format.head())
            try:
                stop = asyncio.run(run.go(items, server))
            finally:
                self._report(tally, time.monotonic() - started)
            fault = self._fault(stop, tally)
            if stop is None and fault is None:
                self._finish(store, out, recorded, journal)
        if stop is not None and stop.signal is not None:
            self._job.console.note(
                f"interrupted after {count_lines(tally.finished)}: {self._again('goes on')}"
            )
            raise Interrupted(stop.signal)
        if fault is not None:
            raise with_part(out, fault)
        return Status.OK

    def _watch(self) -> ProgressOptions:
        job = self._job
        return watching.progress_options(
            job.report.progress,
            job.console,
            job.environ,
            file=job.file,
            output=job.target.path,
            errors=job.report.errors,
            limit=job.input.limit,
        )

    def _rules(self, server: Server, stack: contextlib.ExitStack) -> TurnRules | None:
        if self._job.turns.is_single_turn or self._job.resume.no_send:
            return None
        from chatpipe.conversation import setup  # most runs have one turn a line

        return stack.enter_context(
            setup.open_rules(
                self._job.turns,
                self._job.defaults,
                self._job.console,
                environ=self._job.environ,
                server=server,
                workers=self._job.limits.jobs.limit,
            )
        )

    def _teller(self) -> FailureReporter | None:
        name = STDIN_NAME if self._job.file == STDIN else self._job.file
        return FailureReporter(self._job.console, name) if self._job.reports_failures else None

    def _journal(self, stack: contextlib.ExitStack) -> Journal | None:
        """The journal of the run: named, beside OUT, or for --dedupe one that goes with the process."""
        path = self._job.journal_path
        if path is None and self._job.input.dedupe:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatpipe-"))
            path = os.path.join(folder, "journal")
        return None if path is None else stack.enter_context(Journal(path, notice=self._job.console.note))

    def _recorded(
        self, journal: Journal | None, match: MatchBy, stack: contextlib.ExitStack
    ) -> AnswerIndex | None:
        if journal is None and not self._job.resume.reuse:
            return None
        recorded = AnswerIndex(
            self._job.resume,
            out=self._job.target.path if self._job.writes_at_the_end else None,
            journal=journal,
            match=match,
            good=self._job.allow | {"ok"},
        )
        stack.callback(recorded.close)
        return recorded

    def _report(self, tally: Tally, wall_s: float) -> None:
        if self._job.report.report is not None:
            data = values.dumps(tally.report(wall_s)) + b"\n"
            replace.write_side_file(self._job.report.report, data)

    def _fault(self, stop: Stop | None, tally: Tally) -> ChatpipeError | None:
        """What the run ends in: why it stopped, else the failures of its lines."""
        if stop is not None:
            fault = stop.fault
            if fault is not None and fault.status in (Status.BUDGET, Status.TRY_LATER):
                fault.fix = f"{fault.fix}, {self._again('goes on')}"
            return fault
        if not tally.failed:
            return None
        what = f"{tally.failed} of {count_lines(tally.finished)} failed: {tally.failures_text()}"
        alike = (
            next(iter(tally.failures)) if not tally.good and len(tally.failures) == 1 else Status.SOME_FAILED
        )
        return SomeFailed(what, alike, fix=self._fix(tally))

    def _fix(self, tally: Tally) -> str:
        """Where to look, and what to do."""
        job = self._job
        fixes = []
        if job.run_format.writes_result_lines and not job.writes_at_the_end:
            fixes.append("see select(.error)")
        elif job.journal_path is not None and not job.reports_failures:
            fixes.append(f"see select(.error) in '{job.journal_path}'")
        if tally.codes[Outcome.input] == tally.failed:
            fixes.append("mend these lines" if tally.failed > 1 else "mend this line")
        else:
            fixes.append(self._again("sends only these again"))
        return ", ".join(fixes)

    def _again(self, what: str) -> str:
        """The way on. Without a journal the same command would buy everything again."""
        if self._job.journal_path is not None:
            return "run the same command again"
        return f"with -o FILE or --journal FILE the next run {what}"

    def _finish(
        self, store: RunStore, out: OpenOutput, recorded: AnswerIndex | None, journal: Journal | None
    ) -> None:
        """Every line is good: OUT is written whole, in the order of the input, then the journal may go."""
        if self._job.to_file and self._job.run_format.from_result_line is not None:
            for line in store.lines():
                out.write(self._job.run_format.from_result_line(line))
        if journal is None or recorded is None:
            out.replace()
            return
        left = UnusedAnswers(recorded, journal) if self._job.keeps_leftovers else None
        if left is not None:
            left.save()
        out.replace()
        self._settle_journal(journal, left)

    def _settle_journal(self, journal: Journal, left: UnusedAnswers | None) -> None:
        """What OUT holds whole needs no journal; of every other form it is the only copy."""
        keep = self._job.resume.keep_journal
        if keep is None:
            keep = self._job.resume.journal is not None or not self._job.run_format.writes_result_lines
        if left is not None:
            if (notice := left.finish(whole=keep)) is not None:
                self._job.console.note(notice)
        elif keep:
            journal.close()
        else:
            journal.remove()
