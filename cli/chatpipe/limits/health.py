"""The state of one server among several: it takes part, is held back for a moment, or is left out.

    no connection --------------------------------------------------> left out
    3 failures in a row -> held back -> others accept 3 of these lines -> left out
    left out -> a wait -> one attempt on trial -> answered: it takes part again
                                               -> failed: a wait twice as long

A failure alone does not say if the server or the request is at fault: another server decides. Meanwhile a
server that fails fast must not attract all requests, because it always has the fewest in flight. One that
could not be reached is asked for a sign of life before it gets an attempt. Pure: now is the reading of a
monotonic clock.
"""

from __future__ import annotations

# Failures without a good answer between them that show that a server is of no use.
IN_A_ROW = 3
# Seconds until a server that was left out is tried again: first, and at most.
WAIT_S = (1.0, 60.0)
# Seconds without a word from a server that has requests after which it is asked for a sign of life: at least,
# and as a multiple of the longest answer so far.
_QUIET = (5.0, 5.0)


class Health:
    """The state of one server.

    is_down is true if it was left out because it could not be reached. on_trial is true while an attempt is
    under way although it does not take part.
    """

    __slots__ = (
        "_due",
        "_failures",
        "_is_there",
        "_next_wait_s",
        "_patience",
        "_proofs",
        "is_down",
        "is_out",
        "on_trial",
    )

    def __init__(self) -> None:
        self.is_out = False
        self.is_down = False
        self.on_trial = False
        self._failures = 0  # since the last good answer, less those that were the requests' fault
        self._proofs = 0  # of them that another server has accepted
        self._due = 0.0  # the time of the next check or trial
        self._is_there = False  # it has given a sign of life since it was left out
        self._next_wait_s = WAIT_S[0]
        self._patience = 1.0

    @property
    def is_sound(self) -> bool:
        """True if it takes part as usual."""
        return not self.is_out and self._failures < IN_A_ROW

    def wants_check(self, now: float) -> bool:
        """True if a server that is down should be asked for a sign of life."""
        return self.is_down and not self._is_there and now >= self._due

    def wants_trial(self, now: float) -> bool:
        """True if an attempt may show that it can take part again."""
        is_reachable = self._is_there or not self.is_down
        return is_reachable and not (self.is_sound or self.on_trial) and now >= self._due

    def answer(self) -> bool:
        """Learn from a good answer. Returns True if the server was left out until now."""
        was_out = self.is_out
        self.is_out = self.is_down = self.on_trial = False
        self._failures = self._proofs = 0
        self._next_wait_s = WAIT_S[0]
        return was_out

    def fail(self, now: float) -> None:
        """Learn from a failure that may be the server's. While it is left out, only a trial says anything."""
        if self.is_out and not self.on_trial:
            return
        self._failures += 1
        if self.on_trial or self._failures == IN_A_ROW:
            self._wait_longer(now)

    def prove(self, now: float) -> bool:
        """Learn that another server accepted what failed here. Returns True if it is left out from now on."""
        if self.is_out or not self._failures:  # it has answered since
            return False
        self._proofs += 1
        return min(self._proofs, self._failures) >= IN_A_ROW and self.leave_out(now, is_down=False)

    def acquit(self) -> None:
        """Learn that a failure was the request's: every other server failed, too."""
        self._failures = max(0, self._failures - 1)

    def leave_out(self, now: float, *, is_down: bool) -> bool:
        """Leave the server out. Returns True if it took part until now."""
        if self.is_out and not self.on_trial:
            return False
        was_in, self.is_out = not self.is_out, True
        self.is_down = is_down
        self._failures = self._proofs = 0
        self._wait_longer(now)
        return was_in

    def _wait_longer(self, now: float) -> None:
        self.on_trial = self._is_there = False
        self._due = now + self._next_wait_s
        self._next_wait_s = min(2 * self._next_wait_s, WAIT_S[1])

    def check(self, now: float, *, is_there: bool) -> None:
        """Learn if a server that was down gives a sign of life."""
        if is_there:
            self._is_there = True
        else:
            self._wait_longer(now)

    def is_quiet(self, silent_s: float, longest_s: float) -> bool:
        """True if a server has been silent for so long that it should be asked for a sign of life.

        silent_s are the seconds since it said anything while it has requests, longest_s is the longest
        answer of any server so far.
        """
        least_s, times = _QUIET
        return silent_s >= self._patience * max(least_s, times * longest_s)

    def be_patient(self) -> None:
        """Learn that a server that was silent is there."""
        self._patience *= 2
