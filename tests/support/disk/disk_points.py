"""Commands that use every kind of file, and the rules that hold whichever of their system calls fails."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from support.disk.failing_disk import FAULTS, Plan
from support.process import Done, run
from support.servers.loopback import Answer, Request, Server, completion, reply, serve

OLD = b"what was there before\n"
# What differs between two runs that did the same.
_CHANGES = re.compile(
    rb'"(?:latency_s|at|wall_s|requests_per_second|p50|p95|p99)":(?:"[^"]*"|[0-9.e-]+|null)'
)
_CODES = {code.rpartition(" ")[2] for codes in FAULTS.values() for code in codes} - {"short"}
_CAUSES = {code: os.strerror(getattr(errno, code)).lower() for code in _CODES}
_SAID_STATUSES = (66, 74, 77)  # 77 for the file of a key


@dataclass(frozen=True)
class Scenario:
    """A command in a folder with files. outputs are replaced whole; status is that without a fault.

    resumes: the next run sends only what has no recorded answer. grows are files that only get longer.
    """

    name: str
    arguments: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("out",)
    stdin: bytes | None = None
    before: tuple[tuple[str, ...], ...] = ()
    status: int = 0
    resumes: bool = False
    grows: tuple[str, ...] = ()


class Point(NamedTuple):
    """A fault of the call number `at` of a scenario."""

    scenario: Scenario
    at: int
    call: str
    fault: str
    lasting: bool = False

    def __str__(self) -> str:
        lasting = ", and from there on" if self.lasting else ""
        return f"{self.scenario.name}: {self.fault} in call {self.at}, {self.call}{lasting}"


def answer(request: Request) -> Answer:
    """The prompt and `!`; that of `cut` is cut off."""
    text = request.json()["messages"][-1]["content"]
    return reply(200, completion(f"{text}!", finish_reason="length" if text == "cut" else "stop"))


class Lab:
    """Runs of scenarios, each in a new folder below one, against one server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self._number = 0
        self._calls: dict[str, tuple[list[str], dict[str, bytes]]] = {}

    def prepare(self, scenario: Scenario) -> Path:
        self._number += 1
        folder = self.folder / str(self._number)
        folder.mkdir()
        for name, data in scenario.files.items():
            (folder / name).write_bytes(data)
        for arguments in scenario.before:
            done = run(*self._command(arguments), cwd=folder)
            assert done.status == 0, done
        return folder

    def run(self, scenario: Scenario, folder: Path, plan: Plan | None = None) -> tuple[Done, list[str]]:
        """The end of a run, and the prompts that it sent."""
        del self.server.requests[:]
        env = {} if plan is None else plan.environment()
        done = run(*self._command(scenario.arguments), stdin=scenario.stdin, cwd=folder, env=env)
        return done, [request.json()["messages"][-1]["content"] for request in self.server.requests]

    def calls(self, scenario: Scenario) -> tuple[list[str], dict[str, bytes]]:
        """The calls of a run without a fault, and the files that it leaves."""
        if scenario.name not in self._calls:
            self._calls[scenario.name] = self._traced(scenario)
        return self._calls[scenario.name]

    def _traced(self, scenario: Scenario) -> tuple[list[str], dict[str, bytes]]:
        folder, trace = self.prepare(scenario), self.folder / "trace"
        trace.unlink(missing_ok=True)
        done, _ = self.run(scenario, folder, Plan(str(folder), str(trace)))
        assert done.status == scenario.status, done
        return trace.read_text().splitlines(), contents(folder)

    def _command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        name, *rest = arguments
        sends = (
            ()
            if name in ("show", "check", "build")
            else ("--base-url", self.server.url, "-m", "m", "--retries", "0")
        )
        return (name, *sends, *rest)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: same(path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()}


def same(data: bytes) -> bytes:
    """The data without what differs between two runs."""
    return _CHANGES.sub(b"", data)


def points(lab: Lab, scenario: Scenario) -> Iterator[Point]:
    calls, _ = lab.calls(scenario)
    for at, traced in enumerate(calls, 1):
        call, name = traced.split(" ")[:2]
        for fault in FAULTS[call]:
            yield Point(scenario, at, f"{call} of {name}", fault)
            if " " not in fault and fault not in ("EINTR", "EPERM", "ENOLCK"):
                yield Point(scenario, at, f"{call} of {name}", fault, lasting=True)


