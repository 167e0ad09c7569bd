"""The relay of a run as a child process, and the socket from which workers on this machine read the terms."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex

from chatpipe import __version__
from chatpipe.cluster.frames import FrameKind, read_frame, write_frame
from chatpipe.cluster.terms import WorkerTerms, write_terms
from chatpipe.cluster.workers import RelayLink
from chatpipe.server.children import child_environment
from chatpipe.server.headers import Headers

_END_S = 10.0
# Ray puts sockets into its folder, whose names may have 107 characters in all.
_LONGEST_FOLDER = 30


class RelayProcess:
    """The relay of a run. address names a cluster, None to start one.

    With note the messages of Ray go to a file, whose name it prints. Without it they are dropped.
    """

    def __init__(
        self,
        address: str | None,
        terms: WorkerTerms,
        environ: Mapping[str, str],
        note: Callable[[str], None] | None,
    ) -> None:
        self._address = address
        self._terms = terms
        self._environ = environ
        self._note = note
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> RelayLink:
        """Start the process. Returns the link to it."""
        path = None
        if self._address is None:
            self._folder = _make_folder()
            path = os.path.join(self._folder, "terms")
            self._server = await asyncio.start_unix_server(self._give_terms, path)
        ours, theirs = socket.socketpair()
        self._link = ours.dup()  # it can be shut without an event loop
        with theirs, open(self._open_log(), "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "chatpipe.cluster.relay"],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                env=_environment(self._environ, self._address),
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        head = {"address": self._address, "folder": self._folder, "socket": path, "version": __version__}
        public = b"" if path else write_terms(self._terms)
        writer.write(write_frame(FrameKind.START, json.dumps(head).encode() + b"\n" + public))
        return RelayLink(writer.write, lambda: read_frame(reader), writer.transport.abort)

    def _open_log(self) -> int | str:
        """The descriptor of a file for the messages of Ray, or of the null device."""
        if self._note is None:
            return os.devnull
        descriptor, path = tempfile.mkstemp(".log", "chatpipe-ray-")
        self._note(f"the messages of Ray are in '{path}'")
        return descriptor

    def renew(self, index: int, headers: Headers) -> int:
        """Take over the headers of a server with a new key. Returns the number of the key."""
        servers, key = list(self._terms.servers), self._terms.key + 1
        servers[index] = servers[index]._replace(headers=headers)
        self._terms = self._terms._replace(servers=tuple(servers), key=key)
        return key

    async def _give_terms(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(write_terms(self._terms))
        with suppress(OSError):
            await writer.drain()
        writer.close()

    def close(self) -> None:
        """End the process, and all that it has started."""
        if self._process is not None:
            if self._link is not None:
                with suppress(OSError):
                    self._link.shutdown(socket.SHUT_RDWR)
                self._link.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _make_folder() -> str:
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(
        prefix="chatpipe-ray-",
        dir=parent if len(parent) < _LONGEST_FOLDER else "/tmp",  # noqa: S108
    )


def _environment(environ: Mapping[str, str], address: str | None) -> dict[str, str]:
    """The environment of the relay, without keys. A cluster that we start sends no usage reports."""
    own = child_environment(environ)
    if address is None:
        own.pop("RAY_ADDRESS", None)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
        own.update(RAY_USAGE_STATS_ENABLED="0", **token)
    return own
