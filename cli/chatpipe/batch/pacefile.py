"""One pace for several processes on a machine: the file named by `--pace-file`, JSON by origin.

    {"chatpipe_pace":1,"seen":T,"origins":{"https://host":{"requests":[per_minute,anchor,booked],
     "tokens":[...],"until":T,"postponed":S,"held":{PROCESS:[places,expires]},"waiting":{PROCESS:T},
     "freed":[T,S]}}}

Every call is one read-modify-write under an exclusive flock, held for some 30 us: short enough to
block for, inside an event loop too. It is written in place, one write below a page for up to
some thirty processes, so a kill leaves either the old or the new text; a torn one is known by its
beginning, and starts afresh.

Times are Unix time, though Linux has a monotonic clock for all processes: the file outlives a
reboot, and that clock does not. When the clock is set back, everything in the file goes with it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import stat
from collections.abc import Callable
from typing import TypeVar

from chatpipe.batch.pace import Bucket
from chatpipe.errors import BadInput, CannotWrite, reason
from chatpipe.inputs.values import NotJSON, Value, dumps, loads

_T = TypeVar("_T")
_MAGIC = b'{"chatpipe_pace":1,'
# A place is given up with its process, which is seen at once. This is for what cannot be seen: a
# process in another container. It is renewed by every call of the process that holds it.
LEASE_S = 900.0
# When all places are taken: between two looks, from where hardly any processor time goes into them up
# to what no person notices; in between a quarter of the time that passes from one free place to the next.
ASK_AGAIN_S = (0.001, 0.05)
_SHARE_OF_GAP = 1 / 4
_WEIGHT = 1 / 8  # of the last such time in their mean
_FORGOTTEN_S = 2.0  # a process that has not asked again for so long waits no more
_SET_BACK_S = 1.0  # several processes read the clock before they get the lock: that is no set-back


class _Origin:
    """What the processes share about one server. requests and tokens are None without a limit.

    freed is when a place was given back last, and the mean time between two of those.
    """

    __slots__ = ("freed", "held", "postponed_s", "requests", "tokens", "until", "waiting")

    def __init__(self, value: Value = None) -> None:
        value = value or {}
        self.requests = _bucket(value.get("requests"))
        self.tokens = _bucket(value.get("tokens"))
        self.until = float(value.get("until", 0.0))
        self.postponed_s = float(value.get("postponed", 0.0))
        self.held = {str(name): (int(places), float(end)) for name, (places, end) in _items(value, "held")}
        self.waiting = {
            str(name): float(asked) for name, asked in _items(value, "waiting")
        }  # first come first
        at, gap_s = value.get("freed") or (0.0, ASK_AGAIN_S[1] / _SHARE_OF_GAP)
        self.freed = (float(at), float(gap_s))

    def value(self) -> Value:
        return {
            "requests": _row(self.requests),
            "tokens": _row(self.tokens),
            "until": self.until,
            "postponed": self.postponed_s,
            "held": self.held,
            "waiting": self.waiting,
            "freed": self.freed,
        }

    def buckets(self) -> list[Bucket]:
        return [bucket for bucket in (self.requests, self.tokens) if bucket is not None]

    def is_idle(self, now: float) -> bool:
        """Whether a fresh one would do as well, for those who wait in a pause too."""
        busy = self.held or self.waiting or self.until > now - LEASE_S
        return not busy and all(bucket.paid_off() <= now for bucket in self.buckets())

    def set_back(self, seconds: float) -> None:
        self.until -= seconds
        for bucket in self.buckets():
            bucket.postpone(-seconds)
        self.held = {name: (places, end - seconds) for name, (places, end) in self.held.items()}
        self.waiting = {name: asked - seconds for name, asked in self.waiting.items()}
        self.freed = (self.freed[0] - seconds, self.freed[1])

    def frees(self, now: float) -> None:
        """A place is given back."""
        at, gap_s = self.freed
        if at:
            gap_s += (max(0.0, now - at) - gap_s) * _WEIGHT
        self.freed = (now, gap_s)

    def ask_again_s(self, before_me: int, now: float) -> float:
        """When to look again, so many places having to be free before it is the turn of who asks.

        The next in turn looks often, or a place would stand empty; those behind it when they may
        have become the next. Where no place was freed for long, none is expected soon.
        """
        at, gap_s = self.freed
        gap_s = max(gap_s, now - at) if at else gap_s
        least_s, most_s = ASK_AGAIN_S
        return min(max(gap_s * (before_me + 1) * _SHARE_OF_GAP, least_s), most_s)


class PaceFile:
    """Opened, or made with mode 0600, at once; a file that is not one of these is refused and left alone.

    origin is scheme, host and port; now is Unix time. Raises BadInput and CannotWrite, from every method.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._me = f"{_namespace()}/{os.getpid()}/{os.urandom(4).hex()}"
        self._fd = self._open()
        try:
            self._locked(lambda: self._read(0.0))
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        os.close(self._fd)

    def reserve(self, origin: str, tokens: int, rpm: float | None, tpm: float | None, now: float) -> float:
        """As Pace.reserve, behind all processes. The limits are those of the caller."""

        def book(shared: _Origin) -> float:
            shared.requests = _with_limit(shared.requests, rpm)
            shared.tokens = _with_limit(shared.tokens, tpm)
            self._renew(shared, now)
            start = max([now, shared.until, *(bucket.opens() for bucket in shared.buckets())])
            if shared.requests is not None:
                shared.requests.book(1, start)
            if shared.tokens is not None:
                shared.tokens.book(tokens, start)
            return max(0.0, start - now)

        return self._change(origin, now, book)

    def settle(self, origin: str, reserved: int, used: int | None, now: float) -> None:
        """As Pace.settle."""
        if used is None or used == reserved:
            return
        more = used - reserved

        def correct(shared: _Origin) -> None:
            if shared.tokens is not None:
                shared.tokens.correct(more, now)

        self._change(origin, now, correct)

    def pause_until(self, origin: str, until: float, now: float) -> None:
        """As Pace.pause, for all processes."""

        def pause(shared: _Origin) -> None:
            longer_s = until - max(now, shared.until)
            if longer_s <= 0:
                return
            shared.until = until
            shared.postponed_s += longer_s
            for bucket in shared.buckets():
                bucket.postpone(longer_s)

        self._change(origin, now, pause)

    def pause_left(self, origin: str, now: float) -> float:
        return self._look(origin, now, lambda shared: max(0.0, shared.until - now))

    def postponed_s(self, origin: str, now: float) -> float:
        """As Pace.postponed_s."""
        return self._look(origin, now, lambda shared: shared.postponed_s)

    def enter(self, origin: str, jobs: int, now: float) -> float:
        """Take one of `jobs` places: 0 when it is taken, else the seconds after which to ask again.

        Places go to processes in the order of their asking, one each: a large batch and a single
        `ask` beside it take turns.
        """

        def take(shared: _Origin) -> float:
            self._renew(shared, now)
            missing = self._missing(shared, jobs, now)
            if missing <= 0:
                places, _ = shared.held.get(self._me, (0, 0.0))
                shared.held[self._me] = (places + 1, now + LEASE_S)
                shared.waiting.pop(self._me, None)
                return 0.0
            shared.waiting[self._me] = now
            return shared.ask_again_s(missing - 1, now)

        return self._change(origin, now, take)

    def leave(self, origin: str, now: float) -> None:
        """Give back a place that was taken."""

        def give(shared: _Origin) -> None:
            places, end = shared.held.pop(self._me, (0, 0.0))
            shared.frees(now)
            if places > 1:
                shared.held[self._me] = (places - 1, end)

        self._change(origin, now, give)

    def _missing(self, shared: _Origin, jobs: int, now: float) -> int:
        """How many places have to be given back before there is one for us; 0 or less when there is."""
        taken = sum(places for places, _ in shared.held.values())
        if not shared.waiting and taken < jobs:
            return 0
        shared.held = {
            name: (places, end)
            for name, (places, end) in shared.held.items()
            if name == self._me or (end > now and _is_alive(name))
        }
        shared.waiting = {
            name: asked
            for name, asked in shared.waiting.items()
            if name == self._me or (asked > now - _FORGOTTEN_S and _is_alive(name))
        }
        queue = list(shared.waiting)
        before_me = queue.index(self._me) if self._me in shared.waiting else len(queue)
        return sum(places for places, _ in shared.held.values()) + before_me + 1 - jobs

    def _renew(self, shared: _Origin, now: float) -> None:
        if self._me in shared.held:
            shared.held[self._me] = (shared.held[self._me][0], now + LEASE_S)

    def _look(self, origin: str, now: float, look: Callable[[_Origin], _T]) -> _T:
        return self._locked(lambda: look(self._read(now)[0].get(origin) or _Origin()))

    def _change(self, origin: str, now: float, change: Callable[[_Origin], _T]) -> _T:
        def read_modify_write() -> _T:
            origins, size = self._read(now)
            shared = origins.setdefault(origin, _Origin())
            result = change(shared)
            self._write({name: one for name, one in origins.items() if not one.is_idle(now)}, size, now)
            return result

        return self._locked(read_modify_write)

    def _locked(self, action: Callable[[], _T]) -> _T:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            while os.fstat(self._fd).st_nlink == 0:  # deleted under us: the others use a new one
                gone, self._fd = self._fd, self._open()
                os.close(gone)
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                return action()
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            raise self._unusable(error) from error

    def _open(self) -> int:
        # NOFOLLOW and NONBLOCK: a link or a FIFO that somebody put in its place is not followed or waited for
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self._path, flags, 0o600)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise self._foreign("not a regular file")

    def _read(self, now: float) -> tuple[dict[str, _Origin], int]:
        """What is in the file, and its size. Empty, cut or torn: nothing, with which all begin anew."""
        data = b""
        while piece := os.pread(self._fd, 1 << 20, len(data)):
            data += piece
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
            origins = {str(name): _Origin(value) for name, value in document["origins"].items()}
            seen = float(document["seen"])
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise self._foreign("not a pace file of this version") from error
        if 0 < now < seen - _SET_BACK_S:
            for shared in origins.values():
                shared.set_back(seen - now)
        return origins, size

    def _write(self, origins: dict[str, _Origin], size: int, now: float) -> None:
        value = {name: shared.value() for name, shared in origins.items()}
        data = dumps({"chatpipe_pace": 1, "seen": now, "origins": value}) + b"\n"
        # Blanks to the old length are JSON, too, and spare a second call, between which and this one
        # a kill would leave the old end behind the new text.
        data = data[:-1].ljust(size - 1) + b"\n"
        written = os.pwrite(self._fd, data, 0)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], written)

    def _foreign(self, what: str) -> BadInput:
        return BadInput(f"'{self._path}' is {what}", place="--pace-file", fix="name another, or remove it")

    def _unusable(self, error: OSError | ValueError) -> CannotWrite:
        return CannotWrite(f"'{self._path}' cannot be used: {reason(error)}", place="--pace-file")


