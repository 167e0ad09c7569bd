"""Imports point one way only, and only the files that may touch the world do.

What is read is the source, every import in it: also those inside functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import figures
from figures import imported, touched

PACKAGE = Path(__file__).parents[1] / "cli" / "chatpipe"

# Lowest first: a module imports from its own layer and lower ones.
LAYERS = (
    "errors",
    "options",
    "inputs",
    "system",
    "request",
    "schema",
    "response",
    "server",
    "local",
    "wire",
    "exchange",
    "conversation",
    "limits",
    "output",
    "prepare",
    "call",
    "ask",
    "batch",
    "flags",
    "commands",
    "main",
    "__main__",
)

# What a module may do to the world, and why it is that one. Everything else is a function of its arguments.
WORLD: dict[str, dict[str, str]] = {
    "main": {
        "os": "ends the process, and opens /dev/null where a standard stream is closed",
        "sys": "argv, and where --version goes",
        "signal": "turns signals into an end, and an end into a signal",
        "environ": "whether a shell asks for completion",
    },
    "inputs.sources": {
        "open": "every file that goes into a request is read here",
        "os": "how large one is, before it is read, and where a file leads that a row names",
    },
    "inputs.stdin": {
        "os": "descriptor 0",
        "sys": "whether it was closed at the start",
        "select": "whether something is there",
    },
    "schema.check": {"open": "the schema, which is a part of the package"},
    "exchange": {
        "time": "default clock, and sleeps where there is no loop",
        "random": "default of a context",
    },
    "wire.sync": {
        "socket": "the connection",
        "ssl": "its encryption",
        "time": "time-outs, and how long a connection is idle",
        "select": "whether an idle connection is still there",
    },
    "server.tls": {"open": "certificates", "os": "a folder of certificates", "ssl": "contexts"},
    "wire.transports": {"ssl": "the type of a context, only"},
    "wire.connect": {
        "asyncio": "connections beside each other",
        "socket": "the connection",
        "ssl": "its encryption",
        "threading": "names are looked up beside the event loop",
        "time": "how long an address is known",
    },
    "wire.faults": {"socket": "the numbers of its errors, only"},
    "server.keys": {
        "open": "the key and the headers from files",
        "os": "a key from a descriptor",
        "subprocess": "a key from a command",
    },
    "wire.connection": {
        "asyncio": "one connection under an event loop",
        "socket": "the connection",
        "ssl": "its encryption",
        "time": "time-outs and the deadline",
    },
    "wire.origin": {"ssl": "the type of a context, only"},
    "wire.slots": {"asyncio": "those who wait for a connection", "time": "how long one is idle"},
    "wire.pool": {"asyncio": "sweeps idle connections", "time": "how long they are idle"},
    "wire.proxy": {"asyncio": "the deadline of one of many requests", "ssl": "one that trusts nobody"},
    "wire.timeouts": {"time": "how much is left until the deadline"},
    "conversation.process": {
        "os": "its pipes, and signals to its group",
        "subprocess": "starts it",
        "selectors": "which of its pipes are ready",
        "signal": "ends it",
        "threading": "any thread may kill it",
    },
    "conversation.execute": {
        "selectors": "waits for all commands at once",
        "time": "how long they take, and turns to wait",
        "threading": "stop() comes from another thread",
        "shutil": "whether a command is there",
        "open": "whether a script says what runs it",
    },
    "inputs.lines": {
        "asyncio": "waits beside what is in flight",
        "os": "the descriptor that is read",
        "select": "waits for a header before anything is in flight",
    },
    "batch.journal.index": {"os": "the files that recorded answers are in"},
    "batch.journal.journal": {
        "os": "the journal",
        "open": "removes it when OUT has all answers",
        "time": "fsync once a second",
    },
    "limits.rate": {"random": "default of what is passed in"},
    "limits.queue": {"asyncio": "the queue of a run"},
    "limits.shared": {"os": "the file that processes share, and which of them run"},
    "limits.prices": {"open": "the user's prices"},
    "batch.sender": {"asyncio": "turns that wait for a part of the budget"},
    "batch.journal.answers": {"os": "which files there are, and the journal's descriptor"},
    "batch.async_engine": {"asyncio": "a task for each slot in flight"},
    "batch.driver": {"asyncio": "reads the input beside the engine"},
    "system.descriptor": {
        "os": "descriptors that are written",
        "select": "waits for a full pipe",
        "socket": "-o SOCKET",
        "fcntl": "whether a descriptor can be written",
    },
    "system.atomic": {
        "os": "files that are written whole, and their directories",
        "open": "removes a temporary file",
    },
    "system.same_file": {"os": "which file a name or a descriptor refers to"},
    "system.replace": {"os": "files that are replaced", "open": "the old file, to compare"},
    "system.lock": {
        "os": "a file that processes share",
        "fcntl": "its lock",
        "time": "default of what is passed in",
    },
    "system.signals": {
        "signal": "those that end the program, and their handlers",
        "threading": "handlers run in the main thread only",
        "asyncio": "the type of an event loop, only",
    },
    "conversation.transcript": {
        "os": "the file that is read and appended to",
        "open": "removes it if it stays empty",
    },
    "output.target": {"sys": "whether stdout is closed"},
    "output.curl": {"os": "whether --cacert is a folder"},
    "system.console": {"os": "descriptor 2", "threading": "tools fail in threads of their own"},
    "batch.bar": {"os": "the width of the terminal", "threading": "tools tell what they do in theirs"},
    "batch.progress": {"asyncio": "from time to time", "time": "wall time"},
    "batch.job": {"os": "whether the output is, or would be, a file"},
    "batch.watch": {"os": "what is at the terminal, and how many lines the input has"},
    "conversation.setup": {"asyncio": "tools run beside the event loop of a run"},
    "batch.session": {"asyncio": "the progress display beside the driver"},
    "batch.failures": {"open": "--errors"},
    "batch.input": {"os": "the input"},
    "batch.run": {"asyncio": "the event loop of a dry run"},
    "batch.live_run": {"asyncio": "the event loop of a run", "time": "wall time"},
    "batch.journal.answer_files": {"tempfile": "the journal of --dedupe"},
    "commands.ask": {"environ": "hands it on"},
    "commands.batch": {"environ": "hands it on"},
    "commands.build": {"environ": "hands it on"},
    "commands.map": {"environ": "hands it on"},
}


def sources() -> list[Path]:
    return figures.sources(PACKAGE)


def name_of(path: Path) -> str:
    return figures.name_of(path, PACKAGE)


NAMES = [name_of(path) for path in sources()]
EACH = pytest.mark.parametrize("path", sources(), ids=NAMES)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def layer_of(module: str) -> str:
    """The layer of `chatpipe.request.build`; `chatpipe` itself, which holds the version, is below all."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@EACH
