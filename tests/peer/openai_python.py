"""Programs that use the official library of OpenAI, in a Python that has it.

LiteLLM, which `make test` installs into .venv-peer, needs the library; CHATPIPE_PEER_PYTHON names another
Python that has it.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from support.process import environment
from support.programs import missing


def run_with_openai(script: str, *arguments: str) -> bytes:
    """The output of a script. The test is skipped where the library is missing."""
    command = [str(_python()), "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@cache
def _python() -> Path:
    named = os.environ.get("CHATPIPE_PEER_PYTHON")
    python = Path(named) if named else Path(__file__).parents[2] / ".venv-peer" / "bin" / "python"
    if not python.exists():
        missing(f"no '{python}': make .venv-peer/.installed, or set CHATPIPE_PEER_PYTHON")
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('openai') is None)"
    if subprocess.run([str(python), "-c", probe], check=False).returncode:
        missing(f"'{python}' does not have the library openai")
    return python
