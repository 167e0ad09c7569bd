"""The child processes of this one, as /proc lists them. Only Linux lists any."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from chatpipe.named_tuple import NamedTuple

_ENDED = "ZX"
# A killed process is gone within milliseconds, unless it waits for a disk.
_LOOK_S, _MOST_LOOKS = 0.01, 100


class OwnProcess(NamedTuple):
    """A process. has_ended is also true for one that was not waited for yet."""

    pid: int
    parent: int
    name: str
    has_ended: bool


def own_children() -> dict[int, OwnProcess]:
    """The children of this process, by their numbers."""
    return {each.pid: each for each in _all_processes() if each.parent == os.getpid()}


def end_descendants() -> None:
    """Kill all processes that descend from this one, and those that are being started."""
    for _ in range(_MOST_LOOKS):
        pids = _descendants()
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
        time.sleep(_LOOK_S)


def _descendants() -> list[int]:
    """The processes below this one that have not ended. Those of a parent that has ended are not found."""
    children: dict[int, list[int]] = {}
    for each in _all_processes():
        if not each.has_ended:
            children.setdefault(each.parent, []).append(each.pid)
    found = children.get(os.getpid(), [])
    for pid in found:
        found += children.get(pid, [])
    return found


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