def violations(lab: Lab, point: Point, good: dict[str, bytes]) -> list[str]:
    """The rules that a run breaks when this call fails."""
    scenario = point.scenario
    folder = lab.prepare(scenario)
    before = contents(folder)
    trace = lab.folder / f"{folder.name}.trace"
    plan = Plan(str(folder), str(trace), point.at, point.fault, point.lasting)
    try:
        done, sent = lab.run(scenario, folder, plan)
    except subprocess.TimeoutExpired:
        return ["hangs"]
    broken = list(_broken_by(scenario, point, done, before, contents(folder), good))
    broken += _lost(scenario, done, sent, folder)
    if scenario.resumes:
        broken += _broken_by_next(lab, scenario, folder, good)
    shutil.rmtree(folder)
    trace.unlink(missing_ok=True)
    return [f"{each} [{done.status}: {done.stderr.decode()!r}]" for each in broken]


def _broken_by(
    scenario: Scenario,
    point: Point,
    done: Done,
    before: dict[str, bytes],
    after: dict[str, bytes],
    good: dict[str, bytes],
) -> Iterator[str]:
    if done.status not in (scenario.status, *_SAID_STATUSES):
        yield "another status"
    if b"Traceback" in done.stderr or b" a bug: " in done.stderr:
        yield "a bug"
    if point.fault == "short" and done.status != scenario.status:
        yield "a short read or write is no fault"
    for name in scenario.outputs:
        if after.get(name) not in (before.get(name), good.get(name)):
            yield f"{name} is neither old nor new: {after.get(name)!r}"
        if done.status == scenario.status and after.get(name) != good.get(name):
            yield f"{name} is not new, and nothing is said: {after.get(name)!r}"
    for name in scenario.grows:
        if not after.get(name, b"").startswith(before.get(name, b"")):
            yield f"{name} has lost what it had"
        if done.status == scenario.status and after.get(name) != good.get(name):
            yield f"{name} is not complete, and nothing is said: {after.get(name)!r}"
    if done.status != scenario.status:
        cause = _CAUSES[point.fault.rpartition(" ")[2]] if point.fault != "short" else ""
        text = done.stderr.decode().lower()
        if cause not in text:
            yield "names no cause"
        names = {"stdin", "stdout", *scenario.outputs, *before, *after, *good}
        # A limit of open files is no fault of the file that is one too many.
        if not any(name.lower() in text for name in names) and "'ulimit -n'" not in text:
            yield "names no file"
    for line in done.stderr.splitlines():
        if not line.startswith(b"chatpipe: "):
            yield "a line that is not ours"


def _lost(scenario: Scenario, done: Done, sent: list[str], folder: Path) -> Iterator[str]:
    """The answers that came and are nowhere, unless the message says so."""
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file()) + done.stdout
    says_so = b" lost" in done.stderr or b"stdout: cannot write" in done.stderr
    for prompt in sent:
        if f"{prompt}!".encode() not in kept and not says_so:
            yield f"the answer to {prompt} is lost"


def _broken_by_next(lab: Lab, scenario: Scenario, folder: Path, good: dict[str, bytes]) -> Iterator[str]:
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    done, sent = lab.run(scenario, folder)
    if done.status != scenario.status:
        yield f"the next run ends in {done}"
    for name in scenario.outputs:
        if contents(folder).get(name) != good.get(name):
            yield f"{name} is not new after the next run"
    for prompt in sent:
        if f"{prompt}!".encode() in kept and prompt != "cut":
            yield f"the next run buys {prompt} again"


@contextmanager
def laboratory(folder: Path) -> Iterator[Lab]:
    with serve(answer) as server:
        yield Lab(folder, server)


def _rows(*prompts: str) -> bytes:
    return b"".join(b'{"prompt":"%b"}\n' % prompt.encode() for prompt in prompts)


