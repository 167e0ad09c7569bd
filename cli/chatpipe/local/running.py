"""One run of many requests, put together: input, memory, pace, transport, engine, output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from chatpipe.batch import feed, prices
from chatpipe.batch.capacity import Auto, Capacity
from chatpipe.batch.course import Budget, Course, answer_limits, counted
from chatpipe.batch.journal import Journal, Match, Recorded
from chatpipe.batch.lines import Item, Reader, Template, in_shard
from chatpipe.batch.options import Feeding, Pacing, Resuming, Showing
from chatpipe.batch.pace import Pace, Timetable
from chatpipe.batch.pacefile import PaceFile, Share
from chatpipe.batch.results import Maker, Result
from chatpipe.batch.run import Engine, Stop
from chatpipe.batch.send import Sender
from chatpipe.batch.store import Store
from chatpipe.batch.tally import Tally, Usage, usage_of
from chatpipe.batch.tokens import Estimator
from chatpipe.errors import CannotWrite, ChatpipeError, Interrupted, Status, UsageFault, reason
from chatpipe.exchange import Answer, World
from chatpipe.inputs import values
from chatpipe.inputs.sources import STDIN, STDIN_NAME, Sources, missing
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.output import files, notices, rows
from chatpipe.output.notices import Notices
from chatpipe.output.options import RESULTS, Target
from chatpipe.output.progress import Progress
from chatpipe.output.target import Opened, opened
from chatpipe.wire import client, endpoints, keys, redact
from chatpipe.wire.client import Dial
from chatpipe.wire.endpoints import Endpoint
from chatpipe.wire.options import Connection
from chatpipe.wire.retry import Policy

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

_WINDOW_PER_JOB = 4
# Beside the connections: the three standard ones, input, journal, recorded files, what asyncio has.
_OTHER_DESCRIPTORS = 64
_WARNINGS = 10


class SomeFailed(ChatpipeError):
    """Lines of a run failed; status is theirs when all of them failed alike."""

    def __init__(self, what: str, status: Status, fix: str) -> None:
        self.status = status
        super().__init__(what, fix=fix)


class Job(NamedTuple):
    """What was asked for. checking is (strict, off)."""

    file: str
    endpoint: Endpoint
    connection: Connection
    policy: Policy
    feeding: Feeding
    pacing: Pacing
    resuming: Resuming
    showing: Showing
    checking: tuple[bool, bool]
    target: Target
    shape: str
    null: bool
    allow: frozenset[str]
    told: Notices
    environ: Mapping[str, str]

    def run(self, defaults: Mapping[str, Value], sources: Sources) -> int:
        """The status. Raises the ChatpipeError that the run ends in, and Interrupted."""
        template = Template(defaults, override=self.feeding.override, default_model=self.endpoint.model)
        strict, off = self.checking
        reader = Reader(template, plain=self.feeding.plain, strict=strict, unchecked=off)
        with self._input(sources) as (descriptor, name):
            lines = self._items(reader, descriptor, name)
            inputs = [*sources.names, *([] if self.file == STDIN else [self.file])]
            self._refuse_same(inputs)
            if self.showing.dry_run:
                return asyncio.run(self._dry_run(lines))
            with opened(self.target, inputs, escape=True) as out:
                if self.shape == "requests":
                    return asyncio.run(self._write_requests(lines, out))
                return self._answer(lines, out)

    @property
    def to_file(self) -> bool:
        """Whether results go into a file that is replaced at the end. A device gets them as they come."""
        path = self.target.path
        return self.target.is_file and path is not None and (os.path.isfile(path) or not os.path.exists(path))

    def _refuse_same(self, inputs: list[str]) -> None:
        """What is written may be neither an input nor written twice. Raises UsageFault."""
        journal = self.resuming.journal
        written = [
            ("--journal", journal),
            ("--errors", self.showing.errors),
            ("--report", self.showing.report),
        ]
        taken = list(inputs)
        if self.to_file and self.target.path is not None:
            taken += [self.target.path, *([f"{self.target.path}.journal"] if journal is None else [])]
        for option, path in written:
            if path is not None and (path in taken or files.same_file(path, taken)):
                raise UsageFault(
                    f"'{path}' is an input or an output, too", place=option, fix="name another file"
                )
            taken += [path] if path is not None else []

    @contextlib.contextmanager
    def _input(self, sources: Sources) -> Iterator[tuple[int, str]]:
        if self.file == STDIN:
            if not sources.stdin.opened:
                sources.stdin.read()  # says that it is closed
            yield sources.stdin.descriptor, STDIN_NAME
            return
        try:
            descriptor = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise missing(self.file, "FILE", error) from error
        try:
            yield descriptor, self.file
        finally:
            os.close(descriptor)

    async def _items(self, reader: Reader, descriptor: int, name: str) -> AsyncIterator[Item]:
        """The items of this shard, up to the limit."""
        taken = warned = 0
        async for source in feed.lines(descriptor, name):
            item = reader.item(source)
            if item is None:
                continue
            if not in_shard(source.line, self.feeding.shard):
                yield item._replace(is_ours=False)
                continue
            self._warn(item, warned)
            warned += len(item.warnings)
            yield item
            taken += 1
            if taken == self.feeding.limit:
                return

    def _warn(self, item: Item, before: int) -> None:
        """The first warnings of a run; a million lines may well have the same."""
        for number, warning in enumerate(item.warnings, before):
            if number < _WARNINGS:
                self.told.warning(warning)
            elif number == _WARNINGS:
                self.told.warning("there are more like these: chatpipe check shows them all")

    async def _write_requests(self, items: AsyncIterator[Item], out: Opened) -> int:
        """The Batch lines that would be sent."""
        bad = 0
        async for item in items:
            if not item.is_ours:
                continue
            if item.fault is not None:
                bad += 1
                self.told.error(item.fault)
                continue
            line = {
                "custom_id": item.custom_id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": item.body,
            }
            out.write(values.dumps(line) + b"\n")
        if bad:
            out.keep()
            return Status.BAD_INPUT
        out.replace()
        return Status.OK

    async def _dry_run(self, items: AsyncIterator[Item]) -> int:
        """What a run would come to, by estimate; nothing is sent and nothing looked up."""
        table = prices.load(self.pacing.prices) if self.pacing.prices is not None else {}
        estimator = Estimator()
        lines = bad = size = tokens = 0
        cost = 0.0
        async for item in items:
            if not item.is_ours:
                continue
            lines += 1
            if item.body is None:
                bad += 1
                continue
            data = len(values.dumps(item.body))
            estimate = estimator.estimate(data, *answer_limits(item.body))
            size += data
            tokens += estimate
            if table:
                prompt = estimator.estimate(data, 0, 1)
                usage = Usage(prompt, 0, estimate - prompt, estimate)
                cost += prices.price_of(table, item.body.get("model")).cost(usage)
        record = {"lines": lines, "bad": bad, "bytes": size, "estimated_tokens": tokens}
        if table:
            record["estimated_cost"] = round(cost, 6)  # type: ignore[assignment]
        with opened(Target(), (), escape=True) as out:
            out.write(values.dumps(record) + b"\n")
        return Status.OK

    def _answer(self, items: AsyncIterator[Item], out: Opened) -> int:
        headers = self._headers()
        tally = Tally()
        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            journal = self._journal(stack)
            recorded = self._recorded(journal, "body", stack)
            by_id = self._recorded(journal, "id", stack) if self.resuming.match == "id" else None
            store = Store(
                self.resuming,
                base_url=self.endpoint.base_url,
                journal=journal,
                recorded=recorded,
                by_id=by_id,
                dedupe=self.feeding.dedupe,
                keeps_order=self.to_file,
                keeps_all=self.shape != RESULTS,
                is_shard=self.feeding.shard is not None,
            )
            errors = stack.enter_context(_errors(self.showing.errors))
            run = _Run(self, store, tally, out, errors, recorded, started)
            try:
                stop = asyncio.run(run.go(items, headers))
            finally:
                self._report(tally, time.monotonic() - started)
            fault = self._fault(stop, tally)
            if stop is None and fault is None:
                self._finish(store, out)
                if journal is not None:
                    self._settle_journal(journal)
        if stop is not None and stop.number is not None:
            self.told.note(f"interrupted after {counted(tally.finished)}: run the same command again")
            raise Interrupted(stop.number)
        if fault is not None:
            raise fault
        return Status.OK

    def _headers(self) -> httpx.Headers:
        key = keys.find(self.connection.key, self.endpoint.key_env, self.environ)
        if self.resuming.no_send:
            return httpx.Headers()
        headers = endpoints.authorized(self.endpoint, key, allow_http=self.connection.allow_http)
        for secret in redact.secrets(headers):
            notices.hide(secret)
        host = httpx.URL(self.endpoint.url).netloc
        return httpx.Headers([("Host", host.decode()), *headers])

    def _journal(self, stack: contextlib.ExitStack) -> Journal | None:
        """The journal of the run: named, beside OUT, or for --dedupe one that goes with the process."""
        path = self.resuming.journal
        if path is None and self.to_file:
            path = f"{self.target.path}.journal"
        if path is None and self.feeding.dedupe:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatpipe-"))
            path = os.path.join(folder, "journal")
        return None if path is None else stack.enter_context(Journal(path))

    def _recorded(
        self, journal: Journal | None, match: Match, stack: contextlib.ExitStack
    ) -> Recorded | None:
        if journal is None and not self.resuming.reuse:
            return None
        recorded = Recorded(
            reuse=self.resuming.reuse,
            out=self.target.path if self.to_file else None,
            journal=journal,
            match=match,
            resend=self.resuming.resend,
            good=self.allow | {"ok"},
        )
        stack.callback(recorded.close)
        return recorded

    def _report(self, tally: Tally, wall_s: float) -> None:
        if self.showing.report is not None:
            data = values.dumps(tally.report(wall_s)) + b"\n"
            files.write_side_file(self.showing.report, data)

    def _fault(self, stop: Stop | None, tally: Tally) -> ChatpipeError | None:
        """What the run ends in: why it stopped, else the failures of its lines."""
        if stop is not None:
            return stop.fault
        if not tally.failed:
            return None
        what = f"{tally.failed} of {counted(tally.finished)} failed"
        fix = "see select(.error), run the same command again"
        alike = (
            next(iter(tally.failures)) if not tally.good and len(tally.failures) == 1 else Status.SOME_FAILED
        )
        return SomeFailed(what, alike, fix)

    def _finish(self, store: Store, out: Opened) -> None:
        """Every line is good: OUT is written whole, in the order of the input."""
        if self.to_file:
            for line in store.lines():
                out.write(rows.recorded_row(self.shape, line, null=self.null))
        out.replace()

    def _settle_journal(self, journal: Journal) -> None:
        """What OUT holds whole needs no journal; of every other form it is the only copy."""
        keep = self.resuming.keep_journal
        if keep is None:
            keep = self.resuming.journal is not None or self.shape != RESULTS
        if not keep:
            journal.remove()
        elif (notice := journal.close()) is not None:
            self.told.note(notice)


class _Run:
    """What a run does while it runs."""

    def __init__(
        self,
        job: Job,
        store: Store,
        tally: Tally,
        out: Opened,
        errors: Callable[[bytes], None] | None,
        recorded: Recorded | None,
        started: float,
    ) -> None:
        self._job = job
        self._store = store
        self._tally = tally
        self._out = out
        self._errors = errors
        self._recorded = recorded
        self._started = started
        self._bar: Progress | None = None

    async def go(self, items: AsyncIterator[Item], headers: httpx.Headers) -> Stop | None:
        job = self._job
        pacing = job.pacing
        capacity = Auto(pacing.jobs.limit) if pacing.jobs.auto else Capacity(pacing.jobs.limit)
        _raise_descriptor_limit(pacing.jobs.limit)
        pace = Pace(pacing.rpm, pacing.tpm)
        estimator = Estimator()
        maker = Maker(job.allow, calls_are_final=job.shape in ("text", "string"))
        budget = self._budget(estimator)
        transport = self._transport(pacing.jobs.limit)
        world = World(
            transport, asyncio.sleep, _silent, job.told.detail if job.told.telling.verbose else None
        )
        file = PaceFile(pacing.pace_file) if pacing.pace_file is not None else None
        sender = self._sender(headers, world, pace, file, capacity, estimator)
        engine = Engine(
            send=_sharing(sender, file, _origin(job.endpoint.url), pacing.pace_jobs),
            deliver=self._deliver,
            let_go=sender.stop,
            known=self._store,
            course=Course(capacity, pace, pacing.max_pause_s, self._tally, pacing.halt, budget),
            maker=maker,
            window=self._window(),
            dedupe=job.feeding.dedupe,
            no_send=job.resuming.no_send,
            grace_s=pacing.grace_s,
        )
        self._bar = Progress(job.showing.progress, job.told, self._tally, self._started)
        progress = asyncio.create_task(self._bar.tick())
        try:
            await engine.run(items)
        finally:
            progress.cancel()
            self._bar.close()
            await transport.aclose()
            if file is not None:
                file.close()
        return engine.stop

    def _budget(self, estimator: Estimator) -> Budget:
        pacing = self._job.pacing
        table = prices.load(pacing.prices) if pacing.prices is not None else {}
        budget = Budget(pacing.max_total_tokens, pacing.max_cost, table, estimator)
        if self._recorded is not None and (
            pacing.max_total_tokens is not None or pacing.max_cost is not None
        ):
            for line in self._recorded.journal_lines():
                try:
                    record = values.loads(line)
                except NotJSON:  # damaged: it is sent again, too
                    continue
                response = record.get("response")
                body = response.get("body") if isinstance(response, dict) else None
                if isinstance(body, dict):
                    budget.spend(usage_of(body), body.get("model"))
        return budget

    def _sender(
        self,
        headers: httpx.Headers,
        world: World,
        pace: Pace,
        file: PaceFile | None,
        capacity: Capacity,
        estimator: Estimator,
    ) -> Sender:
        job, pacing = self._job, self._job.pacing
        timetables: tuple[tuple[Timetable, Callable[[], float]], ...] = ((pace, time.monotonic),)
        share_pause = None
        if file is not None:
            origin = _origin(job.endpoint.url)
            timetables += ((Share(file, origin, pacing.rpm, pacing.tpm), time.time),)

            def share_pause(seconds: float) -> None:
                now = time.time()
                file.pause_until(origin, now + seconds, now)

        return Sender(
            url=job.endpoint.url,
            headers=headers,
            world=world,
            limits=job.connection.limits,
            policy=job.policy,
            pace=pace,
            timetables=timetables,
            capacity=capacity,
            estimator=estimator,
            max_pause_s=pacing.max_pause_s,
            share_pause=share_pause,
        )

    def _transport(self, jobs: int) -> httpx.AsyncBaseTransport:
        job = self._job
        if job.endpoint.in_process:
            from chatpipe.local.inprocess import EchoTransport

            return EchoTransport()
        connection, url = job.connection, httpx.URL(job.endpoint.url)
        dial = Dial(
            connection.proxy,
            connection.cacert,
            connection.client_cert,
            connection.client_key,
            connection.insecure,
        )
        proxy = client.proxy_for(url, dial.proxy, job.environ)
        context = client.tls_context(dial, job.environ) if url.scheme == "https" or proxy else None
        if proxy is not None:
            limits = httpx.Limits(max_connections=jobs, max_keepalive_connections=jobs)
            return httpx.AsyncHTTPTransport(proxy=httpx.Proxy(proxy), verify=context or True, limits=limits)
        from chatpipe.wire.pool import PoolTransport

        return PoolTransport(context, max_connections=jobs)

    def _window(self) -> int | None:
        """In order where it was asked for, and in every form of which one record is a bare value."""
        job = self._job
        if job.to_file or not (job.showing.keep_order or job.shape != RESULTS):
            return None
        return job.showing.window or _WINDOW_PER_JOB * job.pacing.jobs.limit

    def _deliver(self, result: Result) -> None:
        """Hand a result on, which the store has kept."""
        job = self._job
        if not result.is_good and self._errors is not None:
            self._errors(result.line + b"\n")
        if not job.to_file:
            self._out.write(
                rows.row(job.shape, result.line, result.completion if result.is_good else None, null=job.null)
            )
        if self._bar is not None:
            self._bar.moved()


def _sharing(
    sender: Sender, file: PaceFile | None, origin: str, jobs: int | None
) -> Callable[[Item], Awaitable[tuple[Answer, float]]]:
    """Sending within the number in flight that all processes share."""
    if file is None or jobs is None:
        return sender.send
    turn = asyncio.Lock()  # one asks at a time: places go to processes in turn

    async def send(item: Item) -> tuple[Answer, float]:
        async with turn:
            while wait_s := file.enter(origin, jobs, time.time()):
                await asyncio.sleep(wait_s)
        try:
            return await sender.send(item)
        finally:
            file.leave(origin, time.time())

    return send


@contextlib.contextmanager
def _errors(path: str | None) -> Iterator[Callable[[bytes], None] | None]:
    """The file of --errors, emptied now; each line is written as it comes."""
    if path is None:
        yield None
        return
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed below; only opening is guarded here
    except (OSError, ValueError) as error:
        raise CannotWrite(f"cannot write: {reason(error)}", place=path) from error

    def write(data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise CannotWrite(f"cannot write: {reason(error)}", place=path) from error

    with file:
        yield write


def _raise_descriptor_limit(jobs: int) -> None:
    """As many descriptors as requests in flight, and some, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = jobs + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _origin(url: str) -> str:
    """Scheme, host and port: limits are a server's, whatever the path."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


def _silent(text: str) -> None:
    """A run says nothing of each try: the report counts them."""
