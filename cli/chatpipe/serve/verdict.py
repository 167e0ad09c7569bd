"""The verdict on a client: attempts -> what it did, and where it was wrong. Pure: times are passed in.

The server sees what a client sends, and not what it makes of an answer. So each rule is about the next
attempt of a body: that it came, when, and after what.

early-retry          it came before the wait was over that the refusal had named
useless-retry        it came after a refusal that stays the same
storm                very many came in a second
took-cut-for-whole   it never came, although the answer had been cut
sent-after-success   it came after a good answer
hung-on-stall        it did not come: the client went on waiting for a reply that had stopped
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from typing import Literal

from chatpipe.local.chat_body import ChatBody
from chatpipe.serve.attempts import (
    KEY_BYTES,
    Attempt,
    Outcome,
    beginning_of,
    body_key,
    digest_of,
    first_words,
)
from chatpipe.serve.latest_entries import LatestEntries

Kind = Literal[
    "early-retry", "useless-retry", "storm", "took-cut-for-whole", "sent-after-success", "hung-on-stall"
]
Severity = Literal["wrong", "note"]

# A timer may be early by its own resolution, and no more.
_TOLERANCE_S = 0.05
# A back-off that begins with 0.1 s and doubles makes four attempts in its first second.
_STORM_RETRIES = 5
# Or so many retries without a named wait, less than a second apart, whose waits do not grow: the median of
# the last three is not half as long again as that of the first three. A wait of 0.25 s each time is such.
_FLAT_RETRIES = 8
_FLAT_WAIT_S = 1.0
_FLAT_GROWTH = 1.5
# Refusals in one second, without an answer between them: a client that waits at all gets two or three a
# connection, however many requests it has in flight.
_STORM_REFUSALS = 50
_STORM_REFUSALS_A_CONNECTION = 5
_STALL_S = 30.0

_WINDOW_S = 1.0
# A body is watched while its last attempt may come again, and for some time after its answer.
MOST_OPEN = 16_384
MOST_SETTLED = 4_096
_MOST_ATTEMPTS = 20  # of a body, the last ones
_MOST_REMARKS = 50  # of a kind, the first ones
_MOST_PENDING = 256  # of a body

# A body that came once and was answered as it arrived: the credential, and when that was.
_Answer = tuple[int, float]

_CAN_COME_AGAIN = frozenset({"spoiled", "cut", "refused", "lost", "left"})


class Remark:
    """Something that a client did with a body, times times. words say it of the first time.

    body is None for all bodies together, and its attempts are then empty.
    """

    __slots__ = ("attempts", "first", "key", "kind", "last", "severity", "text", "times", "words")

    def __init__(self, kind: Kind, severity: Severity, body: WatchedBody | None, words: str) -> None:
        self.kind, self.severity, self.words = kind, severity, words
        self.key = None if body is None else digest_of(body.key).hex()
        self.text = "" if body is None else body.text
        self.attempts = list[Attempt]() if body is None else body.attempts
        self.times = 0
        self.first = self.last = 0.0

    def count(self, now: float) -> None:
        self.first = self.first if self.times else now
        self.times += 1
        self.last = now


class WatchedBody:
    """The attempts of one body. pending are those that ended without a good answer and were not repeated.

    answer is the one attempt before, if it was answered.
    """

    __slots__ = (
        "_beginning",
        "answers",
        "attempts",
        "failures",
        "key",
        "lines",
        "pending",
        "remarks",
        "retries",
        "running",
        "times",
        "waits",
    )

    def __init__(self, key: bytes, sent: ChatBody, answer: _Answer | None) -> None:
        self.key = key
        self._beginning = beginning_of(sent) if len(key) == KEY_BYTES else None
        self.attempts: list[Attempt] = []  # the last ones
        self.pending: Sequence[Attempt] = ()
        self.times: Sequence[float] = ()  # of the retries in the last second
        self.waits: Sequence[float] = ()  # before the retries since the last answer: the first and last ones
        self.remarks: dict[tuple[Kind, Severity], Remark] | None = None
        self.lines = 0  # attempts that repeat none
        self.retries = self.answers = self.failures = self.running = 0
        if answer is not None:
            credential, at = answer
            self.attempts.append(Attempt(key, at, credential))
            self.attempts[0].end("answered", 200, (), at, 0.0)
            self.lines = self.answers = 1

    @property
    def text(self) -> str:
        """The first words of its last user message, empty if it has none."""
        if self._beginning is None:  # the key is the text of the body
            return first_words(beginning_of(ChatBody(self.key)))
        return first_words(self._beginning)

    @property
    def has_flat_waits(self) -> bool:
        """True if the client tries again and again without giving the server more time."""
        if len(self.waits) < _FLAT_RETRIES or self.lines > 1:
            return False
        first, last = sorted(self.waits[:3])[1], sorted(self.waits[-3:])[1]
        return last < _FLAT_WAIT_S and last < _FLAT_GROWTH * first

    def take_pending(self, credential: int) -> Attempt | None:
        """The attempt that a new one repeats: the one that may be repeated best. None if it repeats none."""
        if not self.pending:
            return None
        best = min(self.pending, key=lambda each: (each.is_final_for(credential), each.due))
        self.pending = [each for each in self.pending if each is not best]
        return best


class ClientVerdict:
    """Judges the attempts of a server. Its memory is bounded, and its counts are exact all the same."""

    def __init__(self) -> None:
        self._outcomes: dict[Outcome, int] = {}
        self.requests = 0
        self.retries = 0
        self._open: OrderedDict[bytes, WatchedBody] = OrderedDict()
        self._settled = LatestEntries[WatchedBody | _Answer](MOST_SETTLED)
        self._counts: Counter[tuple[Kind, Severity]] = Counter()
        self._remarks: dict[tuple[Kind, Severity], list[Remark]] = {}
        self._refusals: deque[float] = deque()  # of busy servers, in the last second, since the last answer
        self._storm: Remark | None = None
        self._connections = 0  # the most that were open

    @property
    def outcomes(self) -> Counter[Outcome]:
        """The number of attempts that ended in each way."""
        return Counter(self._outcomes)

    # Events

    def answer(self, sent: ChatBody, credential: int, connections: int, now: float) -> None:
        """Judge an attempt that gets a good answer as it arrives.

        It is as begin() and end() of that attempt. Most bodies come once, and of those it keeps the little
        that begin() needs.
        """
        key = body_key(sent)
        if self._refusals or key in self._open or key in self._settled:
            attempt = self.begin(sent, credential, connections, now)
            attempt.end("answered", 200, (), now, 0.0)
            self.end(attempt)
            return
        self.requests += 1
        self._outcomes["answered"] = self._outcomes.get("answered", 0) + 1
        self._settled.add(key, (credential, now))
        if connections > self._connections:
            self._connections = connections

    def begin(self, sent: ChatBody, credential: int, connections: int, now: float) -> Attempt:
        """Judge an attempt when it arrives. connections are those that are open."""
        self.requests += 1
        body = self._body(sent)
        attempt = Attempt(body.key, now, credential)
        body.attempts.append(attempt)
        if len(body.attempts) > _MOST_ATTEMPTS:
            del body.attempts[0]
        body.running += 1
        earlier = body.take_pending(credential) if body.pending else None
        if earlier is None:
            if body.answers:
                self._judge_copy(body, now)
            body.lines += 1
        else:
            self.retries += 1
            body.retries += 1
            self._judge_retry(body, earlier, attempt)
        if connections > self._connections:
            self._connections = connections
        if self._refusals:
            self._judge_load(now)
        return attempt

    def end(self, attempt: Attempt) -> None:
        """Take note of an attempt that has ended."""
        outcome, now = attempt.outcome, attempt.ended
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        body = self._open.get(attempt.key)
        if body is None or not body.running:
            return  # it was given up, because too many were open
        body.running -= 1
        if attempt.stalled_s > _STALL_S:
            words = f"waited {attempt.stalled_s:.0f} s for a reply that had stopped"
            self._add("hung-on-stall", "wrong", body, words, now)
        if outcome == "answered":
            body.answers += 1
            body.waits = ()
            self._refusals.clear()
        else:
            if outcome in _CAN_COME_AGAIN and len(body.pending) < _MOST_PENDING:
                body.failures += 1
                body.pending = [*body.pending, attempt]
            if attempt.is_busy:
                self._refusals.append(now)
        if not (body.running or body.pending):
            self._settle(body)

    # Rules

    def _judge_copy(self, body: WatchedBody, now: float) -> None:
        """Judge an attempt that comes after an answer and repeats no failed one: a copy, or one too many.

        Requests may be the same on purpose. If none of them failed, or they are in flight together, a
        repetition is worth a note only.
        """
        is_wrong = body.failures and not body.running > 1 and body.answers >= body.lines
        words = "sent again after a good answer" + (", after its retries" if is_wrong else "")
        self._add("sent-after-success", "wrong" if is_wrong else "note", body, words, now)

    def _judge_retry(self, body: WatchedBody, earlier: Attempt, attempt: Attempt) -> None:
        now = attempt.began
        waited_s = now - earlier.ended
        if earlier.is_final_for(attempt.credential):
            words = f"sent again after {earlier.status}, which stays the same"
            self._add("useless-retry", "wrong", body, words, now)
        elif earlier.wait_s is not None and waited_s < earlier.wait_s - _TOLERANCE_S:
            words = (
                f"sent again {waited_s:.1f} s after {earlier.status}, which asked for {earlier.wait_s:g} s"
            )
            self._add("early-retry", "wrong", body, words, now)
        if earlier.outcome == "spoiled":
            return
        body.times = [*(time for time in body.times if time >= now - _WINDOW_S), now]
        if len(body.times) > _STORM_RETRIES * body.lines:
            words = f"sent again {len(body.times)} times in a second"
            self._add("storm", "wrong", body, words, now)
            return
        if earlier.wait_s is None:
            waits = [*body.waits, waited_s]
            del waits[_FLAT_RETRIES // 2 : -_FLAT_RETRIES // 2]
            body.waits = waits
        if body.has_flat_waits:
            words = f"sent again {body.retries} times, {waited_s:.2f} s apart, without longer waits"
            self._add("storm", "wrong", body, words, now)

    def _judge_load(self, now: float) -> None:
        """Judge the rate of all requests while the server says that it has too much to do."""
        refusals = self._refusals
        while refusals and refusals[0] < now - _WINDOW_S:
            refusals.popleft()
        if len(refusals) <= max(_STORM_REFUSALS, _STORM_REFUSALS_A_CONNECTION * self._connections):
            return
        if self._storm is None:
            words = f"went on after {len(refusals)} refusals in a second without an answer between them"
            self._storm = Remark("storm", "wrong", None, words)
            self._keep(self._storm)
        self._counts["storm", "wrong"] += 1
        self._storm.count(now)
        refusals.clear()

    # Remarks

    def remarks(self) -> list[Remark]:
        """The remarks so far, the first ones of each kind. A body that is cut may still come again."""
        open_cuts = [cut for body in self._open.values() if (cut := _cut(body)) is not None]
        kept = [remark for each in self._remarks.values() for remark in each]
        return kept + open_cuts[:_MOST_REMARKS]

    def counts(self) -> Counter[tuple[Kind, Severity]]:
        """The number of times of each kind, of all bodies."""
        counts = self._counts.copy()
        for body in self._open.values():
            if (cut := _cut(body)) is not None:
                counts[cut.kind, cut.severity] += cut.times
        return counts

    @property
    def wrong(self) -> int:
        """The number of times that the client was wrong."""
        return sum(count for (_, severity), count in self.counts().items() if severity == "wrong")

    def _add(self, kind: Kind, severity: Severity, body: WatchedBody, words: str, now: float) -> None:
        self._counts[kind, severity] += 1
        remarks = body.remarks = body.remarks or {}
        remark = remarks.get((kind, severity))
        if remark is None:
            remark = remarks[kind, severity] = Remark(kind, severity, body, words)
            self._keep(remark)
        remark.count(now)

    def _keep(self, remark: Remark) -> None:
        kept = self._remarks.setdefault((remark.kind, remark.severity), [])
        if len(kept) < _MOST_REMARKS:
            kept.append(remark)

    # Bodies

    def _body(self, sent: ChatBody) -> WatchedBody:
        """The body, which is open from now on."""
        key = body_key(sent)
        body = self._open.get(key)
        if body is not None:
            self._open.move_to_end(key)
            return body
        settled = self._settled.take(key)
        body = settled if isinstance(settled, WatchedBody) else WatchedBody(key, sent, settled)
        self._open[key] = body
        if len(self._open) > MOST_OPEN:
            _, oldest = self._open.popitem(last=False)
            self._give_up(oldest)
        return body

    def _settle(self, body: WatchedBody) -> None:
        del self._open[body.key]
        self._settled.add(body.key, body)

    def _give_up(self, body: WatchedBody) -> None:
        """Judge a body that is no longer watched, as if it never came again."""
        if (cut := _cut(body)) is not None:
            self._counts[cut.kind, cut.severity] += cut.times
            self._keep(cut)


def _cut(body: WatchedBody) -> Remark | None:
    """The remark about cut answers that were not asked for again, None without any."""
    cuts = [attempt for attempt in body.pending if attempt.outcome == "cut"]
    if not cuts:
        return None
    if body.retries:
        words = f"the last of {len(body.attempts)} attempts was cut, too, and the client gave up or took it"
        remark = Remark("took-cut-for-whole", "note", body, words)
    else:
        words = "its answer was cut, and it was not asked again: the client took it for whole, or gave up"
        remark = Remark("took-cut-for-whole", "wrong", body, words)
    for attempt in cuts:
        remark.count(attempt.ended)
    return remark