_IN = {"in.jsonl": _rows("one", "two", "three")}
_BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
_BATCH = ("batch", "-q", "-j1", "in.jsonl")
SCENARIOS = (
    Scenario("ask -o", ("ask", "hello", "-o", "out")),
    Scenario("ask -o, replaced", ("ask", "hello", "-o", "out"), {"out": OLD}),
    Scenario("ask -o, no stream", ("ask", "hello", "-f", "json", "-o", "out"), {"out": OLD}),
    Scenario(
        "ask -o -M --if-changed",
        ("ask", "-r", "a.txt", "-o", "out", "-M", "dep", "--if-changed"),
        {"out": OLD, "a.txt": b"""{"messages":[{"role":"user","content":"hello"}]}"""},
        ("out", "dep"),
    ),
    Scenario("ask -o, unchanged", ("ask", "hello", "-o", "out", "--if-changed"), {"out": b"hello!\n"}),
    Scenario("ask -o, cut off", ("ask", "cut", "-o", "out"), {"out": OLD}, status=3),
    Scenario("ask, to stdout", ("ask",), stdin=b"hello", outputs=()),
    Scenario("ask --transcript", ("ask", "hello", "--transcript", "chat"), outputs=(), grows=("chat",)),
    Scenario(
        "ask --transcript -o",
        ("ask", "hello", "--transcript", "chat", "-o", "out"),
        {"chat": b'{"role":"user","content":"hi"}\n{"role":"assistant","content":"hi!"}'},
        grows=("chat",),
    ),
    Scenario(
        "ask --pace-file",
        ("ask", "hello", "--pace-file", "pace", "--rpm", "60000", "-o", "out"),
    ),
    Scenario("batch -o", (*_BATCH, "-o", "out"), _IN, resumes=True),
    Scenario(
        "batch -o, resumed",
        (*_BATCH, "-o", "out"),
        {"in.jsonl": _rows("one", "two", "three"), "half.jsonl": _rows("one", "cut")},
        before=(("batch", "-q", "half.jsonl", "--journal", "out.journal", "--allow", "truncated"),),
        resumes=True,
    ),
    Scenario(
        "batch -o, of an edited input",
        (*_BATCH, "-o", "out"),
        {"in.jsonl": _rows("two", "four"), "old.jsonl": _rows("one", "two", "three")},
        before=(("batch", "-q", "old.jsonl", "-o", "out"),),
        resumes=True,
    ),
    Scenario("batch -f text -o", (*_BATCH, "-f", "text", "-o", "out"), _IN, resumes=True),
    Scenario(
        "batch --reuse",
        (*_BATCH, "--reuse", "sold", "-o", "out"),
        {"in.jsonl": _rows("one", "two", "three"), "old.jsonl": _rows("one", "two")},
        before=(("batch", "-q", "old.jsonl", "-o", "sold"),),
        resumes=True,
    ),
    Scenario("batch --journal", (*_BATCH, "-k", "--journal", "kept"), _IN, (), resumes=False),
    Scenario("batch to stdout", _BATCH, _IN, ()),
    Scenario("batch --dedupe", (*_BATCH, "--dedupe"), {"in.jsonl": _rows("one", "one", "two")}, ()),
    Scenario(
        "batch --errors --report",
        (*_BATCH, "-o", "out", "--errors", "bad", "--report", "report"),
        {"in.jsonl": _rows("one", "cut")},
        status=1,
    ),
    Scenario(
        "batch --pace-file",
        (*_BATCH, "-o", "out", "--pace-file", "pace", "--rpm", "60000"),
        _IN,
        resumes=True,
    ),
    Scenario(
        "ask, of many files",
        (
            "ask",
            "-r",
            "r.json",
            "--messages",
            "m.jsonl",
            "--key-file",
            "key",
            "-o",
            "out",
        ),
        {
            "r.json": b'{"temperature":0}',
            "m.jsonl": b'{"role":"user","content":"5"}\n',
            "key": b"sk-0123456789012345678901\n",
        },
    ),
    Scenario(
        "batch --prices",
        (*_BATCH, "-o", "out", "--max-cost", "9", "--prices", "prices"),
        {**_IN, "prices": b"[m]\ninput=1.0\noutput=2.0\n"},
        resumes=True,
    ),
    Scenario("check", ("check", "in.jsonl"), {"in.jsonl": b'{"model":"m","messages":[]}\n'}, (), status=65),
    Scenario(
        "show",
        ("show", "old", "-f", "text"),
        {"in.jsonl": _rows("one", "two")},
        (),
        before=(("batch", "-q", "in.jsonl", "-o", "old"),),
    ),
    Scenario("build", ("build", "-r", "r.json", "-f", "body"), {"r.json": _BODY}, ()),
    Scenario(
        "map -o",
        ("map", "-q", "-j1", "{{prompt}}", "in.jsonl", "-o", "out"),
        _IN,
        resumes=True,
    ),
    Scenario(
        "map --csv -o",
        ("map", "-q", "-j1", "{{prompt}}", "--csv", "in.csv", "-o", "out"),
        {"in.csv": b"prompt,n\none,1\ntwo,2\n"},
        resumes=True,
    ),
)
