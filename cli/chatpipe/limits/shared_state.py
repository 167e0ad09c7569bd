"""State of one server that processes share in a pace file <-> JSON. Pure: times are passed in."""

from __future__ import annotations

from chatpipe.inputs.values import Value
from chatpipe.limits.bucket import Bucket

# The slots of a process that has ended are free at once. The lease is for a process in another
# container, which cannot be checked. Every call of the process renews it.
LEASE_S = 900.0
# The interval between two polls while all slots are taken. The lower bound costs hardly any CPU
# time, and nobody notices the upper one. In between it is a quarter of the mean time between releases.
POLL_INTERVAL_S = (0.001, 0.05)
_GAP_SHARE = 1 / 4
_ROOM_REST = 16  # answers before one more at a time is tried
_GAP_WEIGHT = 1 / 8  # of the latest gap in the mean


class SharedState:
    """State that the processes share about one server.

    requests and tokens are None without a limit. leases has, by process, the number of slots that
    it holds and the time at which they expire. queue has the processes that wait for a slot, in
    order of arrival, with the time of their last poll. freed is the time at which a slot was last
    released, and the mean time between two releases.
    """

    __slots__ = (
        "answers",
        "freed",
        "leases",
        "pause_end",
        "postponed_s",
        "queue",
        "requests",
        "room",
        "tokens",
    )

    def __init__(self, value: Value = None) -> None:
        value = value or {}
        self.requests = _bucket(value.get("requests"))
        self.tokens = _bucket(value.get("tokens"))
        self.pause_end = float(value.get("until", 0.0))
        self.postponed_s = float(value.get("postponed", 0.0))
        self.leases = {str(name): (int(slots), float(end)) for name, (slots, end) in _items(value, "held")}
        self.queue = {str(name): float(polled) for name, polled in _items(value, "waiting")}
        at, gap_s = value.get("freed") or (0.0, POLL_INTERVAL_S[1] / _GAP_SHARE)
        self.freed = (float(at), float(gap_s))
        room, answers = value.get("room") or (None, 0)
        self.room = None if room is None else int(room)
        self.answers = int(answers)

    def value(self) -> Value:
        return {
            "requests": _row(self.requests),
            "tokens": _row(self.tokens),
            "until": self.pause_end,
            "postponed": self.postponed_s,
            "held": self.leases,
            "waiting": self.queue,
            "freed": self.freed,
            "room": None if self.room is None else [self.room, self.answers],
        }

    def in_flight(self) -> int:
        return sum(slots for slots, _ in self.leases.values())

    def record_answer(self) -> None:
        """Try one more at a time after enough answers."""
        if self.room is not None:
            self.answers += 1
            if self.answers >= _ROOM_REST:
                self.room, self.answers = self.room + 1, 0

    def buckets(self) -> list[Bucket]:
        return [bucket for bucket in (self.requests, self.tokens) if bucket is not None]

    def is_idle(self, now: float) -> bool:
        """Return True if a new origin would do as well.

        A pause is kept for a while after its end, because requests that waited for it still need
        postponed_s.
        """
        is_busy = self.leases or self.queue or self.pause_end > now - LEASE_S
        return not is_busy and all(bucket.paid_off_at() <= now for bucket in self.buckets())

    def set_back(self, seconds: float) -> None:
        self.pause_end -= seconds
        for bucket in self.buckets():
            bucket.postpone(-seconds)
        self.leases = {name: (slots, end - seconds) for name, (slots, end) in self.leases.items()}
        self.queue = {name: polled - seconds for name, polled in self.queue.items()}
        self.freed = (self.freed[0] - seconds, self.freed[1])

    def record_release(self, now: float) -> None:
        at, gap_s = self.freed
        if at:
            gap_s += (max(0.0, now - at) - gap_s) * _GAP_WEIGHT
        self.freed = (now, gap_s)

    def poll_interval_s(self, before_me: int, now: float) -> float:
        """Seconds until the next poll; before_me releases must come before the one that is ours.

        The first in the queue polls often, so that no slot stays empty. The others poll when they
        may have become the first. If no slot was released for long, none is expected soon.
        """
        at, gap_s = self.freed
        gap_s = max(gap_s, now - at) if at else gap_s
        least_s, most_s = POLL_INTERVAL_S
        return min(max(gap_s * (before_me + 1) * _GAP_SHARE, least_s), most_s)

    def opens_at(self, rpm: float | None, tpm: float | None, now: float) -> float:
        """The time of the next start that can be booked. rpm and tpm are the limits of the caller."""
        self.requests = _with_limit(self.requests, rpm)
        self.tokens = _with_limit(self.tokens, tpm)
        return max([now, self.pause_end, *(bucket.opens_at() for bucket in self.buckets())])

    def book(self, tokens: int, rpm: float | None, tpm: float | None, now: float) -> float:
        """Book a start. Returns the seconds until it. rpm and tpm are the limits of the caller."""
        start = self.opens_at(rpm, tpm, now)
        if self.requests is not None:
            self.requests.book(1, start)
        if self.tokens is not None:
            self.tokens.book(tokens, start)
        return max(0.0, start - now)

    def adjust(self, tokens: int, now: float) -> None:
        """Book so many tokens more, or fewer if the number is negative."""
        if self.tokens is not None:
            self.tokens.adjust(tokens, now)

    def pause(self, until: float, now: float) -> None:
        """Pause until a time, unless the pause is longer already."""
        longer_s = until - max(now, self.pause_end)
        if longer_s <= 0:
            return
        self.pause_end = until
        self.postponed_s += longer_s
        for bucket in self.buckets():
            bucket.postpone(longer_s)

    def refuse(self) -> int:
        """Learn from a refusal of a request that has a slot: there is room for the others. Their number."""
        others = self.in_flight() - 1
        self.room = max(1, others if self.room is None else min(self.room, others))
        self.answers = 0
        return others


def _bucket(row: Value) -> Bucket | None:
    if row is None:
        return None
    per_minute, anchor, booked = row
    return Bucket(float(per_minute), float(anchor), booked + 0)


def _row(bucket: Bucket | None) -> Value:
    return None if bucket is None else [bucket.per_minute, bucket.anchor, bucket.booked]


def _with_limit(bucket: Bucket | None, per_minute: float | None) -> Bucket | None:
    """The bucket with another limit; what is booked keeps its time. None or 0 changes nothing."""
    if not per_minute or (bucket is not None and bucket.per_minute == per_minute):
        return bucket
    return Bucket(per_minute, 0.0 if bucket is None else bucket.paid_off_at())


def _items(value: Value, key: str) -> list[tuple[str, Value]]:
    return list(value.get(key, {}).items())
