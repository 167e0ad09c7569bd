"""CPU that a server spends on a reply: `serve`; beside it uvicorn with a raw ASGI application, and aimock.

The client is in this process, and what it costs is not counted. Every reply is read to its end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from . import peervenv
from .machine import Place, Source, named
from .report import Figure, Report

_CONNECTIONS = 32
_ROUNDS = 3
_AIMOCK = "aimock, on Node.js"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_SCRIPTS = Path(__file__).with_name("scripts")
_WORDS = 50
# No two bodies are the same, because a server may know a request again.
_NUMBER = b"########"
_numbers = itertools.count()
_PLAIN_END = b"}"
_STREAM_END = b"0\r\n\r\n"


class _Kind(NamedTuple):
    """A kind of request, the number of them in a round, and the limits in microseconds."""

    name: str
    request: bytes
    end: bytes
    requests: int
    reach: float
    dream: float


class _Cost(NamedTuple):
    """Microseconds a reply: in user mode, in the kernel, and of the clock."""

    user: float
    system: float
    wall: float


def _fixtures(place: Place) -> Path:
    """The fixtures with which aimock answers as many words, one a chunk."""
    path = place.scratch / "fixtures.json"
    asked, chunk = "word " * 20, len("word ")
    answers = ((asked, {"content": "word " * _WORDS}), ("word", {"content": "word " * 10}))
    fixtures = [
        {"match": {"userMessage": text}, "response": answer, "chunkSize": chunk} for text, answer in answers
    ]
    path.write_bytes(orjson.dumps({"fixtures": fixtures}))
    return path


def _request(words: int, **fields: object) -> bytes:
    content = " ".join([_NUMBER.decode(), *["word"] * (words - 1)])
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields})
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


_KINDS = (
    _Kind("a small reply", _request(10), _PLAIN_END, 20_000, 20, 12),
    _Kind(f"a stream of {_WORDS} chunks", _request(_WORDS, stream=True), _STREAM_END, 2_000, 300, 200),
)


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    starts = {named("serve", source): source.command("serve") for source in sources}
    with contextlib.suppress(peervenv.Missing):
        starts["uvicorn[standard], raw ASGI"] = [str(peervenv.python()), "-m", "uvicorn", "asgi_app:app"]
    try:
        starts[_AIMOCK] = [*peervenv.aimock(), "-p", "0", "-f", str(_fixtures(place))]
    except peervenv.Missing as missing:
        print(f"replies: without aimock: {missing}")
    costs: dict[tuple[str, str], list[_Cost]] = {}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(_server(place, words)) for name, words in starts.items()}
        for _ in range(rounds or _ROUNDS):
            for kind in _KINDS:
                for name, (port, pid) in servers.items():
                    # aimock sends every reply in chunks
                    sent = kind._replace(end=_STREAM_END) if name == _AIMOCK else kind
                    costs.setdefault((kind.name, name), []).append(_measure(sent, port, pid))
    for kind in _KINDS:
        figures = []
        for name in starts:
            best = min(costs[kind.name, name])
            note = f"kernel {best.system:.0f} us; {1e6 / (best.user + best.system):,.0f} a second and core"
            reach, dream = (kind.reach, kind.dream) if name.startswith("serve") else (None, None)
            figures.append(Figure(name, best.user, "us", reach, dream, note=note))
        title = f"{kind.name}: CPU of the server in user mode, best of {rounds or _ROUNDS}"
        report.table("replies", title, figures)


@contextlib.contextmanager
def _server(place: Place, words: list[str]) -> Iterator[tuple[int, int]]:
    """The port and the process of a server."""
    if "uvicorn" not in words:
        with _process(place, words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = (line.decode() for line in process.stdout)
            found = next(filter(None, (re.search(r"http://\S+:(\d+)", line) for line in lines)))
            yield int(found[1]), process.pid
        return
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.set_inheritable(True)
        more = ["--fd", str(listener.fileno()), "--log-level", "warning", "--no-access-log"]
        with _process(place, [*words, *more], pass_fds=(listener.fileno(),), cwd=_SCRIPTS) as process:
            yield listener.getsockname()[1], process.pid


@contextlib.contextmanager
def _process(place: Place, words: list[str], **popen: object) -> Iterator[subprocess.Popen[bytes]]:
    environment = place.environment()
    with subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, **popen) as process:  # type: ignore[call-overload]  # of keywords that vary
        try:
            yield process
        finally:
            process.terminate()


def _measure(kind: _Kind, port: int, pid: int) -> _Cost:
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(_CONNECTIONS)
        ]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _exchange(kind, connections)  # what is done once is not counted
        before, began = _cpu_s(pid), time.monotonic()
        turns = kind.requests // _CONNECTIONS
        for _ in range(turns):
            _exchange(kind, connections)
        wall_s = time.monotonic() - began
        after = _cpu_s(pid)
    count = turns * _CONNECTIONS
    user, system = (1e6 * (late - early) / count for early, late in zip(before, after, strict=True))
    return _Cost(user, system, 1e6 * wall_s / count)


def _exchange(kind: _Kind, connections: Sequence[socket.socket]) -> None:
    """One request on each connection, and its whole reply."""
    for connection in connections:
        connection.sendall(kind.request.replace(_NUMBER, b"%08d" % next(_numbers)))
    for connection in connections:
        data = connection.recv(1 << 18)
        while not data.endswith(kind.end):
            piece = connection.recv(1 << 18)
            if not piece:
                raise RuntimeError(f"no whole reply: {data[-200:]!r}")
            data = piece if len(piece) >= len(kind.end) else data + piece


def _cpu_s(pid: int) -> tuple[float, float]:
    """Seconds in user mode and in the kernel so far. Source: proc(5), /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S
