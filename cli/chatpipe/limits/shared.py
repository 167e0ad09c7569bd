"""Rate limits that several processes on a machine share: the file of `--pace-file`, JSON by origin.

    {"chatpipe_pace":1,"seen":T,"origins":{"https://host":{"requests":[per_minute,anchor,booked],
     "tokens":[...],"until":T,"postponed":S,"held":{PROCESS:[slots,expires]},"waiting":{PROCESS:T},
     "freed":[T,S],"room":[N,ANSWERS]}}}

PROCESS is namespace/pid/random; slots is the number of its requests in flight. "freed" is the time
at which a slot was last released, and the mean time between two releases. "room" is the number of slots
since a refusal, and the answers since it last changed.

Every call is one read-modify-write under an exclusive flock. It takes about 30 us, which is short
enough to block even an event loop. A process may hold the lock for longer, when it is stopped or on a
slow file system. Calls that reserve something then raise FileLocked, and the caller tries again; the
others are remembered, and take effect soon, or with the next call that gets the lock. The file is written in
place, in one write, which stays below a page for up to some thirty processes. A kill therefore leaves
either the old or the new text. A torn file is recognised by its beginning and starts empty.

Times are Unix time, although Linux has a monotonic clock common to all processes: the file survives
a reboot, and that clock does not. If the clock is set back, all times in the file are set back too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from chatpipe.errors import BadInput, CannotWrite, TryLater, reason
from chatpipe.inputs.values import NotJSON, Value, dumps, loads
from chatpipe.limits.rate import Bucket
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import SharedLimits
from chatpipe.system.descriptor import open_regular, read_blocks, system_remedy, write_all_at
from chatpipe.system.lock import FileLocked, LockedFile, LockPatience

_T = TypeVar("_T")
_MAGIC = b'{"chatpipe_pace":1,'
# The slots of a process that has ended are free at once. The lease is for a process in another
# container, which cannot be checked. Every call of the process renews it.
LEASE_S = 900.0
# The interval between two polls while all slots are taken. The lower bound costs hardly any CPU
# time, and nobody notices the upper one. In between it is a quarter of the mean time between releases.
_POLL_INTERVAL_S = (0.001, 0.05)
_GAP_SHARE = 1 / 4
_ROOM_REST = 16  # answers before one more at a time is tried
_UNLIMITED = 1 << 30  # slots
_GAP_WEIGHT = 1 / 8  # of the latest gap in the mean
_QUEUE_TIMEOUT_S = 2.0  # a process that has not polled for this long leaves the queue
# Smaller steps are no set-back: processes read the clock before they wait for the lock.
_SET_BACK_S = 1.0


class _SharedState:
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
        at, gap_s = value.get("freed") or (0.0, _POLL_INTERVAL_S[1] / _GAP_SHARE)
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
        least_s, most_s = _POLL_INTERVAL_S
        return min(max(gap_s * (before_me + 1) * _GAP_SHARE, least_s), most_s)


# Calls a function after so many seconds: that of an event loop.
CallLater = Callable[[float, Callable[[], None]], object]


class _Deferred(NamedTuple):
    """A change that waits for the lock."""

    origin: str
    now: float
    change: Callable[[_SharedState], None]


class PaceFile:
    """A file of shared rate limits, opened or created with mode 0600 by the constructor.

    A file of another kind is refused and left alone. origin is scheme, host and port; now is Unix
    time. call_later is that of the event loop, if there is one: with it, changes that wait for the lock are
    tried again. Every method raises BadInput and CannotWrite. Those that return something also raise
    FileLocked, and TryLater when the patience is at its end.
    """

    def __init__(
        self, path: str, patience: LockPatience | None = None, call_later: CallLater | None = None
    ) -> None:
        self._path = path
        self._call_later = call_later
        self._is_scheduled = False
        self._is_closed = False
        self._patience = patience or LockPatience(lambda text: None)
        self._deferred: list[_Deferred] = []
        self._process = f"{_namespace()}/{os.getpid()}/{os.urandom(4).hex()}"
        self._file = LockedFile(self._open)
        try:
            with suppress(FileLocked):  # the next call reads it, too
                self._locked(lambda: self._read(0.0))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file. What still waits for the lock is tried once more, and else dropped.

        The slots of a process that has ended are free, and tokens count as reserved.
        """
        self._is_closed = True
        try:
            self._apply_deferred()
        finally:
            self._file.close()

    def reserve(self, origin: str, tokens: int, rpm: float | None, tpm: float | None, now: float) -> float:
        """Like RateLimiter.reserve, for all processes together. rpm and tpm are the caller's limits."""

        def book(shared: _SharedState) -> float:
            shared.requests = _with_limit(shared.requests, rpm)
            shared.tokens = _with_limit(shared.tokens, tpm)
            self._renew(shared, now)
            start = max([now, shared.pause_end, *(bucket.opens_at() for bucket in shared.buckets())])
            if shared.requests is not None:
                shared.requests.book(1, start)
            if shared.tokens is not None:
                shared.tokens.book(tokens, start)
            return max(0.0, start - now)

        return self._change(origin, now, book)

    def settle(self, origin: str, reserved: int, used: int | None, now: float) -> None:
        """Like RateLimiter.settle."""
        if used is None or used == reserved:
            return
        more = used - reserved

        def correct(shared: _SharedState) -> None:
            if shared.tokens is not None:
                shared.tokens.adjust(more, now)

        self._change_soon(origin, now, correct)

    def pause_until(self, origin: str, until: float, now: float) -> None:
        """Like RateLimiter.pause, for all processes."""

        def pause(shared: _SharedState) -> None:
            longer_s = until - max(now, shared.pause_end)
            if longer_s <= 0:
                return
            shared.pause_end = until
            shared.postponed_s += longer_s
            for bucket in shared.buckets():
                bucket.postpone(longer_s)

        self._change_soon(origin, now, pause)

    def pause_left(self, origin: str, now: float) -> float:
        """Like RateLimiter.pause_left."""
        return self._query(origin, now, lambda shared: max(0.0, shared.pause_end - now))

    def postponed_s(self, origin: str, now: float) -> float:
        """Like RateLimiter.postponed_s."""
        return self._query(origin, now, lambda shared: shared.postponed_s)

    def acquire_slot(self, origin: str, jobs: int | None, now: float) -> float:
        """Acquire one of jobs slots. Returns 0 if it is acquired, else the seconds until the next try.

        jobs is None without a limit. There are never more slots than the server has room for.

        Processes get slots in the order in which they asked, one slot each, so a large batch and a
        single `ask` alternate.
        """

        def take(shared: _SharedState) -> float:
            self._renew(shared, now)
            limits = [limit for limit in (jobs, shared.room) if limit is not None]
            missing = self._missing(shared, min(limits, default=_UNLIMITED), now)
            if missing <= 0:
                slots, _ = shared.leases.get(self._process, (0, 0.0))
                shared.leases[self._process] = (slots + 1, now + LEASE_S)
                shared.queue.pop(self._process, None)
                return 0.0
            shared.queue[self._process] = now
            return shared.poll_interval_s(missing - 1, now)

        return self._change(origin, now, take)

    def refuse(self, origin: str, now: float) -> int:
        """Learn from a refusal of a request that has a slot: the server has room for the others.

        Returns their number.
        """

        def learn(shared: _SharedState) -> int:
            others = shared.in_flight() - 1
            shared.room = max(1, others if shared.room is None else min(shared.room, others))
            shared.answers = 0
            return others

        return self._change(origin, now, learn)

    def release_slot(self, origin: str, now: float, *, answered: bool = False) -> None:
        """Release a slot that was acquired."""

        def release(shared: _SharedState) -> None:
            if answered:
                shared.record_answer()
            slots, end = shared.leases.pop(self._process, (0, 0.0))
            shared.record_release(now)
            if slots > 1:
                shared.leases[self._process] = (slots - 1, end)

        self._change_soon(origin, now, release)

    def _missing(self, shared: _SharedState, jobs: int, now: float) -> int:
        """Number of slots that must be released before one is ours; 0 or less if one is free now."""
        if not shared.queue and shared.in_flight() < jobs:
            return 0
        shared.leases = {
            name: (slots, end)
            for name, (slots, end) in shared.leases.items()
            if name == self._process or (end > now and _may_be_alive(name))
        }
        shared.queue = {
            name: polled
            for name, polled in shared.queue.items()
            if name == self._process or (polled > now - _QUEUE_TIMEOUT_S and _may_be_alive(name))
        }
        queue = list(shared.queue)
        before_me = queue.index(self._process) if self._process in shared.queue else len(queue)
        return shared.in_flight() + before_me + 1 - jobs

    def _renew(self, shared: _SharedState, now: float) -> None:
        if self._process in shared.leases:
            shared.leases[self._process] = (shared.leases[self._process][0], now + LEASE_S)

    def _query(self, origin: str, now: float, query: Callable[[_SharedState], _T]) -> _T:
        return self._locked(lambda: query(self._read(now)[0].get(origin) or _SharedState()))

    def _change(self, origin: str, now: float, change: Callable[[_SharedState], _T]) -> _T:
        def read_modify_write() -> _T:
            origins, size = self._read(now)
            for earlier in self._deferred:
                earlier.change(origins.setdefault(earlier.origin, _SharedState()))
            result = change(origins.setdefault(origin, _SharedState()))
            self._write({name: one for name, one in origins.items() if not one.is_idle(now)}, size, now)
            self._deferred.clear()
            return result

        return self._locked(read_modify_write)

    def _change_soon(self, origin: str, now: float, change: Callable[[_SharedState], None]) -> None:
        """Change the state now, or with the next call that gets the lock."""
        try:
            self._change(origin, now, change)
        except (FileLocked, TryLater, CannotWrite, BadInput):
            # The answer is there, and must not be lost for this. The next reservation reports the error.
            self._deferred.append(_Deferred(origin, now, change))
            if self._call_later is not None and not self._is_scheduled:
                self._is_scheduled = True
                self._call_later(_POLL_INTERVAL_S[1], self._retry)

    def _retry(self) -> None:
        self._is_scheduled = False
        if not self._is_closed:
            self._apply_deferred()

    def _apply_deferred(self) -> None:
        if self._deferred:
            last = self._deferred.pop()
            self._change_soon(last.origin, last.now, last.change)

    def _locked(self, action: Callable[[], _T]) -> _T:
        try:
            result = self._file.run(action)
        except OSError as error:
            raise self._unusable(error) from error
        except FileLocked:
            self._patience.check(self._path)
            raise
        self._patience.reset()
        return result

    def _open(self) -> int:
        # NOFOLLOW, NONBLOCK: do not follow a link or wait for a FIFO that somebody put in its place
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = open_regular(self._path, flags, 0o600)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        if fd is None:
            raise self._foreign("not a regular file")
        return fd

    def _read(self, now: float) -> tuple[dict[str, _SharedState], int]:
        """The origins in the file, and its size in bytes. An empty, cut or torn file has no origins."""
        data = b"".join(read_blocks(self._file.fd))
        size = len(data)
        if not data.strip(b"\0 \n"):  # NULs are what some file systems leave after a power cut
            return {}, size
        if not (data.startswith(_MAGIC) or _MAGIC.startswith(data)):
            raise self._foreign("not a pace file")
        try:
            document = loads(data)
        except NotJSON:
            return {}, size
        try:
            origins = {str(name): _SharedState(value) for name, value in document["origins"].items()}
            seen = float(document["seen"])
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise self._foreign("not a pace file of this version") from error
        if 0 < now < seen - _SET_BACK_S:
            for shared in origins.values():
                shared.set_back(seen - now)
        return origins, size

    def _write(self, origins: dict[str, _SharedState], size: int, now: float) -> None:
        value = {name: shared.value() for name, shared in origins.items()}
        data = dumps({"chatpipe_pace": 1, "seen": now, "origins": value}) + b"\n"
        # Padding to the old length is still JSON. It avoids a truncation in a second call: a kill
        # between the two calls would leave the end of the old text after the new one.
        data = data[:-1].ljust(size - 1) + b"\n"
        write_all_at(self._file.fd, data, 0)

    def _foreign(self, what: str) -> BadInput:
        return BadInput(f"'{self._path}' is {what}", place="--pace-file", fix="name another, or remove it")

    def _unusable(self, error: OSError | ValueError) -> CannotWrite:
        what = f"'{self._path}' cannot be used: {reason(error)}"
        return CannotWrite(what, place="--pace-file", fix=system_remedy(error))