class Share:
    """One origin of a pace file, seen as a Pace: for `turn`."""

    __slots__ = ("_file", "_origin", "_rpm", "_tpm")

    def __init__(self, file: PaceFile, origin: str, rpm: float | None, tpm: float | None) -> None:
        self._file = file
        self._origin = origin
        self._rpm = rpm
        self._tpm = tpm

    def reserve(self, tokens: int, now: float) -> float:
        return self._file.reserve(self._origin, tokens, self._rpm, self._tpm, now)

    def settle(self, reserved: int, used: int | None, now: float) -> None:
        self._file.settle(self._origin, reserved, used, now)

    def postponed_s(self, now: float) -> float:
        return self._file.postponed_s(self._origin, now)


def _bucket(row: Value) -> Bucket | None:
    if row is None:
        return None
    per_minute, anchor, booked = row
    return Bucket(float(per_minute), float(anchor), booked + 0)


def _row(bucket: Bucket | None) -> Value:
    return None if bucket is None else [bucket.per_minute, bucket.anchor, bucket.booked]


def _with_limit(bucket: Bucket | None, per_minute: float | None) -> Bucket | None:
    """The bucket under another limit: what is booked keeps its time. A caller without one changes nothing."""
    if not per_minute or (bucket is not None and bucket.per_minute == per_minute):
        return bucket
    return Bucket(per_minute, 0.0 if bucket is None else bucket.paid_off())


def _items(value: Value, key: str) -> list[tuple[str, Value]]:
    return list(value.get(key, {}).items())


@functools.cache
def _namespace() -> int:
    """The name space that our process number belongs to: in another container it is another process."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux
        return 0


def _is_alive(process: str) -> bool:
    """Whether a process is there, or may be: one that cannot be seen from here is left to its lease."""
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
