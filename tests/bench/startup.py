"""Start-up: CPU of whole processes, as multiples of `python -c pass`. Beside them what nothing in
Python can go below, and two programs that do the same."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
_HTTPS, _SYSTEM_STORE = "ask, https", "ask, https, refused by the system's store"
_TLS_LIMITS = (0.6, 0.4)  # above http
_PEER_REACH, _PEER_DREAM = 1 / 7, 1 / 9


def run(place: Place, sources: Sequence[Source], report: Report, rounds: int | None) -> None:
    with _servers(place, sources[0]) as urls:
        cases = [
            *_floors(place, urls.whole),
            *(case for source in sources for case in _ours(place, source, urls)),
            *(case for source in sources for case in _over_tls(place, source, urls)),
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
    report.table("startup", "https above http", _above_http(milliseconds, sources))
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


def _above_http(milliseconds: dict[str, float], sources: Sequence[Source]) -> list[Figure]:
    """Between them is no other difference than TLS: with the refused request, no answer either."""
    figures = []
    for source in sources:
        plain = milliseconds.get(named("ask, http", source))
        for what in (_HTTPS, _SYSTEM_STORE):
            secure = milliseconds.get(named(what, source))
            if plain is not None and secure is not None:
                above = (secure - plain) / milliseconds["pass"]
                figures.append(Figure(f"{named(what, source)} - http", above, "x pass", *_TLS_LIMITS))
    return figures


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


class _Urls(NamedTuple):
    """Base URLs. certificates is the folder that holds the authority of secure, by its hash."""

    whole: str  # a completion in one piece
    streamed: str  # an event stream of 20 chunks
    secure: str  # as whole, over https
    certificates: Path


@contextlib.contextmanager
def _servers(place: Place, source: Source) -> Iterator[_Urls]:
    key, certificates = _authority(place.scratch)
    with (
        servers.loopback(place, source, "--canned") as whole,
        servers.loopback(place, source, "--chunks", "20") as streamed,
        servers.loopback(place, source, "--canned", "--tls", str(key)) as secure,
    ):
        yield _Urls(whole, streamed, secure, certificates)


def _authority(scratch: Path) -> tuple[Path, Path]:
    """A server's certificate with its key, and a folder with the authority that signed it."""
    import trustme

    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    server, folder = scratch / "server.pem", scratch / "certificates"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    folder.mkdir()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(folder / "ca.pem")]
    hashed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{hashed}.0").symlink_to("ca.pem")
    return server, folder


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


def _ours(place: Place, source: Source, urls: _Urls) -> list[Case]:
    request = place.scratch / "request.json"
    request.write_text(json.dumps(_GOOD))
    environment = place.environment()

    def case(name: str, *words: str, expects: bytes, **variables: str) -> Case:
        return Case(named(name, source), source.command(*words), {**environment, **variables}, expects)

    completing = {
        "_CHATPIPE_COMPLETE": "bash_complete",
        "COMP_WORDS": "chatpipe ask --temp",
        "COMP_CWORD": "2",
    }
    return [
        case("--version", "--version", expects=b"chatpipe "),
        case("--help", "--help", expects=b"One request:"),
        case("ask --help", "ask", "--help", expects=b"--temperature"),
        case("completion of a word", expects=b"--temperature", **completing),
        case("build", "build", "-m", "m", "Hello", expects=b'"Hello"'),
        case("check", "check", str(request), expects=b""),
        case("ask -p echo", "ask", "-p", "echo", "Hello", expects=b"Hello"),
        case(
            *("ask, http", "ask", "-m", "m", "--no-stream", "--base-url", urls.whole, "Hello"),
            expects=_ANSWER,
        ),
        case(
            *("ask, http, streamed", "ask", "-m", "m", "--base-url", urls.streamed, "Hello"),
            expects=b"piece 000019",
        ),
    ]


def _over_tls(place: Place, source: Source, urls: _Urls) -> list[Case]:
    """The request of `ask, http` over https, with an authority that is named and with those of the system.

    The system does not know that of our server: all the work up to the failed handshake is timed.
    """
    environment = place.environment()
    command = source.command("ask", "-m", "m", "--no-stream", "--base-url", urls.secure, "Hello")
    trusted = {**environment, "SSL_CERT_DIR": str(urls.certificates)}
    refused = [*command, "--retries", "0"]
    return [
        Case(named(_HTTPS, source), command, trusted, _ANSWER),
        Case(named(_SYSTEM_STORE, source), refused, environment, status=69),
    ]


def _peers(place: Place, urls: _Urls, report: Report) -> list[Case]:
    try:
        return peers.cases(place, urls.whole, urls.streamed)
    except peervenv.Missing as missing:
        report.say("startup", f"without llm and the openai SDK: {missing}")
        return []
