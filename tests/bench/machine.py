"""Where the figures come from: the machine's line, and a clean place to run in.

Every timed process gets the environment made here: no bytecode switches, no proxies, no keys. The
package is copied and byte-compiled first, so that an edit in mid-run, or a missing .pyc, cannot
pass for a figure.
"""

from __future__ import annotations

import compileall
import importlib.metadata
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]

# As current installers write it. pip before 25 put `import re` in here, which --version then pays for.
_SCRIPT = "import sys\nfrom chatpipe.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


class Source(NamedTuple):
    """One state of the package to be measured: a copy of a source root, with its start script.

    The script lies in root, beside chatpipe/, so that Python looks for modules in one directory before
    the standard library's, as it does for a script in a bin/.
    """

    name: str
    root: Path
    script: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(self.script), *words]


def named(what: str, source: Source) -> str:
    """The name of a figure of this source. A source that is alone has no name."""
    return f"{what} [{source.name}]" if source.name else what


class Place(NamedTuple):
    """The scratch directory of one run of the benchmarks."""

    scratch: Path

    def environment(self, source: Source | None = None) -> dict[str, str]:
        """What a process sees. source is for programs other than its own script, which finds it anyway."""
        clean = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
        }
        return clean if source is None else {**clean, "PYTHONPATH": str(source.root)}

    def copy(self, name: str, root: Path) -> Source:
        """A compiled copy of the package under root, a directory that holds chatpipe/."""
        there = self.scratch / "sources" / (name or "here")
        shutil.copytree(root / "chatpipe", there / "chatpipe", ignore=shutil.ignore_patterns("__pycache__"))
        script = there / "script.py"
        script.write_text(_SCRIPT)
        compileall.compile_dir(there / "chatpipe", quiet=2)
        return Source(name, there, script)


def compile_dependencies() -> None:
    """Everything that is installed beside the package; a large module without its .pyc costs 90 ms."""
    compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2, workers=0)


def description(distributions: Sequence[str]) -> dict[str, str]:
    """The machine and the versions, for the first line of a report."""
    return {
        "cores": str(os.cpu_count()),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in distributions},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
