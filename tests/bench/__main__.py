"""`python -m tests.bench`, from the checkout: what chatpipe costs, against the figures it is to reach.

--only startup,imports    some of the benchmarks
--json FILE               a JSON line a figure as well
--rounds N                runs a case, instead of each benchmark's own number
--also DIR                another source root (a directory that holds chatpipe/), side by side
                          with this one in the same run; repeatable
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from . import batch, busy, checking, firstbyte, fleet, imports, machine, replies, startup, streaming
from .machine import CHECKOUT, Place
from .report import Report

_BENCHES = {
    "startup": startup.run,
    "imports": imports.run,
    "firstbyte": firstbyte.run,
    "streaming": streaming.run,
    "checking": checking.run,
    "batch": batch.run,
    "busy": busy.run,
    "fleet": fleet.run,
    "replies": replies.run,
}
_VERSIONS = ("click", "httpx", "orjson", "httptools", "jsonschema")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", default=",".join(_BENCHES), metavar="NAME,...", help=", ".join(_BENCHES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--also", type=Path, action="append", default=[], metavar="DIR")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(_BENCHES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(_BENCHES)}")
    report = Report(options.json, machine.description(_VERSIONS))
    with tempfile.TemporaryDirectory(prefix="chatpipe-bench-") as scratch:
        place = Place(Path(scratch))
        machine.compile_dependencies()
        # Alone it goes without a name; beside others each has one.
        sources = [place.copy("here" if options.also else "", CHECKOUT / "cli")]
        sources += [place.copy(root.resolve().name, root) for root in options.also]
        for name in names:
            _BENCHES[name](place, sources, report, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
