"""The tries of one line at several servers.

A try is a round of one attempt at each server: a failed attempt is repeated at the next one, and the try
counts once every server has failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

import httpx

from chatpipe.errors import BrokenAnswer, ChatpipeError, NoAccess, ReplyTooLong, Unreachable
from chatpipe.exchange import NO_HOOKS, Hooks
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import Outcome
from chatpipe.response import judge
from chatpipe.server.request_extensions import DEADLINE, RECORDED_AS
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter
from chatpipe.wire.server_requests import was_replayed

_UNAUTHORIZED = 401
# Time-outs: ours, which has no status, the server's and a gateway's.
_TIME_OUTS = (None, 408, 504, 524)


class Diagnosis(Enum):
    """The meaning of an attempt for its line and for its server."""

    ANSWERED = "the line has its answer"
    FINAL = "no other server can do better"
    BROKEN = "no other server is asked, because the broken answer may have been paid for"
    EMPTY = "no other server is asked, because the empty answer has been paid for"
    BUSY = "the server has no room: the attempt counts as none"
    DOWN = "no connection: the server is at fault"
    LOST = "the connection broke"
    FAILED = "the server failed"
    SPENT = "time or tokens went into it: the try counts"
    REFUSED = "the server refuses the line, which fails if every server does"


ANSWERED = Diagnosis.ANSWERED  # see OK in options/outcomes.py
_USELESS = {Outcome.broken: Diagnosis.BROKEN, Outcome.empty: Diagnosis.EMPTY}


class ServerFailure(NamedTuple):
    """The failure of a line at one server. attempt is None if the same server would fail again."""

    diagnosis: Diagnosis
    answer: Answer
    attempt: FailedAttempt | None

    @property
    def fault(self) -> ChatpipeError:
        assert self.answer.fault is not None
        return self.answer.fault


class LineTries(Hooks):
    """The tries of one line, and the hooks of its attempts, each of which is the only one at its server.

    failures has those of this round, by the index of the server. lacking has the indices of the servers
    without its model. tries counts the rounds that have begun; has_begun is True once the line was sent
    anywhere. heard is the time of the last head of a reply, a reading of clock. was_lost: a connection broke
    under it, or it was taken from a server that gave no sign of life.
    """

    __slots__ = (
        "_attempt",
        "_clock",
        "_inner",
        "_is_busy",
        "_post",
        "failures",
        "has_begun",
        "heard",
        "lacking",
        "tries",
        "was_lost",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.tries = 1
        self.has_begun = False
        self.failures: dict[int, ServerFailure] = {}
        self.lacking: frozenset[int] = frozenset()
        self.heard = 0.0
        self._attempt: FailedAttempt | None = None
        self._is_busy = False
        self.was_lost = False
        self._inner = NO_HOOKS
        self._post: httpx.Request | None = None

    def may_go_to(self, index: int) -> bool:
        """True if the server with this index has not failed in this round, and has the model."""
        return index not in self.failures and index not in self.lacking

    def prepare(self, post: httpx.Request) -> None:
        """Begin an attempt with a request of its own. All share what the first one has as extensions."""
        if self._post is not None:
            for name in (DEADLINE, RECORDED_AS):
                post.extensions[name] = self._post.extensions.get(name)
        self._post = post
        self._attempt = None
        self._is_busy = False

    @property
    def was_replayed(self) -> bool:
        """True if the last attempt had its reply from a recording."""
        return self._post is not None and was_replayed(self._post)

    def around(self, hooks: Hooks) -> Hooks:
        """These hooks, with those of the pace in them."""
        self._inner = hooks
        return self

    def before_attempt(self) -> Awaitable[None] | None:
        self._attempt = None
        return self._inner.before_attempt()

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self.heard = self._clock()
        self._inner.on_reply(status, headers)

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        decision = self._inner.decide(failure)
        if failure.status == _UNAUTHORIZED and isinstance(decision, RetryAfter):
            return decision  # the key is renewed, see key_renewal.py
        self._attempt = failure
        self._is_busy = retry.is_busy(failure) and retry.is_retryable(failure)
        return GiveUp(GiveUpReason.NOT_RETRYABLE)

    def abandon(self) -> None:
        """End the attempt at a server that is given up."""
        self._attempt = FailedAttempt()

    def judge(self, answer: Answer) -> Diagnosis:
        """The diagnosis of the last attempt, which came to this answer."""
        diagnosis = self._diagnosis(answer)
        if diagnosis is not ANSWERED and diagnosis is Diagnosis.LOST:
            # A line that costs one connection after another may be what breaks them.
            diagnosis = Diagnosis.SPENT if self.was_lost else diagnosis
            self.was_lost = True
        return diagnosis

    def _diagnosis(self, answer: Answer) -> Diagnosis:
        fault, attempt = answer.fault, self._attempt
        if fault is None:
            useless = judge.useless_outcome(answer.completion or {})
            return ANSWERED if useless is None else _USELESS[useless]
        if not fault.reached_server:
            return Diagnosis.DOWN
        if attempt is None:
            return _without_attempt(answer, fault)
        if self._is_busy:
            return Diagnosis.BUSY
        if not retry.is_retryable(attempt):
            return Diagnosis.REFUSED
        if attempt.has_lost_kept or (isinstance(fault, Unreachable) and fault.http_status is None):
            return Diagnosis.LOST
        return Diagnosis.SPENT if attempt.status in _TIME_OUTS else Diagnosis.FAILED

    def fail(self, index: int, diagnosis: Diagnosis, answer: Answer) -> None:
        """Record that this round has failed at the server with this index."""
        attempt = None if diagnosis is Diagnosis.REFUSED else self._attempt
        self.failures[index] = ServerFailure(diagnosis, answer, attempt)

    def is_late(self, seconds: float) -> bool:
        """True if the deadline passes within this many seconds."""
        deadline = None if self._post is None else self._post.extensions.get(DEADLINE)
        return deadline is not None and self._clock() + seconds >= deadline

    def begin_round(self) -> None:
        """Begin another round, without the servers that have refused the line."""
        self.failures = {
            index: each for index, each in self.failures.items() if each.diagnosis is Diagnosis.REFUSED
        }

    def decisive(self) -> ServerFailure:
        """The failure that stands for a round that has failed everywhere.

        The most informative one counts: the refusal of the line, then that of a key, and last a server that
        cannot be reached. Among equals the first server counts, so that equal lines fail alike.
        """
        return min((self.failures[index] for index in sorted(self.failures)), key=_rank)

    @property
    def is_refused(self) -> bool:
        """True if every server that can be reached has refused the line."""
        diagnoses = {each.diagnosis for each in self.failures.values()}
        return Diagnosis.REFUSED in diagnoses and diagnoses <= {Diagnosis.REFUSED, Diagnosis.DOWN}


def _rank(failure: ServerFailure) -> int:
    if failure.diagnosis is Diagnosis.REFUSED:
        return 1 if isinstance(failure.fault, NoAccess) else 0
    return 3 if failure.diagnosis is Diagnosis.DOWN else 2


def _without_attempt(answer: Answer, fault: ChatpipeError) -> Diagnosis:
    """The diagnosis of a reply that is not asked for again at the same server.

    Another server may do better if the key is of no use, or if what came is no answer at all.
    """
    if isinstance(fault, NoAccess):
        return Diagnosis.REFUSED
    if not isinstance(fault, BrokenAnswer) or isinstance(fault, ReplyTooLong):
        return Diagnosis.FINAL
    has_part = answer.completion is not None or (answer.body or b"").lstrip().startswith(b"{")
    return Diagnosis.BROKEN if has_part else Diagnosis.REFUSED
