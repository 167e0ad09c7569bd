"""Forks of a process that has imported chatpipe, for tests that are not about starting.

Starting an interpreter with its imports is most of the CPU time of a short run. Each fork is a process
of its own: arguments, environment, folder, descriptors, signals and exit status are those of its caller.
`run` has one run to its end, `start` makes one that is a child of this process, and the folder of
`command` has a `chatpipe` for shells. warm_server.py is the process that forks.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import io
import marshal
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.forks import warm_server
from support.forks.warm_server import LONGEST_MESSAGE, Terms

_PIPE_BYTES = 64 << 10
_PR_SET_CHILD_SUBREAPER = 36
_TESTS = Path(__file__).parents[2]


def can_run(arguments: Sequence[str | bytes], env: Mapping[str, str]) -> bool:
    """Return True unless the environment is about the interpreter itself, or the command is too long."""
    is_plain = not any(name.startswith(("PYTHON", "LD_", "LC_")) for name in env) and env["LANG"] == "C.UTF-8"
    return is_plain and sum(map(len, arguments)) < LONGEST_MESSAGE // 2


def run(
    arguments: Sequence[str | bytes],
    stdin: bytes | None,
    env: Mapping[str, str],
    cwd: Path | str | None,
    timeout: float,
) -> tuple[int, bytes, bytes]:
    """Run `chatpipe ARGUMENTS` to its end: its status as in subprocess, stdout and stderr.

    stdin None is /dev/null. Raises TimeoutExpired after timeout seconds; the fork is then killed.
    """
    with contextlib.ExitStack() as pipes:
        theirs_in, ours_in = _pipe(pipes) if stdin is not None else (_null(pipes), None)
        ours_out, theirs_out = _pipe(pipes)
        ours_err, theirs_err = _pipe(pipes)
        theirs = [theirs_in, theirs_out, theirs_err]
        process = pipes.enter_context(_connection())
        _send(process, terms(arguments, env, cwd), [each.fileno() for each in theirs])
        for each in theirs:
            each.close()
        try:
            stdout, stderr = _communicate(ours_in, stdin or b"", ours_out, ours_err, timeout)
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(list(arguments), timeout) from error
        return _number(process), stdout, stderr


def start(wanted: Terms, descriptors: Sequence[int]) -> int:
    """Start a command as a child of this process, and return its number."""
    _take_orphans(True)
    try:
        with _connection() as process:
            _send(process, wanted._replace(is_child=True), descriptors)
            return _number(process)
    finally:
        _take_orphans(False)


def can_start() -> bool:
    """Return True where a process can be the parent of what a child of it forks. That is Linux."""
    return sys.platform == "linux"


def _take_orphans(wanted: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def terms(arguments: Sequence[str | bytes], env: Mapping[str, str], cwd: Path | str | bytes | None) -> Terms:
    """The terms of a command with the umask of this process, and the descriptors 0, 1 and 2."""
    umask = os.umask(0)
    os.umask(umask)
    return Terms(
        list(map(os.fsencode, arguments)),
        {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        os.path.join(os.getcwd(), os.fsdecode(cwd or "")),
        umask,
        [0, 1, 2],
        [],
        False,
        -1,
    )


def _send(process: socket.socket, wanted: Terms, descriptors: Sequence[int]) -> None:
    socket.send_fds(process, [marshal.dumps(tuple(wanted))], list(descriptors))


def _number(process: socket.socket) -> int:
    data = process.recv(8)
    if not data:
        raise ConnectionError("the warm process has ended")
    return int.from_bytes(data, "little", signed=True)


def _pipe(stack: contextlib.ExitStack) -> tuple[io.FileIO, io.FileIO]:
    reader, writer = os.pipe()
    return stack.enter_context(io.FileIO(reader)), stack.enter_context(io.FileIO(writer, "w"))


def _null(stack: contextlib.ExitStack) -> io.FileIO:
    return stack.enter_context(io.FileIO(os.devnull))


def _communicate(
    to: io.FileIO | None, data: bytes, out: io.FileIO, err: io.FileIO, timeout: float
) -> tuple[bytes, bytes]:
    """Write data, and read both outputs to their ends. Raises TimeoutError."""
    came: dict[io.FileIO, list[bytes]] = {out: [], err: []}
    left = memoryview(data)
    until = time.monotonic() + timeout
    with selectors.DefaultSelector() as waiting:
        for each in came:
            waiting.register(each, selectors.EVENT_READ)
        if to is not None:
            os.set_blocking(to.fileno(), False)
            waiting.register(to, selectors.EVENT_WRITE)
        while waiting.get_map():
            ready = waiting.select(until - time.monotonic())
            if not ready and time.monotonic() >= until:
                raise TimeoutError
            for key, _ in ready:
                file: Any = key.fileobj
                if to is not None and file is to:
                    try:
                        left = left[to.write(left[:_PIPE_BYTES]) or 0 :]
                    except BrokenPipeError:
                        left = left[:0]
                    is_over = not left
                else:
                    piece = file.read(_PIPE_BYTES)
                    came[file].append(piece)
                    is_over = not piece
                if is_over:
                    waiting.unregister(file)
                    file.close()
    return b"".join(came[out]), b"".join(came[err])


def _connection() -> socket.socket:
    process = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process.connect(str(command().with_name("socket")))
    return process


@functools.cache
def command() -> Path:
    """A `chatpipe` that has a fork run, beside the socket of the process that forks, which is started here.

    That process ends with this one.
    """
    folder = Path(tempfile.mkdtemp(prefix="chatpipe-warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = folder / "chatpipe"
    source = Path(__file__).with_name("warm_command.py").read_text(encoding="utf-8")
    program.write_text(f"#!{sys.executable} -ISE\n{source}", encoding="utf-8")
    program.chmod(0o755)
    ours, theirs = socket.socketpair()
    with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        passed = (theirs.fileno(), listener.fileno())
        words = (sys.executable, "-m", warm_server.__name__, *map(str, passed))
        server = subprocess.Popen(words, cwd=_TESTS, pass_fds=passed, stdin=subprocess.DEVNULL)

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return program
