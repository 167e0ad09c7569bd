"""A run of chatpipe with what the kernel says it took: time, CPU, and the most memory it was given."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from support.process import CHATPIPE, environment

_RSS_PER_MB = 1024 * 1024 if sys.platform == "darwin" else 1024
# A process takes over the peak of the one that starts it, so ours is started by one that is small.
_LAUNCHER = """\
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, waited, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    print(os.waitstatus_to_exitcode(waited), usage.ru_maxrss, usage.ru_utime + usage.ru_stime, file=file)
"""


class Measured(NamedTuple):
    """status is negative when a signal ended it; said is what the whole pipeline wrote to stdout."""

    status: int
    peak_mb: float
    cpu_s: float
    wall_s: float
    said: bytes
    stderr: bytes


def measured(*arguments: str, cwd: Path, before: str = "", behind: str = "") -> Measured:
    """`BEFORE | chatpipe ARGUMENTS | BEHIND` to its end; before and behind are words of a shell."""
    figures = cwd / "figures"
    launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(figures))
    pipeline = f'{before + " | " if before else ""}"$@"{" | " + behind if behind else ""}'
    began = time.perf_counter()
    done = subprocess.run(
        ("sh", "-c", pipeline, "-", *launcher, *CHATPIPE, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env=environment(),
        check=True,
    )
    wall_s = time.perf_counter() - began
    status, peak, cpu_s = figures.read_text().split()
    return Measured(int(status), int(peak) / _RSS_PER_MB, float(cpu_s), wall_s, done.stdout, done.stderr)


def tell(what: str, run: Measured, lines: int) -> None:
    """A line for whoever runs the tests with -s, which `make soak` does."""
    print(
        f"\n{what}: {run.peak_mb:.1f} MB at most, {run.wall_s:.1f} s,"
        f" {run.cpu_s * 1e3 / lines:.3f} ms of CPU a line",
        end="",
        flush=True,
    )


def seed() -> int:
    """Where the moments of a test come from: another one each time, by `make soak SEED=...`."""
    return int(os.environ.get("CHATPIPE_SOAK") or 1)
