"""The command of `--key-command`: read its output within a time limit, and end all that it started.

It stays in our process group, because it may ask for a passphrase on the terminal, and the terminal would
stop a process of another group. Its descendants are found by their parents.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeyWaits
from chatpipe.system.signals import delay_signals

_TIMEOUT_S = 60.0  # it may ask a person
_MAX_KEY_BYTES = 65536
_NOTE_AFTER_S = 2.0
_GRACE_S = 0.5  # from SIGTERM to SIGKILL, to set the terminal right
_LINGER_S = 0.5  # time to wait for output after the command itself has exited: an agent may keep it open
_STEP_S = 0.05


class CommandStopped(Exception):
    """We ended the command. The argument is the reason, as a phrase that completes `the command ...`."""


class _Identity(NamedTuple):
    """A process. started tells it from a later one with the same pid; it is empty without /proc."""

    pid: int
    started: bytes


def read_output(
    words: Sequence[str], environ: Mapping[str, str], waits: KeyWaits, timeout_s: float = _TIMEOUT_S
) -> tuple[bytes, int]:
    """Run a command without stdin. Returns its output and its exit status, as in subprocess.

    Raises OSError or ValueError if it cannot be started, and CommandStopped. An exception of a signal handler
    ends the command, too.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with delay_signals():
            process = subprocess.Popen(
                words, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
            )
        assert process.stdout is not None
        with process.stdout:
            output = _read(process, process.stdout.fileno(), waits, timeout_s, words[0])
        return output, process.wait()
    except BaseException:
        if process is not None:
            with delay_signals():
                _end(process)
        raise


def _read(
    process: subprocess.Popen[bytes], stdout: int, waits: KeyWaits, timeout_s: float, name: str
) -> bytes:
    """All output. Returns once the command has exited. Raises CommandStopped."""
    output, is_open, is_noted = b"", True, False
    started = time.monotonic()
    exited: float | None = None
    while True:
        now = time.monotonic()
        if exited is None and process.poll() is not None:
            exited = now
        if exited is not None and (not is_open or now >= exited + _LINGER_S):
            return output
        if len(output) > _MAX_KEY_BYTES:
            raise CommandStopped(f"prints more than {_MAX_KEY_BYTES >> 10} kB")
        if exited is None and now >= started + timeout_s:
            raise CommandStopped(f"has not ended within {timeout_s:g} s")
        if waits.has_stopped is not None and waits.has_stopped():
            raise CommandStopped("was ended with the run")
        if not is_noted and now >= started + _NOTE_AFTER_S:
            waits.note(f"waiting for '{name}' to print the key: --key-command")
            is_noted = True
        if not is_open:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STEP_S)
        elif select.select([stdout], [], [], _STEP_S)[0]:
            data = os.read(stdout, _MAX_KEY_BYTES)
            is_open = bool(data)
            output += data


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and its descendants: by SIGTERM, after a grace by SIGKILL.

    Without /proc the descendants cannot be found.
    """
    tree = _descendants([process.pid])
    _signal(tree, signal.SIGTERM)
    if process.poll() is None:
        process.terminate()
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and (process.poll() is None or any(map(_is_alive, tree))):
        time.sleep(0.01)
    _kill(process, [each for each in tree if _is_alive(each)])
    with suppress(subprocess.TimeoutExpired):  # it belongs to another user, or is stuck in the kernel
        process.wait(_GRACE_S)


def _kill(process: subprocess.Popen[bytes], tree: list[_Identity]) -> None:
    """Kill the command, if it still runs, and tree, which is left of its descendants.

    Everything is stopped first: a shell whose child is killed before itself starts the next command of its
    script, which would be left.
    """
    roots = []
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        roots = [process.pid]
    stopped: list[_Identity] = []
    while True:
        below = _descendants([*roots, *(each.pid for each in stopped if _is_alive(each))])
        found = [each for each in dict.fromkeys([*tree, *below]) if each not in stopped]
        if not found:
            break
        _signal(found, signal.SIGSTOP)
        stopped += found
    if process.poll() is None:
        process.kill()
    _signal(stopped, signal.SIGKILL)


def _signal(tree: Sequence[_Identity], number: int) -> None:
    for each in tree:
        with suppress(OSError):
            os.kill(each.pid, number)


def _descendants(roots: Iterable[int]) -> list[_Identity]:
    children: dict[int, list[_Identity]] = {}
    with suppress(OSError):
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            parent, started = _parent_and_start(pid)
            children.setdefault(parent, []).append(_Identity(pid, started))
    found: list[_Identity] = []
    parents = [*roots]
    while parents:
        new = children.pop(parents.pop(), [])
        found += new
        parents += [each.pid for each in new]
    return found


def _is_alive(each: _Identity) -> bool:
    return _parent_and_start(each.pid)[1] == each.started


def _parent_and_start(pid: int) -> tuple[int, bytes]:
    """The parent of a process and its start time in clock ticks, 0 and b"" if it has ended.

    Source: proc(5), the fields 3, 4 and 22 of /proc/PID/stat. The name before them may hold any character.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent, *rest = file.read().rpartition(b")")[2].split()
        return (0, b"") if state == b"Z" else (int(parent), rest[17])
    except (OSError, ValueError, IndexError):
        return 0, b""
