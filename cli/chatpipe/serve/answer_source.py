"""The source that answers in place of the model: recordings, another server, or the first, then the second.

A request that was recorded gets its recording. Another one is passed on to the other server, and recorded;
without that server it is 404.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatpipe.errors import ChatpipeError
from chatpipe.local.model import Reply
from chatpipe.options.serve import FaultRule
from chatpipe.recordings.exchange_record import RecordedRequest, request_body
from chatpipe.recordings.try_counter import TryCounter
from chatpipe.serve.exchange_recorder import ExchangeListener, ExchangeRecorder
from chatpipe.serve.replayed_reply import Replay
from chatpipe.serve.reply_steps import LaterReply, ReplyPlan, Step
from chatpipe.serve.router import error_reply, is_chat
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.upstream import Upstream

_API_ROOT = "/v1/"
_CHANGED = "a recording can no longer be read, because its file was changed"
_NOT_RECORDED = ("HEAD", "OPTIONS")


class AnswerSource:
    """Answers in place of the model. At least one of replay and upstream is given."""

    def __init__(
        self,
        counter: TryCounter,
        replay: Replay | None,
        upstream: Upstream | None,
        recorder: ExchangeRecorder | None,
        warn: Callable[[str], None],
    ) -> None:
        self._warn = warn
        self._counter = counter
        self._replay = replay
        self._upstream = upstream
        self._recorder = recorder

    @property
    def answers_all(self) -> bool:
        """True if it answers requests outside the API, too."""
        return self._upstream is not None

    def reply_to(self, request: ServedRequest) -> LaterReply:
        """The reply, which is looked for when it begins: a request that a limit refuses is none."""
        return _ChosenReply(self, request)

    def choose(self, request: ServedRequest) -> LaterReply:
        """The reply to a request that is answered now."""
        replay, upstream = self._replay, self._upstream
        if upstream is not None and (
            (replay is None and self._recorder is None) or not _is_recorded(request)
        ):
            return upstream.reply_to(request, ExchangeListener())
        method = "GET" if request.method == "HEAD" else request.method
        numbered = self._counter.begin(RecordedRequest(method, request.path, request_body(request.body)))
        try:
            found = None if replay is None else replay.find(numbered, exactly=upstream is not None)
            if found is not None:
                return found
            if upstream is None:
                assert replay is not None
                return KnownReply(error_reply(404, replay.miss(numbered), type="no_recording"))
        except ChatpipeError as fault:  # the file has changed, and another try would not mend it
            self._warn(_CHANGED)
            return KnownReply(error_reply(404, f"{_CHANGED}: {fault}", type="no_recording"))
        if self._recorder is None:
            return upstream.reply_to(request, ExchangeListener())
        return upstream.reply_to(request, self._recorder.begin(request.headers, numbered))

    def is_at(self, port: int) -> bool:
        """Return True if the other server is the one at this port of this machine."""
        return self._upstream is not None and self._upstream.is_at(port)

    async def aclose(self) -> None:
        if self._upstream is not None:
            await self._upstream.aclose()
        for each in (self._replay, self._recorder):
            if each is not None:
                each.close()


class KnownReply:
    """A reply that is known now."""

    def __init__(self, reply: Reply) -> None:
        self.faults: Sequence[FaultRule] = ()
        self._reply = reply

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        plan.status, plan.pieces = self._reply.status, self._reply.pieces
        plan.headers = (*self._reply.headers, *plan.headers)
        return iter(())

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class _ChosenReply:
    """A reply whose source is chosen when it begins."""

    def __init__(self, source: AnswerSource, request: ServedRequest) -> None:
        self.faults: Sequence[FaultRule] = ()
        self._source = source
        self._request = request
        self._reply: LaterReply | None = None

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        self._reply = self._source.choose(self._request)
        self._reply.faults = self.faults
        return self._reply.begin(plan)

    def close(self) -> None:
        if self._reply is not None:
            self._reply.close()


def _is_recorded(request: ServedRequest) -> bool:
    if request.method in _NOT_RECORDED:
        return False
    return request.path.startswith(_API_ROOT) or is_chat(request)
