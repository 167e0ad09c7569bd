"""The calls of the Batch API over one connection: each by the ordinary exchange, but for the create.

A create is not repeated where the first may have been made: see Unconfirmed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

from chatpipe import exchange
from chatpipe.errors import BadConfiguration, BrokenAnswer, ChatpipeError, TryLater
from chatpipe.exchange import NO_HOOKS, Hooks, run_without_loop
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_dialects import WITHOUT_JOBS, JobDialect, ProviderJob, job_of, jobs_of
from chatpipe.jobs.job_shapes import CreateOrder
from chatpipe.jobs.upload_form import UploadForm
from chatpipe.models.connections import Connection
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.azure import DEPLOYMENTS
from chatpipe.wire import server_requests
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import (
    RETRYABLE,
    FailedAttempt,
    GiveUp,
    GiveUpReason,
    RetryAfter,
    requested_delay,
)

Headers = list[tuple[str, str]]

_MOST_LISTED = 100
_MOST_PAGES = 1000  # far more than an account has: 100,000 jobs, and of some lists a fifth
_UNAUTHORIZED, _NOT_FOUND, _TOO_LARGE = 401, 404, 413
_NOT_NOW = frozenset({400, 409, 422})  # of a cancel that comes too late
_NO_ROUTE = frozenset({_NOT_FOUND, 405, 501})
_INPUT_FILE = re.compile(rb"input[ _]file", re.IGNORECASE)
_PROCESSING = frozenset({"pending", "queued", "running", "processing", "notrunning", "uploading"})


class Unconfirmed(Exception):
    """A create that may have been made. fault says what went wrong."""

    def __init__(self, fault: ChatpipeError) -> None:
        self.fault = fault
        super().__init__(fault)


class _LookHooks(Hooks):
    """Hooks of a GET. asked_s is the time after which the server wants to be asked again, 0 for none."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.asked_s = 0.0

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self.asked_s = requested_delay(headers, self._now()) or 0.0


class JobPage(NamedTuple):
    """A page of the list of jobs. next is the cursor of the next page, None at the end."""

    jobs: list[ProviderJob]
    next: str | None

    def ends_before(self, oldest: float) -> bool:
        """Return True if all jobs of the following pages are older than a Unix time.

        Some providers list the oldest job first, and some do not say when a job was created.
        """
        first, last = self.jobs[0].created_at, self.jobs[-1].created_at
        return 0.0 < last < min(first, oldest)


