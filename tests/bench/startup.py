"""Start-up: CPU of whole processes, as multiples of `python -c pass`. Beside them what nothing in
Python can go below, and two programs that do the same."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence

from . import measure, peers, peervenv, servers
from .machine import Place, Source, named
from .measure import Case
from .report import Figure, Report

_ROUNDS = 31
_ANSWER = b"An answer that was made beforehand"
# httpx imports its own command line, and rich with it, unless it is told that there is none.
_NO_HTTPX_MAIN = "import sys; sys.modules['httpx._main'] = None"
_LIBRARIES = f"{_NO_HTTPX_MAIN}; import click, httpx, orjson, httptools"
_GOOD = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5}
# (reach, dream) in multiples of pass.
_LIMITS = {
    "--version": (2.0, 1.5),
    "--help": (6.0, 5.0),
    "completion of a word": (6.0, 5.0),
    "ask, http": (11.5, 10.0),
}
_PEER_REACH, _PEER_DREAM = 1 / 7, 1 / 9


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    with _servers(place, sources[0]) as urls:
        cases = [
            *_floors(place, urls[0]),
            *(case for source in sources for case in _ours(place, source, urls)),
            *_peers(place, urls, report),
        ]
        costs = measure.interleaved(_proven(cases, place, report), rounds or _ROUNDS)
    milliseconds = {name: measure.cpu_ms(several) for name, several in costs.items()}
    walls = {name: measure.wall_ms(several) for name, several in costs.items()}
    passes = milliseconds["pass"]
    figures = []
    for name, value in milliseconds.items():
        reach, dream = _LIMITS.get(name.partition(" [")[0], (None, None))
        note = f"{value:.1f} ms CPU, {walls[name]:.1f} ms"
        figures.append(Figure(name, value / passes, "x pass", reach, dream, note=note))
    report.table("startup", f"median of {rounds or _ROUNDS}", figures)
    if beside := _beside(milliseconds, sources):
        report.table("startup", "beside other programs", beside)


def _proven(cases: Sequence[Case], place: Place, report: Report) -> list[Case]:
    """Those that do what they are to do; the others are told of, and do not keep these from being timed."""
    proven = []
    for case in cases:
        try:
            measure.prove(case, place.scratch)
        except measure.WrongResult as wrong:
            report.say("startup", f"NOT TIMED: {wrong}")
        else:
            proven.append(case)
    return proven


def _beside(milliseconds: dict[str, float], sources: Sequence[Source]) -> list[Figure]:
    figures = []
    for source in sources:
        for peer, kind in peers.KINDS.items():
            ours = named(f"ask, http{kind}", source)
            if not {ours, peer} <= milliseconds.keys():
                continue
            ratio = milliseconds[ours] / milliseconds[peer]
            reach, dream = (_PEER_REACH, _PEER_DREAM) if peer == peers.LLM else (None, None)
            figures.append(Figure(f"{ours} / {peer}", ratio, "", reach, dream, note=f"1/{1 / ratio:.1f}"))
    return figures


@contextlib.contextmanager
def _servers(place: Place, source: Source) -> Iterator[tuple[str, str]]:
    """The base URLs of two servers: a completion in one piece, and an event stream of 20 chunks."""
    with (
        servers.loopback(place, source, "--canned") as whole,
        servers.loopback(place, source, "--chunks", "20") as streamed,
    ):
        yield whole, streamed


def _floors(place: Place, url: str) -> list[Case]:
    environment = place.environment()

    def python(name: str, code: str) -> Case:
        return Case(name, [sys.executable, "-c", code], environment)

    cases = [
        python("pass", "pass"),
        python("import click", "import click"),
        python("import httpx", f"{_NO_HTTPX_MAIN}; import httpx"),
        python("import click, httpx, orjson, httptools", _LIBRARIES),
        python("the same, leaving by os._exit", f"import os; {_LIBRARIES}; os._exit(0)"),
    ]
    if curl := shutil.which("curl"):
        words = [
            "-s",
            "-H",
            "Content-Type: application/json",
            "-d",
            json.dumps(_GOOD),
            f"{url}/chat/completions",
        ]
        cases.append(Case("curl", [curl, *words], environment, _ANSWER))
    return cases


def _ours(place: Place, source: Source, urls: tuple[str, str]) -> list[Case]:
    request = place.scratch / "request.json"
    request.write_text(json.dumps(_GOOD))
    environment = place.environment()
    whole, streamed = urls

    def case(name: str, *words: str, expects: bytes, **variables: str) -> Case:
        return Case(named(name, source), source.command(*words), {**environment, **variables}, expects)

    completing = {
        "_CHATPIPE_COMPLETE": "bash_complete",
        "COMP_WORDS": "chatpipe ask --temp",
        "COMP_CWORD": "2",
    }
    return [
        case("--version", "--version", expects=b"chatpipe "),
        case("--help", "--help", expects=b"Commands:"),
        case("ask --help", "ask", "--help", expects=b"--temperature"),
        case("completion of a word", expects=b"--temperature", **completing),
        case("build", "build", "-m", "m", "Hello", expects=b'"Hello"'),
        case("check", "check", str(request), expects=b""),
        case("ask -p echo", "ask", "-p", "echo", "Hello", expects=b"Hello"),
        case("ask, http", "ask", "-m", "m", "--no-stream", "--base-url", whole, "Hello", expects=_ANSWER),
        case(
            "ask, http, streamed", "ask", "-m", "m", "--base-url", streamed, "Hello", expects=b"piece 000019"
        ),
    ]


def _peers(place: Place, urls: tuple[str, str], report: Report) -> list[Case]:
    try:
        return peers.cases(place, *urls)
    except peervenv.Missing as missing:
        report.say("startup", f"without llm and the openai SDK: {missing}")
        return []
