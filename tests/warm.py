"""Forks of a process that has imported chatpipe, for tests that are not about starting.

Starting an interpreter with its imports is most of the CPU time of a short run. Each fork is a process
of its own: arguments, environment, folder, descriptors, signals and exit status are those of its caller.
`process.start`, `process.sh`, and `process.run` with a variable of Python start a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import os
import pickle
import pkgutil
import random
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import failing_disk
import strike

# What chatpipe imports only where it needs it. chatpipe itself is imported whole.
_LATER = ("asyncio", "concurrent.futures", "jsonschema", "tqdm", "html", "decimal", "csv", "http.client")
_LONGEST_MESSAGE = 64 << 10
_PIPE_BYTES = 64 << 10


class Command(NamedTuple):
    """What a fork is to become. umask is that of the caller, cwd absolute."""

    arguments: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    umask: int


def can_run(arguments: Sequence[str | bytes], env: Mapping[str, str]) -> bool:
    """Return True unless the environment is about the interpreter itself, or the command is too long."""
    is_plain = not any(name.startswith(("PYTHON", "LD_", "LC_")) for name in env) and env["LANG"] == "C.UTF-8"
    return is_plain and sum(map(len, arguments)) < _LONGEST_MESSAGE // 2


def run(
    arguments: Sequence[str | bytes],
    stdin: bytes | None,
    env: Mapping[str, str],
    cwd: Path | str | None,
    timeout: float,
) -> tuple[int, bytes, bytes]:
    """Run `chatpipe ARGUMENTS` to its end: its status as in subprocess, stdout and stderr.

    stdin None is /dev/null. Raises TimeoutExpired after timeout seconds, when it has killed the fork.
    """
    command = Command(
        tuple(map(os.fsdecode, arguments)), dict(env), os.path.join(os.getcwd(), cwd or ""), _umask()
    )
    with contextlib.ExitStack() as pipes:
        theirs_in, ours_in = _pipe(pipes) if stdin is not None else (_null(pipes), None)
        ours_out, theirs_out = _pipe(pipes)
        ours_err, theirs_err = _pipe(pipes)
        ours_end, theirs_end = _pipe(pipes)
        theirs = [theirs_in, theirs_out, theirs_err, theirs_end]
        socket.send_fds(_control(), [pickle.dumps(command)], [each.fileno() for each in theirs])
        for each in theirs:
            each.close()
        process = int.from_bytes(ours_end.read(8), "little")
        try:
            stdout, stderr = _communicate(ours_in, stdin or b"", ours_out, ours_err, timeout)
        except TimeoutError as error:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(command.arguments, timeout) from error
        return int.from_bytes(ours_end.read(8), "little", signed=True), stdout, stderr


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


@functools.cache
def _control() -> socket.socket:
    """The socket to the process that forks. That process ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = (sys.executable, __file__, str(theirs.fileno()))
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours


# In the process that forks


def _serve(control: socket.socket) -> None:
    """Fork for each command that comes; tell its number at once and its status when it has ended."""
    wake, wakened = os.pipe()
    os.set_blocking(wakened, False)
    signal.set_wakeup_fd(wakened)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 1024)
            _report(ends)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, _LONGEST_MESSAGE, 4)
            if not message:
                return
            process = os.fork()
            if process == 0:
                _become(pickle.loads(message), descriptors)
            for each in descriptors[:3]:
                os.close(each)
            ends[process] = descriptors[3]
            os.write(ends[process], process.to_bytes(8, "little"))


def _report(ends: dict[int, int]) -> None:
    while ends:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        end = ends.pop(process)
        with contextlib.suppress(BrokenPipeError):  # the caller did not wait
            os.write(end, os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True))
        os.close(end)


def _become(command: Command, descriptors: list[int]) -> NoReturn:
    """Be what a new interpreter would be when it calls main()."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        os.closerange(3, max(descriptors) + 64)
        os.environ.clear()
        os.environ.update(command.env)
        os.chdir(command.cwd)
        os.umask(command.umask)
        sys.stdin = io.TextIOWrapper(
            io.BufferedReader(io.FileIO(0)), encoding="utf-8", errors="surrogateescape"
        )
        sys.stdout = _text_output(1, "surrogateescape")
        sys.stderr = _text_output(2, "backslashreplace")
        import chatpipe.main
        from chatpipe.__main__ import main

        sys.argv = [str(Path(chatpipe.main.__file__).with_name("__main__.py")), *command.arguments]
        random.seed()
        if (moment := os.environ.pop(strike.VARIABLE, None)) is not None:
            strike.arm(moment)
        if failing_disk.VARIABLE in command.env:
            failing_disk.install(command.env[failing_disk.VARIABLE])
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _text_output(descriptor: int, errors: str) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(io.FileIO(descriptor, "w"))
    return io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=descriptor == 2)


def _import_all() -> None:
    import chatpipe

    for module in pkgutil.walk_packages(chatpipe.__path__, "chatpipe."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name != "ray":  # of an extra, which an environment may be without
                    raise
    for name in _LATER:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