class JobApi:
    """The files and jobs of one server. Each call raises the fault of its request.

    without is the way to do it on a server that has no Batch API, for the message.
    """

    def __init__(self, connection: Connection, dialect: JobDialect, without: str = WITHOUT_JOBS) -> None:
        self.connection = connection
        self.dialect = dialect
        self._without = without
        self._look = _LookHooks(connection.context.now)
        self._is_key_good = False  # the last request was accepted with it

    @property
    def pause_s(self) -> float:
        """The seconds after which the server wants the next look at a job or at the list, 0 for none."""
        return self._look.asked_s

    def command(self, *words: str) -> str:
        """A command line of `jobs` for the same server, as it can be typed."""
        return self.connection.command("jobs", *words)

    def upload(self, name: str, size: int, pieces: Callable[[], Iterator[bytes]]) -> str:
        """Upload a file of so many bytes, which can be asked for again. Returns its id."""
        form = UploadForm(name, size, pieces, self.dialect)
        headers = [*self._headers(), ("Content-Type", f"multipart/form-data; boundary={form.boundary}")]
        headers.append(("Content-Length", str(form.size)))
        url = httpx.URL(self._url(self.dialect.upload_route))
        headers.append(("Host", url.netloc.decode()))  # httpx adds none to a stream of ours
        request = httpx.Request("POST", url, headers=headers, stream=form, extensions=self._extensions)
        try:
            with _without_routes(self._without):
                value = self._value(request)
        except ChatpipeError as fault:
            if fault.http_status == _TOO_LARGE:
                fault.fix = "send fewer lines at a time"
            raise
        id_ = value.get("id") if isinstance(value, dict) else None
        if not isinstance(id_, str) or not id_:
            raise BrokenAnswer("the answer to the upload names no file", fix="check the base URL")
        return id_

    def create(self, order: CreateOrder) -> ProviderJob:
        """Raises Unconfirmed if the job may have been made all the same."""
        body = self.dialect.shape.create_body(order)
        if self.dialect.has_metadata:
            body["metadata"] = dict(order.metadata)
        hooks = _CreateHooks()
        request = self._post(self.dialect.shape.route, body, sends_once=True)
        try:
            return job_of(self._value(request, hooks), self.dialect)
        except ChatpipeError as fault:
            if not hooks.was_refused:
                raise Unconfirmed(fault) from fault
            if is_unseen(fault, order.input_file_id):
                raise
            with _without_routes(self._without):
                raise

    def retrieve(self, id_: str) -> ProviderJob:
        request = self._get(self._job_route(id_))
        with self._without_job():
            return self._job(id_, self._value(request, self._look))

    def page(self, size: int = _MOST_LISTED, cursor: str = "") -> JobPage:
        """A page of the list, the first one without a cursor."""
        shape = self.dialect.shape
        request = self._get(shape.route, shape.page_query(size, cursor))
        with _without_routes(self._without):
            value = self._value(request, self._look)
            jobs = jobs_of(value, self.dialect)
        return JobPage(jobs, shape.next_cursor(value, size, cursor) if jobs else None)

    def pages(self, oldest: float) -> Iterator[JobPage]:
        """The list, as far as it may have jobs that were created at a Unix time or later.

        Raises BrokenAnswer for a list without an end, in which a job may be that nobody has seen.
        """
        seen: set[str] = set()
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = self.page(cursor=cursor)
            if seen.issuperset(job.id for job in page.jobs):
                return  # the end, or a server that does not know the cursor
            yield page
            seen.update(job.id for job in page.jobs)
            if page.next is None or page.ends_before(oldest):
                return
            cursor = page.next
        what = f"the list of jobs has no end: {_MOST_PAGES} pages came, and each names another one"
        raise BrokenAnswer(what, fix="look for the job in the provider's console")

    def cancel(self, id_: str) -> ProviderJob:
        """The job, even if it had ended before the request came."""
        request = self._post(f"{self._job_route(id_)}/cancel", {})
        try:
            with self._without_job():
                return self._job(id_, self._value(request))
        except ChatpipeError as fault:
            if fault.http_status in _NOT_NOW and (job := self.retrieve(id_)).has_ended:
                return job
            raise

    def file_size(self, file_id: str) -> int | None:
        """The bytes of a file, None if the provider does not say."""
        size = self._file(file_id).get("bytes")
        return size if isinstance(size, int) else None

    def file_name(self, file_id: str) -> str:
        """The name of a file, empty if the provider does not say."""
        name = self._file(file_id).get("filename")
        return name if isinstance(name, str) else ""

    def is_processing(self, file_id: str) -> bool:
        """Return True for a file that the provider cannot use yet."""
        return str(self._file(file_id).get("status")).lower() in _PROCESSING

    def _file(self, file_id: str) -> Mapping[str, Value]:
        value = self._value(self._get(_file_route(file_id)))
        return value if isinstance(value, dict) else {}

    def content_request(self, file_id: str, at: int) -> httpx.Request:
        """The GET of the bytes of a file, from one on."""
        request = self._get(f"{_file_route(file_id)}/content")
        request.headers["Accept-Encoding"] = "identity"  # the length is that of the file then
        if at:
            request.headers["Range"] = f"bytes={at}-"
        return request

    def sleep(self, seconds: float) -> None:
        run_without_loop(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        await self.connection.context.sleep(seconds)

    def _job(self, id_: str, value: Value) -> ProviderJob:
        """The job of a reply about it, with the id that it was asked for.

        LiteLLM's proxy may answer with the id that the provider behind it has given to the job.
        """
        return job_of(value, self.dialect)._replace(id=id_)

    @contextmanager
    def _without_job(self) -> Iterator[None]:
        """Make the refusal of an id a hint where to find the right one."""
        try:
            yield
        except ChatpipeError as fault:
            if fault.http_status == _NOT_FOUND:
                fault.fix = f"{self.command('list')} shows the jobs that there are"
            raise

    @property
    def _extensions(self) -> dict[str, Any]:
        return dict(self.connection.server.extensions)

    def _headers(self) -> Headers:
        return [each for each in self.connection.server.headers if each[0].lower() != "content-type"]

    def _job_route(self, id_: str) -> str:
        return f"{self.dialect.shape.route}/{quote(id_, safe='')}"

    def _url(self, route: str, query: Mapping[str, str] | None = None) -> str:
        """The URL of a route, beside the deployments of a resource of Azure."""
        base = urlsplit(self.connection.server.endpoint.base_url)
        path = base.path.partition(DEPLOYMENTS)[0].rstrip("/") + route
        whole = "&".join(filter(None, (base.query, urlencode(query or {}))))
        return base._replace(path=path, query=whole).geturl()

    def _get(self, route: str, query: Mapping[str, str] | None = None) -> httpx.Request:
        return server_requests.get_request(self.connection.server, self._url(route, query))

    def _post(self, route: str, body: Mapping[str, Value], *, sends_once: bool = False) -> httpx.Request:
        """A POST of JSON. One that sends once is not repeated on a new connection by the transport itself."""
        url, content = httpx.URL(self._url(route)), values.dumps(body)
        headers = [*self._headers(), ("Content-Type", "application/json")]
        if not sends_once:
            return httpx.Request("POST", url, headers=headers, content=content, extensions=self._extensions)
        headers += [("Content-Length", str(len(content))), ("Host", url.netloc.decode())]
        return httpx.Request(
            "POST", url, headers=headers, stream=_OneTry(content), extensions=self._extensions
        )

    def _value(self, request: httpx.Request, hooks: Hooks = NO_HOOKS) -> Value:
        """The JSON of the reply."""
        answer, old = self._fetch(request, hooks), self._headers()
        if answer.fault is not None and self.renew_key(answer.fault):
            answer = self._fetch(self._with_new_key(request, old), hooks)
        if isinstance(answer.fault, TryLater):
            answer.fault.fix = "run the same command later"  # no option lowers the rate of these calls
        if answer.fault is not None or answer.body is None:
            raise answer.fault or BrokenAnswer("the answer is empty", fix="try again")
        self._is_key_good = True
        return values.loads(answer.body)

    def _fetch(self, request: httpx.Request, hooks: Hooks) -> Answer:
        connection = self.connection
        limits = connection.server.limits
        return run_without_loop(exchange.fetch(request, connection.context, limits, connection.retry, hooks))

    def renew_key(self, fault: ChatpipeError) -> bool:
        """Ask the command of the key once more after a 401, if the key was good until then.

        Returns False if there is no new key. Raises the fault of the command.
        """
        connection = self.connection
        if fault.http_status != _UNAUTHORIZED or connection.renew is None or not self._is_key_good:
            return False
        self._is_key_good = False
        self.connection = connection._replace(server=connection.renew())
        return True

    def _with_new_key(self, request: httpx.Request, old: Headers) -> httpx.Request:
        """The same request with the headers of the server as they are now, and without the old ones."""
        headers = httpx.Headers(request.headers)
        for name, _ in old:
            headers.pop(name, None)
        headers.update(self._headers())
        return httpx.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=self._extensions
        )


