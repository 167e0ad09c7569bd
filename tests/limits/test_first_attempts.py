"""A server that refuses the first attempts of each request, whatever the load."""

from __future__ import annotations

from chatpipe.limits.first_attempts import FirstAttempts
from chatpipe.limits.window import RefusalWindow
from support.parametrize import cases


def seen(replies: str) -> FirstAttempts:
    """The decision after these replies: `r2` for a refused second attempt, `a3` for an answered third one."""
    attempts = FirstAttempts()
    for reply in replies.split():
        (attempts.refuse if reply[0] == "r" else attempts.answer)(int(reply[1:]))
    return attempts


@cases(
    ("replies", "are_refused"),
    {
        "none": ("", False),
        "too few refusals": ("r1 " * 7 + "a2 " * 9, False),
        "too few answers": ("r1 " * 20 + "a2 " * 3, False),
        "once": ("r1 " * 8 + "a2 " * 4, True),
        "once, between each other": ("r1 a2 " * 8, True),
        "three times": ("r1 " * 4 + "r2 r3 a4 " * 4, True),
        "everything": ("r1 r2 r3 " * 20, False),
        "a slot, then all others": ("a1 " + "r1 " * 15 + "a2 " * 15, False),
        "a full bucket later": ("r1 " * 16 + "a2 " * 4 + "r2 " * 12, False),
        "by chance": ("r1 a1 r1 a2 " * 8, False),
        "a first attempt is answered": ("r1 " * 8 + "a2 " * 8 + "a1", False),
        "a later one is refused": ("r1 " * 8 + "a2 " * 8 + "r2", False),
    },
)
def test_only_what_depends_on_the_attempt_alone_is_seen(replies: str, are_refused: bool) -> None:
    assert seen(replies).are_refused is are_refused


def test_after_an_error_it_rests() -> None:
    """Thousands of answers, so that a server of another kind is not taken for this one again and again."""
    attempts = seen("r1 " * 8 + "a2 " * 4 + "r2")
    for _ in range(2000):
        attempts.refuse(1)
        attempts.answer(2)
    assert not attempts.are_refused
    for _ in range(4000):
        attempts.refuse(1)
        attempts.answer(2)
    assert attempts.are_refused


def test_a_window_that_is_reopened_is_as_large_as_it_was() -> None:
    window = RefusalWindow(16)
    for others in range(15, -1, -1):
        window.refuse(others, 1.0, 0.0)
    assert window.limit == 1
    window.reopen(1.0)
    assert window.limit == 16
    window.answer(16, 0.05, 2.0)
    assert window.limit == 16
