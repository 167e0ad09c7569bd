"""From the server's write of the first words to the same words on chatpipe's stdout.

Both ends are in this process, on one clock: it is the server, and it holds the pipe.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence

from . import firehose
from .machine import Place, Source, named
from .report import Figure, Report

_ROUNDS = 50
_REACH_MS, _DREAM_MS = 5.0, 2.0
# Long enough for the client to be waiting in recv() when the words are written.
_PAUSE_S = 0.01
_LATER = 20  # chunks after the first one, for the usual latency


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    count = rounds or _ROUNDS
    first: dict[str, list[float]] = {}
    later: dict[str, list[float]] = {}
    for _ in range(count):
        for source in sources:
            # As servers of their own do it: the head at once, the words when the model has some.
            latencies = _latencies(place, source, head_first=True)
            first.setdefault(named("first text, the head came before", source), []).append(latencies[0])
            later.setdefault(named("text after the first", source), []).append(
                statistics.median(latencies[1:])
            )
            # As gateways do it: the head only with the first words.
            latencies = _latencies(place, source, head_first=False)
            first.setdefault(named("first text, the head with it", source), []).append(latencies[0])
    figures = [
        Figure(
            name, statistics.median(several), "ms", _REACH_MS, _DREAM_MS, note=f"at most {max(several):.1f}"
        )
        for name, several in first.items()
    ]
    figures += [Figure(name, statistics.median(several), "ms") for name, several in later.items()]
    report.table("firstbyte", f"server's write -> readable on stdout, median of {count}", figures)


def _latencies(place: Place, source: Source, *, head_first: bool) -> list[float]:
    """Milliseconds for each chunk of text of one answer."""
    role, *said, finish, done = map(firehose.framed, firehose.events(1 + _LATER))
    head = firehose.HEAD + role
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        command = source.command("ask", "-m", "m", "--base-url", url, "Hello")
        with subprocess.Popen(
            command, env=place.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.recv(65536)
                if head_first:
                    connection.sendall(head)
                latencies = []
                for number, piece in enumerate(said):
                    time.sleep(_PAUSE_S)
                    data = piece if number or head_first else head + piece
                    latencies.append(_latency(connection, data, process.stdout.fileno()))
                connection.sendall(finish + done + b"0\r\n\r\n")
                process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"chatpipe ended with status {process.returncode}")
    return latencies


def _latency(connection: socket.socket, data: bytes, stdout: int) -> float:
    before = time.monotonic()
    connection.sendall(data)
    select.select([stdout], [], [])
    after = time.monotonic()
    if not os.read(stdout, 65536).startswith(b" tok"):  # one piece, and it is the one just sent
        raise RuntimeError("chatpipe wrote something else than what came")
    return (after - before) * 1e3