def _file_route(file_id: str) -> str:
    return f"/files/{quote(file_id, safe='')}"


def is_unseen(fault: ChatpipeError, file_id: str) -> bool:
    """Return True for the refusal of a file that is not visible yet, or no longer."""
    if fault.http_status not in (400, _NOT_FOUND):
        return False
    body = fault.body or b""
    return file_id.encode() in body or _INPUT_FILE.search(body) is not None


@contextmanager
def _without_routes(without: str) -> Iterator[None]:
    """Raise BadConfiguration for the refusal of a server that has no such routes."""
    try:
        yield
    except ChatpipeError as fault:
        if fault.http_status not in _NO_ROUTE:
            raise
        fix = f"it may have no Batch API, and {without}; else check the base URL"
        raise BadConfiguration(fault.what, fix=fix).with_reply_of(fault) from None


class _CreateHooks(Hooks):
    """Retries of a create: only after a refusal, and where no connection came about."""

    def __init__(self) -> None:
        self.was_refused = False

    def before_attempt(self) -> None:
        self.was_refused = False

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        self.was_refused = _was_refused(failure)
        return None if self.was_refused else GiveUp(GiveUpReason.NOT_RETRYABLE)


def _was_refused(failure: FailedAttempt) -> bool:
    """Return True if the request has certainly made nothing."""
    status = failure.status
    if status is None:
        return failure.is_unreached
    return 400 <= status < 500 and status not in RETRYABLE


class _OneTry(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body for new connections only.

    A kept connection may be closed as the request arrives. Nobody knows then if the provider made a job, and
    sending it again may make another.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
