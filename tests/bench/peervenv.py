"""A virtual environment for the programs that we are compared with, made at the first call and kept."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from .machine import CHECKOUT

_HOME = CHECKOUT / ".venv-bench"
_PACKAGES = ("aiohttp", "llm", "openai", "orjson", "uvicorn[standard]")


class Missing(Exception):
    """The packages cannot be installed here."""


_AIMOCK = "@copilotkit/aimock"
_AIMOCK_VERSION = "1.43.0"


@functools.cache
def aimock() -> list[str]:
    """The words that start aimock, which runs on Node.js. Raises Missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("aimock needs node and npm")
    program = _HOME / "node_modules" / _AIMOCK / "dist" / "cli.js"
    if not program.exists():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(_HOME)]
        result = subprocess.run([*command, f"{_AIMOCK}@{_AIMOCK_VERSION}"], capture_output=True, text=True)
        if result.returncode:
            raise Missing(f"{_AIMOCK} cannot be installed")
    return [node, str(program)]


@functools.cache
def python() -> Path:
    """Its Python. Raises Missing."""
    executable = _HOME / "bin" / "python"
    done = _HOME / ".installed"
    wanted = " ".join(_PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return executable
    for command in (
        [sys.executable, "-m", "venv", str(_HOME)],
        [str(executable), "-m", "pip", "install", "--quiet", *_PACKAGES],
        [str(executable), "-m", "compileall", "-q", "-j0", str(_HOME / "lib")],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode and "compileall" not in command:  # some packages ship templates in .py
            words = (result.stderr or result.stdout).strip().splitlines()
            raise Missing(words[-1] if words else f"{command[0]} failed")
    done.write_text(wanted)
    return executable
