"""The limits of one server that processes share, as one call or one run sees them: see pace_file.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatpipe.limits.pace_file import CallLater, PaceFile
from chatpipe.options.run import SharedLimits
from chatpipe.system.lock import FileLocked, LockPatience


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

    def opens_in_s(self, now: float) -> float:
        """The seconds that reserve() would return. Nothing is reserved."""
        return self._file.opens_in_s(self._origin, self._rpm, self._tpm, now)

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
            return self.try_slot(now)
        except FileLocked as locked:
            return locked.wait_s

    def try_slot(self, now: float) -> float:
        """Like acquire_slot. Raises FileLocked while another process has the file."""
        return self._file.acquire_slot(self._origin, self.jobs, now)

    def release_slot(self, now: float, *, answered: bool = False) -> None:
        self._file.release_slot(self._origin, now, answered=answered)

    def refuse(self, now: float) -> int:
        """Learn from a refusal. Returns the number of other requests at the server, 0 if that is unknown."""
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
