"""What `ask` imports on its way to an answer over http, and what each module costs: where to trim.

Self time of each module by `-X importtime`, the least of several runs: what a module does at import
without what it imports. The switch itself slows imports down, so compare the rows, not the sum.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from . import servers
from .machine import Place, Source, named
from .report import Figure, Report

_ROUNDS = 10
_SHOWN = 25


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    for source in sources:
        with servers.loopback(place, source, "--canned") as url:
            words = source.command("ask", "-m", "m", "--no-stream", "--base-url", url, "Hello")[1:]
            costs = _least(words, place.environment(), rounds or _ROUNDS)
        for module in _imported(["-c", "pass"], place.environment()):
            costs.pop(module, None)
        title = named(f"self time, least of {rounds or _ROUNDS}", source)
        ours = Counter({name: cost for name, cost in costs.items() if name.startswith("chatpipe")})
        report.table("imports", f"own modules, {title}", _figures(ours, _SHOWN))
        packages: Counter[str] = Counter()
        stdlib: Counter[str] = Counter()
        for name, cost in costs.items():
            packages[_package(name)] += cost
            if _package(name) == "stdlib":
                stdlib[name.partition(".")[0]] += cost
        report.table("imports", f"packages, {title}", _figures(packages, _SHOWN))
        report.table("imports", f"the standard library, {title}", _figures(stdlib, _SHOWN))


def _figures(costs: Counter[str], shown: int) -> list[Figure]:
    rest = sum(cost for _, cost in costs.most_common()[shown:])
    figures = [Figure(name, cost / 1e3, "ms") for name, cost in costs.most_common(shown)]
    if rest:
        figures.append(Figure(f"({len(costs) - shown} more)", rest / 1e3, "ms"))
    return [*figures, Figure(f"all {len(costs)}", sum(costs.values()) / 1e3, "ms")]


def _package(module: str) -> str:
    top = module.partition(".")[0]
    return "stdlib" if top in sys.stdlib_module_names else top


def _least(words: list[str], environment: dict[str, str], rounds: int) -> dict[str, int]:
    least: dict[str, int] = {}
    for _ in range(rounds):
        for module, cost in _imported(words, environment).items():
            least[module] = min(cost, least.get(module, cost))
    return least


def _imported(words: list[str], environment: dict[str, str]) -> dict[str, int]:
    """Self time in microseconds of every module that Python imports to run these words."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    costs = {}
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, _, module = line.removeprefix("import time:").split("|")
            costs[module.strip()] = int(own)
    return costs
