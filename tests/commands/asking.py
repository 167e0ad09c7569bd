"""`chatpipe ask` of a server, as a process of its own."""

from __future__ import annotations

import signal
from typing import Any

from support.process import Done, Process, run


def words(url: str, *arguments: str, prompt: str = "Hello") -> tuple[str, ...]:
    return ("ask", "--base-url", url, "-m", "m", *arguments, prompt)


def ask(url: str, *arguments: str, **options: Any) -> Done:
    """The process to its end; options are those of run()."""
    return run(*words(url, *arguments), **options)


def hit(process: Process, number: signal.Signals) -> tuple[int, bytes, bytes]:
    """Send a signal: the status at the end, and the rest of stdout and stderr."""
    process.send_signal(number)
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


def ended(process: Process, data: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr at the end, data being piped in first."""
    stdout, stderr = process.communicate(data)
    return process.returncode, stdout, stderr
