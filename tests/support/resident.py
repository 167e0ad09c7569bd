"""Memory that a program takes from the system, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.process import environment
from support.programs import missing

_RESIDENT = """
import os

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""


def measured(program: str, *arguments: str, cwd: Path | None = None) -> list[float]:
    """The numbers that a Python program prints. It may call resident(): bytes of memory it has now.

    Of the system, not of Python's allocator: what fragmentation wastes counts.
    """
    if not Path("/proc/self/statm").exists():
        missing("no /proc/self/statm, which tells the resident memory")
    command = (sys.executable, "-c", _RESIDENT + program, *arguments)
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, check=True)
    return [float(number) for number in done.stdout.split()]
