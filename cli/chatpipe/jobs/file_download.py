"""A file of the provider -> a spool: all of it, also over a connection that breaks.

What came stays, and the rest is asked for with Range. A server that sends the whole file again is read from
its beginning, and so is one that compresses the file. The length that the server names is checked.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx

from chatpipe.errors import BadConfiguration, BrokenAnswer, CannotWrite, ChatpipeError
from chatpipe.exchange import run_without_loop
from chatpipe.jobs.job_api import JobApi
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.spool import NoRoom, Room, Spool
from chatpipe.wire import retry
from chatpipe.wire.answer import answer_from_error
from chatpipe.wire.json_body import JsonBodyReceiver
from chatpipe.wire.key_filter import read_without_secrets
from chatpipe.wire.light_messages import headers_by_name
from chatpipe.wire.reply_body import ReplyBody
from chatpipe.wire.retry import FailedAttempt, RetryAfter

_NO_LIMIT = 1 << 60
_MOST_REDIRECTS = 3
GONE = frozenset({404, 410})  # the statuses of a file that the provider does not have
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)")


class _Break(NamedTuple):
    """The end of a try that brought not all: its fault, and the failure for the decision to try again."""

    fault: ChatpipeError
    failure: FailedAttempt | None


class FileDownload:
    """The download of one file. spool is what came."""

    def __init__(self, api: JobApi, file_id: str) -> None:
        self._api = api
        self._file_id = file_id
        self.spool = Spool(Room(_NO_LIMIT))

    def run(self) -> Spool:
        """Download the file. Raises the fault of the last try."""
        context, policy = self._api.connection.context, self._api.connection.retry
        tries = most = 0
        while True:
            try:
                broken = run_without_loop(self._attempt())
            except NoRoom as error:
                raise CannotWrite(str(error), place=self._file_id, fix=error.fix) from error
            if broken is None:
                return self.spool
            if self._api.renew_key(broken.fault):
                continue
            # A try that brought more than any before it starts a new count.
            tries = tries + 1 if self.spool.size <= most else 1
            most = max(most, self.spool.size)
            decision = broken.failure and retry.decide(
                tries, broken.failure, policy, now=context.now(), random=context.random
            )
            if not isinstance(decision, RetryAfter):
                raise broken.fault
            context.note(f"{broken.fault.clause}: {decision.notice}")
            self._api.sleep(decision.seconds)

    async def _attempt(self) -> _Break | None:
        """Ask for what is missing. Returns None once nothing is."""
        request = self._api.content_request(self._file_id, self.spool.size)
        limits = self._api.connection.server.limits
        between_s = limits.between_bytes_s
        request.extensions["timeout"] = {
            "connect": limits.connect_s,
            "read": between_s,
            "write": between_s,
            "pool": limits.connect_s,
        }
        try:
            response = await self._send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _broken_by(error, request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            if response.status_code == 416 and self.spool.size:
                return self._ended(response)
            if not response.is_success:
                return await _refusal(response, request)
            return await self._read(response, request)
        finally:
            await stream.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The reply, also from another origin where the provider keeps its files."""
        context = self._api.connection.context
        for _ in range(_MOST_REDIRECTS + 1):
            if context.detail is not None:
                context.detail(f"> {request.method} {request.url.copy_with(query=None)}")
            response = await context.transport.handle_async_request(request)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            await response.aclose()
            request = _redirected(request, location)
        raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)

    async def _read(self, response: httpx.Response, request: httpx.Request) -> _Break | None:
        headers = headers_by_name(response)
        is_packed = headers.get("content-encoding", "").strip().lower() not in ("", "identity")
        if response.status_code != 206:
            self._begin_again()
        elif is_packed or not self._continues(response):
            self._begin_again()
            return self._short("the server sent another part of the file than requested")
        end = self.spool.size + int(headers.get("content-length") or -1)
        try:
            async for piece in ReplyBody(response, headers, request, is_file=True):
                self.spool.write(piece)
        except httpx.HTTPError as error:
            if is_packed:
                self._begin_again()
            return _broken_by(error, request)
        if "content-length" in headers and not is_packed and self.spool.size != end:
            return self._short(f"{self.spool.size} of {end} bytes came")
        total = _total(response)
        if response.status_code == 206 and total is not None and self.spool.size < total:
            return self._short(f"{self.spool.size} of {total} bytes came")
        return None

    def _ended(self, response: httpx.Response) -> _Break | None:
        """None if a file has no more bytes than came: the connection broke after the last one."""
        total = _total(response)
        if total is None or total == self.spool.size:
            return None
        self._begin_again()
        return self._short(f"the file has {total} bytes now")

    def _begin_again(self) -> None:
        self.spool.close()
        self.spool = Spool(Room(_NO_LIMIT))

    def _short(self, what: str) -> _Break:
        return _Break(BrokenAnswer(what, place=self._file_id, fix="try again"), FailedAttempt())

    def _continues(self, response: httpx.Response) -> bool:
        """Return True if a part of the file continues where the last one broke off."""
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        start = found and found[1]
        return start is not None and int(start) == self.spool.size


def _total(response: httpx.Response) -> int | None:
    """The bytes of the whole file, as a reply about a part of it names them."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    total = found and found[2]
    return None if total is None else int(total)


def _broken_by(error: Exception, request: httpx.Request) -> _Break:
    answer, failure = answer_from_error(error, request)
    assert answer.fault is not None
    return _Break(answer.fault, failure)


async def _refusal(response: httpx.Response, request: httpx.Request) -> _Break:
    headers = headers_by_name(response)
    answer, failure, _ = await read_without_secrets(response, headers, request, JsonBodyReceiver())
    fault = answer.fault or BrokenAnswer(f"unexpected status {response.status_code}", fix="try again")
    if fault.http_status in GONE:
        fault.fix = "results are kept for a limited time: see the provider's documentation"
    return _Break(fault, failure)


def _redirected(request: httpx.Request, location: str) -> httpx.Request:
    """The same GET of another URL. Another origin has to be https, and gets nothing of ours.

    Raises BadConfiguration.
    """
    url, target = request.url, request.url.join(location)
    if (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port):
        headers = httpx.Headers(request.headers)
        headers.pop("host", None)
        return httpx.Request("GET", target, headers=headers, extensions=request.extensions)
    if target.scheme != "https":
        what = f"the file is redirected to '{target.scheme}://{urlsplit(str(target)).netloc}'"
        raise BadConfiguration(what, fix="only https is followed to another server")
    kept = {name: request.headers[name] for name in ("range",) if name in request.headers}
    extensions = {"timeout": request.extensions["timeout"]}
    return httpx.Request("GET", target, headers=kept, extensions=extensions)
