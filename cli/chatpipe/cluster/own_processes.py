"""The processes that this one has started, as /proc lists them. Elsewhere than on Linux none are known."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from chatpipe.named_tuple import NamedTuple

_ENDED = "ZX"


class OwnProcess(NamedTuple):
    """A process. has_ended is true for one that nobody has waited for yet."""

    pid: int
    parent: int
    name: str
    has_ended: bool


def own_children() -> dict[int, OwnProcess]:
    """The children of this process, by their numbers."""
    return {each.pid: each for each in _all_processes() if each.parent == os.getpid()}


def end_descendants() -> None:
    """Kill all that this process has started, and what that has started."""
    children: dict[int, list[int]] = {}
    for each in _all_processes():
        children.setdefault(each.parent, []).append(each.pid)
    pending = children.get(os.getpid(), [])
    for pid in pending:
        pending += children.get(pid, [])
    for pid in pending:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _all_processes() -> Iterator[OwnProcess]:
    with suppress(FileNotFoundError):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                yield _read(int(name), file.read().decode("utf-8", "replace"))


def _read(pid: int, stat: str) -> OwnProcess:
    """A process from its line: its number, its name in parentheses, its state, its parent, and more."""
    start, _, rest = stat.rpartition(")")
    state, parent = rest.split()[:2]
    return OwnProcess(pid, int(parent), start.partition("(")[2], state in _ENDED)
