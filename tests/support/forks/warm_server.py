"""The process that has imported chatpipe and forks for each command that comes. warm.py starts it.

A client connects to its socket and sends one message, Terms, with descriptors. A fork of this process then
becomes the command. The client may send signals for it, a byte each. It gets the exit status in 8 bytes,
negative for a signal; the fork is killed where the client goes away earlier. A fork that is to be a child
of the client itself is left to it at once: the client is then its parent, as the nearest process that
takes the orphans below it, and gets its number in place of the status.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import io
import marshal
import os
import pkgutil
import random
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from support import delays, strike
from support.disk import failing_disk

LONGEST_MESSAGE = 64 << 10
_MOST_DESCRIPTORS = 200
_HIGH = 512  # above every descriptor that a command is given
# What chatpipe imports only where it needs it. chatpipe itself is imported whole.
_LATER = ("asyncio", "concurrent.futures", "jsonschema", "tqdm", "html", "decimal", "csv", "http.client")
# They come to a fork only when it is ready for them, as a new interpreter would be.
_HELD_BACK = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
)


class Terms(NamedTuple):
    """What a fork is to become. A message is this tuple, marshalled.

    descriptors are the numbers that the descriptors of the message get, in this order; a fork has no
    others. ignored are numbers of signals. group is a process group to enter, 0 to found one, -1 to stay.
    """

    arguments: list[bytes]
    env: dict[bytes, bytes]
    cwd: str
    umask: int
    descriptors: list[int]
    ignored: list[int]
    new_session: bool
    group: int
    is_child: bool = False


class Server:
    """Forks for the clients of a socket, until control is closed."""

    def __init__(self, control: socket.socket, listener: socket.socket) -> None:
        self._control = control
        self._listener = listener
        self._clients: dict[int, socket.socket] = {}  # by the number of the fork
        self._selector = selectors.DefaultSelector()
        wake, wakened = os.pipe()
        os.set_blocking(wakened, False)
        signal.set_wakeup_fd(wakened)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ, self._report)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(control, selectors.EVENT_READ, None)
        self._wake = wake

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    for process in self._clients:  # what a shell of a test has left in the background
                        os.kill(process, signal.SIGKILL)
                    return
                key.data(key.fileobj)

    def _accept(self, _: object) -> None:
        client, _ = self._listener.accept()
        self._selector.register(client, selectors.EVENT_READ, self._start)

    def _start(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        try:
            message, descriptors, _, _ = socket.recv_fds(client, LONGEST_MESSAGE, _MOST_DESCRIPTORS)
        except ConnectionError:
            message = b""
        if not message:
            client.close()
            return
        terms = Terms(*marshal.loads(message))
        process = _fork_orphan() if terms.is_child else os.fork()
        if process == 0:
            _become(terms, descriptors)
        for each in descriptors:
            os.close(each)
        if terms.is_child:
            with client, contextlib.suppress(OSError):  # it did not wait
                client.send(process.to_bytes(8, "little"))
            return
        self._clients[process] = client
        self._selector.register(client, selectors.EVENT_READ, lambda _: self._pass_on(process))

    def _pass_on(self, process: int) -> None:
        """A signal of the client, or its end."""
        client = self._clients.get(process)
        if client is None:
            return  # it has ended at the same moment
        try:
            number = client.recv(1)
        except ConnectionError:
            number = b""
        os.kill(process, number[0] if number else signal.SIGKILL)
        if not number:
            self._selector.unregister(client)

    def _report(self, _: object) -> None:
        os.read(self._wake, 1024)
        while self._clients:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            with self._clients.pop(process) as client:
                if client in self._selector.get_map():
                    self._selector.unregister(client)
                with contextlib.suppress(OSError):  # it did not wait
                    client.send(os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True))


def _fork_orphan() -> int:
    """Fork a process whose parent has ended. Return 0 in it, and its number here."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        process = os.fork()
        if process == 0:
            return 0
        os.write(writer, process.to_bytes(8, "little"))
        os._exit(0)
    os.waitpid(between, 0)
    process = int.from_bytes(os.read(reader, 8), "little")
    os.close(reader)
    os.close(writer)
    return process


def _become(terms: Terms, descriptors: list[int]) -> NoReturn:
    """Be what a new interpreter would be when it calls main()."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in terms.ignored:
            signal.signal(number, signal.SIG_IGN)
        _take(descriptors, terms.descriptors)
        if terms.new_session:
            os.setsid()
        if terms.group >= 0:
            os.setpgid(0, terms.group)
        env = {os.fsdecode(name): os.fsdecode(value) for name, value in terms.env.items()}
        os.environ.clear()
        os.environ.update(env)
        os.chdir(terms.cwd)
        os.umask(terms.umask)
        sys.stdin, sys.stdout, sys.stderr = map(_text_stream, range(3))
        random.seed()
        import chatpipe.main
        from chatpipe.__main__ import main

        program = Path(chatpipe.main.__file__).with_name("__main__.py")
        sys.argv = [str(program), *map(os.fsdecode, terms.arguments)]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        delays.set_delays(os.environ.pop(delays.VARIABLE, None))
        if (moment := os.environ.pop(strike.VARIABLE, None)) is not None:
            strike.arm(moment)
        if failing_disk.VARIABLE in env:
            failing_disk.install(env[failing_disk.VARIABLE])
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _take(descriptors: list[int], numbers: list[int]) -> None:
    """Give the descriptors their numbers, and close all others."""
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _HIGH) for each in descriptors]
    for each, number in zip(high, numbers, strict=True):
        os.dup2(each, number)
    kept = sorted(numbers)
    for low, above in zip([-1, *kept], [*kept, max(high, default=_HIGH) + _MOST_DESCRIPTORS], strict=True):
        if low + 1 < above:  # of an empty range from 0 Python makes one of all descriptors
            os.closerange(low + 1, above)


def _text_stream(descriptor: int) -> Any:
    """stdin, stdout or stderr as Python opens it; None where the descriptor is closed."""
    try:
        file = io.FileIO(descriptor, "w" if descriptor else "r")
    except OSError:
        return None
    if descriptor == 0:
        return io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8", errors="surrogateescape")
    errors = "surrogateescape" if descriptor == 1 else "backslashreplace"
    buffer = io.BufferedWriter(file)
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


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    _import_all()
    control, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    with control, listener:
        Server(control, listener).run()


if __name__ == "__main__":
    main()
