"""Programs of this folder that measure inside the package's own process: they print one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .machine import Place, Source


def result(place: Place, source: Source, program: str, *words: str) -> dict[str, float]:
    """What the program says, run with the package of that source."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program)), *words],
        env=place.environment(source),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
