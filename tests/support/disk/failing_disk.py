"""A disk on which one system call fails, for tests: the functions of `os` of one process, wrapped.

warm.py installs it in a fork if the environment has FAILING_DISK. Only calls about files below one folder
are counted, and those about stdin and stdout. A call that the interpreter repeats after EINTR does not
get it here.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

VARIABLE = "FAILING_DISK"

_SHORT = 7  # bytes: a short read or write
_STANDARD = {0: "stdin", 1: "stdout"}
_ANY = ("EIO", "ESTALE")
_ROOM = ("ENOSPC", "EDQUOT")
# What may go wrong in each call. `short`: fewer bytes than asked for. `late EIO`: the call has its effect,
# and fails (the reply of a file server was lost). `torn ENOSPC`: the first bytes are written.
FAULTS: dict[str, tuple[str, ...]] = {
    "open": (*_ANY, "EACCES", "EMFILE", "ENOSPC"),
    "read": (*_ANY, "short"),
    "pread": (*_ANY, "short"),
    "write": (*_ANY, *_ROOM, "short", "torn ENOSPC", "torn EIO"),
    "pwrite": (*_ANY, *_ROOM, "short", "torn ENOSPC"),
    "fsync": (*_ANY, *_ROOM),
    "fdatasync": (*_ANY, *_ROOM),
    "stat": (*_ANY, "EACCES", "EINTR"),
    "lstat": (*_ANY, "EACCES", "EINTR"),
    "fstat": (*_ANY, "EINTR"),
    "lseek": _ANY,
    "ftruncate": (*_ANY, "late EIO"),
    "close": ("late EIO", "late ENOSPC", "late EDQUOT", "late ESTALE", "late EINTR"),
    "dup": ("EMFILE", "EINTR"),
    "rename": (*_ANY, "ENOSPC", "EACCES", "EINTR", "late EIO"),
    "replace": (*_ANY, "ENOSPC", "EACCES", "EINTR", "late EIO"),
    "link": (*_ANY, "ENOSPC", "EACCES", "EPERM", "late EIO"),
    "unlink": (*_ANY, "EACCES", "EINTR", "late EIO"),
    "mkdir": (*_ANY, "ENOSPC", "EACCES"),
    "rmdir": _ANY,
    "readlink": _ANY,
    "scandir": (*_ANY, "EACCES"),
    "listdir": (*_ANY, "EACCES"),
    "fchmod": ("EIO", "EPERM"),
    "fchown": ("EIO", "EPERM"),
    "utime": ("EIO", "EPERM"),
    "access": ("EIO",),
    "flock": (*_ANY, "ENOLCK"),
}


class Plan(NamedTuple):
    """A fault of the call number `at` (from 1), or with lasting of every call from there on that can have it.

    Without a fault the calls are counted only. folder and trace are absolute; trace gets a line for each
    call, and one that begins with `!` for each that failed.
    """

    folder: str
    trace: str
    at: int = 0
    fault: str = ""
    lasting: bool = False

    def environment(self) -> dict[str, str]:
        return {VARIABLE: orjson.dumps([*self]).decode()}


class _Disk:
    """The calls of this process so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.calls = 0
        self.open = dict(_STANDARD)
        self.trace = os.open(plan.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.write = os.write

    def name(self, file: Any) -> str | None:
        """The name of a file that counts; None for any other."""
        if isinstance(file, int):
            return self.open.get(file)
        path = os.path.abspath(os.fsdecode(file))
        return path if path.startswith(self.plan.folder) else None

    def fault(self, call: str, name: str) -> str:
        """The fault of this call; empty if it succeeds."""
        self.calls += 1
        plan = self.plan
        fails = self.calls == plan.at or (plan.lasting and self.calls > plan.at)
        fault = plan.fault if fails and plan.fault in FAULTS[call] else ""
        if plan.lasting and fails and not fault and f"late {plan.fault}" in FAULTS[call]:
            fault = f"late {plan.fault}"
        short = os.path.basename(name)
        self.write(self.trace, f"{'!' if fault else ''}{call} {short} {fault}\n".encode())
        return fault


def install(value: str) -> None:
    """Wrap the functions for the rest of this process. value is that of the variable."""
    disk = _Disk(Plan(*orjson.loads(value)))
    new: dict[Any, Any] = {}
    for call in FAULTS:
        module = fcntl if call == "flock" else os
        original = getattr(module, call)
        new[original] = _wrapped(disk, call, original)
        setattr(module, call, new[original])
    # Files in Python, which call os. The builtin ones make system calls of their own.
    replacement: Any = importlib.import_module("_pyio").open
    new[open] = replacement
    builtins.open = io.open = replacement
    for module in [each for name, each in sys.modules.items() if name.startswith("chatpipe")]:
        for attribute, held in list(vars(module).items()):
            with contextlib.suppress(TypeError):  # not hashable
                if held in new:
                    setattr(module, attribute, new[held])


def _wrapped(disk: _Disk, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        name = disk.name(args[0]) if args else None
        if name is None:
            return original(*args, **options)
        fault = disk.fault(call, name)
        kind, _, code = fault.rpartition(" ")
        if fault == "short" or kind == "torn":
            return _short(call, original, args, code)
        if call == "access" and fault:
            return False
        if fault and kind != "late":
            raise _error(code, name)
        result = original(*args, **options)
        if call in ("open", "dup"):
            disk.open[result] = name
        elif call == "close":
            disk.open.pop(args[0], None)
        if fault:
            raise _error(code, name)
        return result

    return wrapped


def _short(call: str, original: Callable[..., Any], args: tuple[Any, ...], code: str) -> Any:
    """Read or write the first bytes only; with a code other than `short`, fail then."""
    file, what, *rest = args
    if call in ("read", "pread"):
        return original(file, min(what, _SHORT), *rest)
    written = original(file, bytes(what)[:_SHORT], *rest)
    if code != "short":
        raise _error(code, "")
    return written


def _error(code: str, name: str) -> OSError:
    number = getattr(errno, code)
    return OSError(number, os.strerror(number), name or None)