class SharedPace:
    """The limits of one server in a pace file, for one call and for a run. A Schedule in Unix time.

    jobs is the number of slots, None if the processes share none. Every method raises BadInput and
    CannotWrite.
    """

    __slots__ = ("_file", "_origin", "_rpm", "_tpm", "jobs")

    def __init__(self, file: PaceFile, origin: str, limits: SharedLimits) -> None:
        self._file = file
        self._origin = origin
        self._rpm = limits.rpm
        self._tpm = limits.tpm
        self.jobs = limits.pace_jobs

    @property
    def has_slots(self) -> bool:
        return self.jobs is not None

    def reserve(self, tokens: int, now: float) -> float:
        return self._file.reserve(self._origin, tokens, self._rpm, self._tpm, now)

    def settle(self, reserved: int, used: int | None, now: float) -> None:
        self._file.settle(self._origin, reserved, used, now)

    def postponed_s(self, now: float) -> float:
        return self._file.postponed_s(self._origin, now)

    def pause(self, seconds: float, now: float) -> None:
        """Pause all processes for at least this long."""
        self._file.pause_until(self._origin, now + seconds, now)

    def pause_left(self, now: float) -> float:
        return self._file.pause_left(self._origin, now)

    def pause_left_or_lock(self, now: float) -> float:
        """Like pause_left. While another process has the file, the seconds until the next try."""
        try:
            return self.pause_left(now)
        except FileLocked as locked:
            return locked.wait_s

    def acquire_slot(self, now: float) -> float:
        """Acquire a slot. Returns 0 if it is acquired, else the seconds until the next try."""
        try:
            return self._file.acquire_slot(self._origin, self.jobs, now)
        except FileLocked as locked:
            return locked.wait_s

    def release_slot(self, now: float, *, answered: bool = False) -> None:
        self._file.release_slot(self._origin, now, answered=answered)

    def refuse(self, now: float) -> int:
        """Learn from a refusal. Returns the number of other requests at the server, 0 if nobody knows."""
        try:
            return self._file.refuse(self._origin, now)
        except FileLocked:
            return 0


@contextmanager
def open_shared(
    limits: SharedLimits,
    origin: str,
    patience: LockPatience | None = None,
    call_later: CallLater | None = None,
) -> Iterator[SharedPace | None]:
    """The limits that processes share for the server at origin, None without a pace file."""
    if limits.pace_file is None:
        yield None
        return
    file = PaceFile(limits.pace_file, patience, call_later)
    try:
        yield SharedPace(file, origin, limits)
    finally:
        file.close()


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


@functools.cache
def _namespace() -> int:
    """Inode of our PID namespace. In another container the same PID is another process."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        return 0


def _may_be_alive(process: str) -> bool:
    """Return True if a process runs, or runs in another namespace, where only its lease can end it."""
    namespace, _, rest = process.partition("/")
    if namespace != str(_namespace()):
        return True
    try:
        os.kill(int(rest.partition("/")[0]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
