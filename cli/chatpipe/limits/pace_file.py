"""The file of `--pace-file`: rate limits that several processes on a machine share, JSON by origin.

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
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from chatpipe.errors import BadInput, CannotWrite, TryLater, reason
from chatpipe.inputs.values import NotJSON, dumps, loads
from chatpipe.limits.shared_state import LEASE_S, POLL_INTERVAL_S, SharedState
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.descriptor import system_remedy
from chatpipe.system.lock import FileLocked, LockedFile, LockPatience
from chatpipe.system.regular_file import open_own, read_at, write_all_at

_T = TypeVar("_T")
_MAGIC = b'{"chatpipe_pace":1,'
_MOST_BYTES = 1 << 20  # room for some thousand processes
_UNLIMITED = 1 << 30  # slots
_QUEUE_TIMEOUT_S = 2.0  # a process that has not polled for this long leaves the queue
# Smaller steps are no set-back: processes read the clock before they wait for the lock.
_SET_BACK_S = 1.0


# Calls a function after this many seconds, as the call_later of an event loop does.
CallLater = Callable[[float, Callable[[], None]], object]


class _Deferred(NamedTuple):
    """A change that waits for the lock."""

    origin: str
    now: float
    change: Callable[[SharedState], None]


class PaceFile:
    """A file of shared rate limits, opened or created with mode 0600 by the constructor.

    A file of another kind is refused and left alone. origin is scheme, host and port; now is Unix
    time. call_later belongs to the event loop, if there is one: with it, changes that wait for the lock are
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

        def book(shared: SharedState) -> float:
            self._renew(shared, now)
            return shared.book(tokens, rpm, tpm, now)

        return self._change(origin, now, book)

    def opens_in_s(self, origin: str, rpm: float | None, tpm: float | None, now: float) -> float:
        """The seconds that reserve() would return. Nothing is reserved."""
        return self._query(origin, now, lambda shared: shared.opens_at(rpm, tpm, now) - now)

    def settle(self, origin: str, reserved: int, used: int | None, now: float) -> None:
        """Like RateLimiter.settle."""
        if used is None or used == reserved:
            return
        more = used - reserved
        self._change_soon(origin, now, lambda shared: shared.adjust(more, now))

    def pause_until(self, origin: str, until: float, now: float) -> None:
        """Like RateLimiter.pause, for all processes."""
        self._change_soon(origin, now, lambda shared: shared.pause(until, now))

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

        def take(shared: SharedState) -> float:
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
        return self._change(origin, now, SharedState.refuse)

    def release_slot(self, origin: str, now: float, *, answered: bool = False) -> None:
        """Release a slot that was acquired."""

        def release(shared: SharedState) -> None:
            if answered:
                shared.record_answer()
            slots, end = shared.leases.pop(self._process, (0, 0.0))
            shared.record_release(now)
            if slots > 1:
                shared.leases[self._process] = (slots - 1, end)

        self._change_soon(origin, now, release)

    def _missing(self, shared: SharedState, jobs: int, now: float) -> int:
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

    def _renew(self, shared: SharedState, now: float) -> None:
        if self._process in shared.leases:
            shared.leases[self._process] = (shared.leases[self._process][0], now + LEASE_S)

    def _query(self, origin: str, now: float, query: Callable[[SharedState], _T]) -> _T:
        return self._locked(lambda: query(self._read(now)[0].get(origin) or SharedState()))

    def _change(self, origin: str, now: float, change: Callable[[SharedState], _T]) -> _T:
        def read_modify_write() -> _T:
            origins, size = self._read(now)
            for earlier in self._deferred:
                earlier.change(origins.setdefault(earlier.origin, SharedState()))
            result = change(origins.setdefault(origin, SharedState()))
            self._write({name: one for name, one in origins.items() if not one.is_idle(now)}, size, now)
            self._deferred.clear()
            return result

        return self._locked(read_modify_write)

    def _change_soon(self, origin: str, now: float, change: Callable[[SharedState], None]) -> None:
        """Change the state now, or with the next call that gets the lock."""
        try:
            self._change(origin, now, change)
        except (FileLocked, TryLater, CannotWrite, BadInput):
            # The answer is there, and must not be lost for this. The next reservation reports the error.
            self._deferred.append(_Deferred(origin, now, change))
            if self._call_later is not None and not self._is_scheduled:
                self._is_scheduled = True
                self._call_later(POLL_INTERVAL_S[1], self._retry)

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
            fd = open_own(self._path, flags, 0o600)
        except (OSError, ValueError) as error:
            if os.path.islink(self._path):  # the system calls it too many links
                raise self._foreign("a symbolic link") from error
            raise self._unusable(error) from error
        if fd is None:
            raise self._foreign("not a regular file")
        return fd

    def _read(self, now: float) -> tuple[dict[str, SharedState], int]:
        """The origins in the file, and its size in bytes. An empty, cut or torn file has no origins."""
        data = read_at(self._file.fd, _MOST_BYTES, 0)
        size = len(data)
        if size == _MOST_BYTES:
            raise self._foreign("too large for a pace file")
        if not data.strip(b"\0 \n"):  # NULs are what some file systems leave after a power cut
            return {}, size
        if not (data.startswith(_MAGIC) or _MAGIC.startswith(data)):
            raise self._foreign("not a pace file")
        try:
            document = loads(data)
        except NotJSON:
            return {}, size
        try:
            origins = {str(name): SharedState(value) for name, value in document["origins"].items()}
            seen = float(document["seen"])
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise self._foreign("not a pace file of this version") from error
        if 0 < now < seen - _SET_BACK_S:
            for shared in origins.values():
                shared.set_back(seen - now)
        return origins, size

    def _write(self, origins: dict[str, SharedState], size: int, now: float) -> None:
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
