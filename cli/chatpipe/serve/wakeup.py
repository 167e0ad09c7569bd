"""A step that waits for something else than time."""

from __future__ import annotations

from collections.abc import Callable


class Wakeup:
    """The reply continues once wake() is called. resume is set by the connection that waits."""

    __slots__ = ("resume",)

    def __init__(self) -> None:
        self.resume: Callable[[], object] = bool  # does nothing

    def wake(self) -> None:
        """Resume the reply if it waits for this step now; do nothing if it waits for another one."""
        resume, self.resume = self.resume, bool
        resume()