def test_imports_point_down(path: Path) -> None:
    own = name_of(path).split(".")[0]
    height = -1 if own == "__init__" else LAYERS.index(own)
    for module in imported(tree_of(path)):
        layer = layer_of(module)
        if module.split(".")[0] == "chatpipe" and layer in LAYERS:
            assert LAYERS.index(layer) <= height, f"{own} imports {module}"


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in NAMES} - {"__init__"} <= set(LAYERS)


def test_commands_do_not_import_each_other() -> None:
    """Apart from the table that finds them."""
    commands = {name for name in NAMES if name.startswith("commands.")} - {
        "commands.__init__",
        "commands.table",
    }
    for path in sources():
        if name_of(path) in commands:
            others = {f"chatpipe.{name}" for name in commands - {name_of(path)}}
            assert others.isdisjoint(imported(tree_of(path)))


@EACH
def test_inner_packages_are_empty(path: Path) -> None:
    """No re-exports: they make cycles."""
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert path.read_text(encoding="utf-8") == ""


@EACH
def test_no_drawer_for_odds_and_ends(path: Path) -> None:
    if name_of(path) == "conversation.tool_calls":  # the API's word for the API's thing
        return
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "tools", "base"}
    assert not path.stem.startswith("_") or path.stem in {"__init__", "__main__"}


@EACH
def test_only_those_who_may_touch_the_world(path: Path) -> None:
    assert touched(tree_of(path)) <= set(WORLD.get(name_of(path), {}))


@pytest.mark.parametrize("name", WORLD)
def test_nobody_is_allowed_what_he_does_not_do(name: str) -> None:
    """So that the table stays a description."""
    path = PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
    assert set(WORLD[name]) <= touched(tree_of(path))


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("import time", {"time"}),
        ("def f():\n    from time import sleep", {"time"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ssl", {"ssl"}),
        ("import os\nos.environ.get('a')", {"environ"}),
        ("import os\nos.path.exists('a')", {"os"}),
        ("import os\nos.path.join('a', 'b')", set()),
        ("open('a')", {"open"}),
        ("path.read_text()", {"open"}),
        ("import sys\nsys.stdout.write('a')", {"sys"}),
        ("import re, json\nre.compile('a')", set()),
    ],
)
def test_what_counts_as_touching_the_world(source: str, reached: set[str]) -> None:
    assert touched(ast.parse(source)) == reached
