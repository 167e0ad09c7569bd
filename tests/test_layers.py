"""Guards of the structure: imports point down, few modules touch the world, names and sizes stay in limits.

The tests read the source. Imports inside functions and under TYPE_CHECKING count.
tests/quality/figures.py measures, and holds every limit.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from quality import figures
from quality.figures import imported, touched

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cli" / "chatpipe"

# Lowest first: a module imports from its own layer and lower ones.
LAYERS = (
    "named_tuple",
    "line_record",
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
    "recordings",
    "cluster",
    "exchange",
    "conversation",
    "limits",
    "output",
    "prepare",
    "call",
    "ask",
    "models",
    "jobs",
    "batch",
    "configuration",
    "serve",
    "flags",
    "commands",
    "final_fault",
    "main",
    "__main__",
)

# What a module may do to the world, and why it is that one. Everything else is a function of its arguments.
WORLD: dict[str, dict[str, str]] = {
    "__main__": {
        "signal": "the default action, before anything else",
        "sys": "the version of Python, and a line about an older one",
    },
    "main": {
        "os": "ends the process, and opens /dev/null where a standard stream is closed",
        "sys": "argv, and where --version goes",
        "signal": "ends the process by a signal",
        "environ": "whether a shell asks for completion, and keys to hide in errors",
    },
    "final_fault": {"sys": "the names of Python's own modules"},
    "inputs.sources": {
        "open": "every file that goes into a request is read here",
        "os": "how large one is, before it is read, and where a file leads that a row names",
    },
    "system.slow_file": {
        "open": "files that may keep us waiting",
        "os": "whether one may",
        "threading": "a note while open() waits",
    },
    "batch.provider_jobs.item_file": {"asyncio": "lets the display run while a file is read"},
    "inputs.stdin": {
        "os": "descriptor 0",
        "sys": "whether it was closed at the start",
        "select": "whether something is there",
    },
    "models.kept_models": {"open": "the names of models", "os": "the folder of these files"},
    "server.config": {"os": "whether the name of its file is a link, or absolute"},
    "server.token_files": {"os": "whether a provider's own tool keeps a token"},
    "commands.check": {"environ": "keys in the place of a file"},
    "flags.server": {"environ": "where the profiles are that completion offers, and keys in wrong places"},
    "exchange": {
        "time": "default clock, and sleeps where there is no loop",
        "random": "default of a context",
    },
    "cluster.cluster_wait": {"asyncio": "timers"},
    "cluster.hangup": {
        "os": "a pipe that ends the thread",
        "select": "the end of the other side",
        "threading": "Ray keeps the main thread busy",
    },
    "cluster.own_processes": {
        "open": "who started what",
        "os": "the list of processes, and their end",
        "signal": "ends them",
        "time": "until they are gone",
    },
    "cluster.stand_in_keys": {"secrets": "they look like no other text"},
    "cluster.node_workers": {"asyncio": "the calls of workers, and how long they may take"},
    "cluster.ray_api": {"socket": "whether a cluster is there"},
    "cluster.relay": {
        "asyncio": "the messages of a run",
        "os": "descriptor 0, and the end of this process",
        "shutil": "the end of the folder of a cluster of our own",
        "socket": "the link to the run",
    },
    "cluster.relay_process": {
        "asyncio": "the link, and the socket that has the terms",
        "open": "what Ray says, or the null device",
        "os": "the end of a group of processes",
        "secrets": "a token without which nobody else joins",
        "shutil": "its end",
        "signal": "ends it",
        "socket": "the link",
        "subprocess": "starts it",
        "sys": "the same Python",
        "tempfile": "the folder of a cluster of our own",
    },
    "cluster.open_worker": {"socket": "the terms"},
    "cluster.worker": {
        "asyncio": "requests beside each other",
        "environ": "of its machine: keys and proxies",
    },
    "cluster.workers": {"asyncio": "the replies that requests wait for, and its timers"},
    "cluster.frames": {"asyncio": "a stream of messages"},
    "cluster.cluster_transport": {"time": "deadlines"},
    "cluster.parcel_exchange": {"time": "deadlines"},
    "wire.first_address": {
        "select": "which address answers first",
        "socket": "the connection",
        "time": "when the next address is tried",
    },
    "wire.sync": {
        "socket": "the connection",
        "ssl": "its encryption",
        "time": "time-outs, and how long a connection is idle",
        "select": "whether an idle connection is still there",
    },
    "server.tls": {"open": "certificates", "os": "a folder of certificates", "ssl": "contexts"},
    "server.certificates": {"open": "the bundle", "os": "the folder of hashed ones, and their ages"},
    "wire.transports": {"ssl": "the type of a context, only"},
    "wire.connect": {
        "asyncio": "connections beside each other",
        "socket": "the connection",
        "ssl": "its encryption",
        "threading": "names are looked up beside the event loop",
        "time": "how long an address is known",
    },
    "wire.faults": {"socket": "the numbers of its errors, only"},
    "server.key_command": {
        "os": "its output, and signals to what it started",
        "open": "who started what",
        "select": "whether there is output",
        "signal": "ends it",
        "subprocess": "starts it",
        "time": "how long it takes",
    },
    "wire.connection": {
        "asyncio": "one connection under an event loop",
        "socket": "the connection",
        "ssl": "its encryption",
        "time": "time-outs and the deadline",
        "select": "whether an idle connection is still there",
    },
    "wire.loop_timeout": {"asyncio": "a time-out under an event loop"},
    "wire.origin": {"ssl": "the type of a context, only"},
    "wire.reply_memory": {"asyncio": "replies that wait for the oldest one"},
    "wire.slots": {"asyncio": "those who wait for a connection", "time": "how long one is idle"},
    "wire.pool": {"asyncio": "sweeps idle connections", "time": "how long they are idle"},
    "wire.proxied_streams": {"time": "how long a proxy takes to open the way"},
    "wire.proxy": {"ssl": "one that trusts nobody"},
    "wire.timeouts": {"time": "how much is left until the deadline"},
    "batch.shared_keys": {"threading": "a key is read in a thread, by one of them at a time"},
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
    },
    "conversation.command_check": {
        "os": "the working directory",
        "shutil": "whether a command is there",
        "open": "whether a script says what runs it",
    },
    "inputs.lines": {
        "asyncio": "waits beside what is in flight",
        "os": "the descriptor that is read",
        "select": "waits for a header before anything is in flight",
    },
    "system.line_index": {"os": "the files that recorded answers are in"},
    "recordings.recorded_attempts": {"time": "default of what is passed in"},
    "recordings.recorded_transport": {"time": "default of what is passed in"},
    "recordings.transport_failures": {
        "socket": "the numbers of its errors, only",
        "ssl": "the class of its errors, only",
    },
    "recordings.recording_writer": {
        "os": "the file that is appended to",
        "time": "default of what is passed in",
    },
    "batch.journal.journal": {
        "os": "the journal",
        "open": "removes it when OUT has all answers",
        "time": "fsync once a second",
    },
    "limits.rate": {"random": "default of what is passed in"},
    "limits.run_pacer": {"asyncio": "the queue of a run"},
    "limits.pace_file": {"os": "the file that processes share, and which of them run"},
    "batch.turn_sender": {"asyncio": "turns that wait for a part of the budget"},
    "response.result_line": {
        "time": "the calendar, to write a time that is passed in",
        "datetime": "the calendar, to read one",
    },
    "batch.result": {"time": "default of what is passed in"},
    "batch.journal.recorded_files": {"os": "the journal's descriptor"},
    "batch.journal.reused_answers": {"os": "which files there are"},
    "batch.key_renewal": {"asyncio": "a thread, and requests that wait for it"},
    "batch.engine": {"asyncio": "a task for each slot in flight"},
    "batch.fleet.dispatcher": {"asyncio": "the queue of a run, and a time-out that ends what is given up"},
    "batch.fleet.fleet": {"asyncio": "health checks beside the run"},
    "batch.fleet.health_checks": {"asyncio": "a task for each check"},
    "batch.fleet.member": {"asyncio": "ends what is in flight there"},
    "batch.fleet.model_lists": {"asyncio": "reads the lists of all servers at a time"},
    "batch.fleet.room_signal": {"asyncio": "lines that wait for a server"},
    "batch.channel": {"asyncio": "the event loop, which tries again what waits for a lock"},
    "batch.driver": {"asyncio": "reads the input beside the engine"},
    "system.descriptor_limit": {"os": "how many descriptors are open"},
    "system.regular_file": {"os": "regular files, opened, read and written at an offset"},
    "system.terminal": {"os": "whether stdout is a terminal, and how wide"},
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
    "system.disk_reserve": {"os": "a file without a name, and how large files may be"},
    "system.same_file": {"os": "which file a name refers to, and whether a folder ignores case"},
    "system.strangers": {"os": "who owns a folder"},
    "system.replace": {"os": "files that are replaced", "open": "the old file, to compare"},
    "system.lock": {
        "os": "a file that processes share",
        "fcntl": "its lock",
        "time": "default of what is passed in",
    },
    "system.signals": {
        "os": "a pipe that wakes an event loop",
        "sys": "exceptions that are being handled, or lost",
        "signal": "those that end the program, and their handlers",
        "time": "default clock, by which one signal is the repeat of another",
        "threading": "handlers run in the main thread only",
        "asyncio": "the type of an event loop, only",
    },
    "system.cpu_time": {
        "signal": "a timer of CPU time",
        "threading": "only the main thread can be interrupted",
    },
    "conversation.transcript": {
        "os": "the file that is read and appended to",
        "open": "removes it if it stays empty",
    },
    "output.target": {"sys": "whether stdout is closed"},
    "output.curl": {"os": "whether --cacert is a folder"},
    "system.console": {"os": "descriptor 2", "threading": "tools fail in threads of their own"},
    "system.status_line": {"os": "the width of the terminal", "threading": "tools report steps from theirs"},
    "limits.call_wait": {"threading": "shows a line while the call waits", "time": "default clock"},
    "batch.progress": {"asyncio": "from time to time", "time": "wall time"},
    "batch.progress_options": {"os": "what is at the terminal, and how many lines the input has"},
    "conversation.setup": {"asyncio": "tools run beside the event loop of a run"},
    "batch.session": {"asyncio": "the progress display beside the driver"},
    "batch.input": {"os": "the input"},
    "batch.live_run": {"time": "wall time"},
    "batch.journal.answer_files": {"tempfile": "the journal of --dedupe"},
    "system.temporary_file": {"tempfile": "files without a name"},
    "system.spool": {
        "os": "a file without a name, and its bytes",
        "open": "removes its name",
        "tempfile": "makes it",
    },
    "serve.client_connection": {"asyncio": "one connection of a client", "socket": "makes its end a reset"},
    "recordings.cassette": {
        "os": "the file that is read in place of a cassette",
        "open": "the cassette",
    },
    "serve.exchange_recorder": {"time": "when an exchange was, and each of its pieces"},
    "serve.replayed_reply": {"time": "when a piece is due"},
    "serve.upstream_reply": {"asyncio": "a task that reads the reply"},
    "serve.listener": {"socket": "the socket that listens"},
    "serve.observer": {"time": "when a request came, and when its reply ended"},
    "serve.request_log": {"os": "the file that is appended to", "time": "when a request came"},
    "serve.service": {
        "asyncio": "the event loop of the server",
        "signal": "the number of the one that is the regular end",
        "sys": "whether stdout is closed",
    },
    "serve.reply_maker": {"time": "the clocks of what is limited by time"},
    "jobs.input_parts": {"os": "blocks of the input"},
    "jobs.jobs_file": {"os": "the state, on the disk before each step"},
    "jobs.job_actions": {"open": "the input", "os": "whether it is a regular file"},
    "jobs.foreign_jobs": {"uuid": "tokens of parts"},
    "commands.jobs": {"environ": "hands it on"},
    "flags.help_layout": {"environ": "COLUMNS"},
    "flags.model_name": {"environ": "hands it on"},
    "commands.completion": {"environ": "where scripts go"},
    "system.completion_scripts": {"os": "the folder of the script"},
    "system.user_folders": {"os": "the home of a user without HOME"},
    "commands.man": {"environ": "hands it on", "open": "a page, where no program formats it"},
    "system.manual_pages": {
        "os": "becomes the program that shows a page",
        "signal": "the default action for that program",
        "subprocess": "the program that formats a page",
    },
    "commands.ask": {"environ": "hands it on"},
    "commands.config": {"environ": "hands it on"},
    "commands.serve": {"environ": "hands it on"},
    "commands.show": {"environ": "hands it on"},
    "commands.batch": {"environ": "hands it on"},
    "commands.build": {"environ": "hands it on"},
    "commands.map": {"environ": "hands it on"},
    "commands.models": {"environ": "hands it on"},
}

# Functions above figures.FUNCTION_LINES, as `wire.pool.Pool.close`, each with the reason.
LONG: dict[str, str] = {}

# Functions above figures.PARAMETERS, each with the reason.
WIDE: dict[str, str] = {}


def sources() -> list[Path]:
    return figures.sources(PACKAGE)


def name_of(path: Path) -> str:
    return figures.name_of(path, PACKAGE)


NAMES = [name_of(path) for path in sources()]


# Read by the first test that needs them: every worker collects this file, and few of them run it.


@cache
def all_modules() -> list[figures.Module]:
    return figures.read(ROOT)


@cache
def all_functions() -> list[figures.Function]:
    return [function for module in all_modules() for function in figures.functions(module)]


def all_commands() -> list[figures.Function]:
    return [each for each in all_functions() if each.is_command and each.name.startswith("commands.")]


@cache
def trees() -> dict[str, ast.Module]:
    return {module.name: module.tree for module in all_modules()}


def layer_of(module: str) -> str:
    """The layer of `chatpipe.request.build`; `chatpipe` itself, which holds the version, is below all."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_imports_point_down() -> None:
    found = []
    for name, tree in trees().items():
        own = name.split(".")[0]
        height = -1 if own == "__init__" else LAYERS.index(own)
        for module in imported(tree):
            layer = layer_of(module)
            if module.split(".")[0] == "chatpipe" and layer in LAYERS and LAYERS.index(layer) > height:
                found.append(f"{name} imports {module}")
    assert not found, _offenders("imports of a higher layer", found)


def test_no_circle_of_imports() -> None:
    """Not inside a folder either, nor by an import inside a function."""
    found = figures.circle(all_modules())
    assert not found, " <- ".join(found)


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in NAMES} - {"__init__"} <= set(LAYERS)


def test_commands_do_not_import_each_other() -> None:
    """Apart from the table that finds them."""
    commands = {name for name in NAMES if name.startswith("commands.")} - {
        "commands.__init__",
        "commands.table",
    }
    for command in commands:
        others = {f"chatpipe.{name}" for name in commands - {command}}
        assert others.isdisjoint(imported(trees()[command])), command


def test_inner_packages_are_empty() -> None:
    """No re-exports: they make cycles."""
    inner = [path for path in sources() if path.name == "__init__.py" and path.parent != PACKAGE]
    found = [name_of(path) for path in inner if path.read_text(encoding="utf-8")]
    assert inner
    assert not found, _offenders("inner packages with code", found)


def test_no_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "base"}
    stems = {name: name.rpartition(".")[2] for name in NAMES}
    found = [name for name, stem in stems.items() if stem in drawers or (stem[0] == "_" and stem[1] != "_")]
    assert not found, _offenders("modules for odds and ends", found)


def test_only_those_who_may_touch_the_world() -> None:
    reached = {name: touched(tree) - set(WORLD.get(name, {})) for name, tree in trees().items()}
    found = [f"{name}: {', '.join(sorted(words))}" for name, words in reached.items() if words]
    assert not found, _offenders("modules that touch the world and are not in WORLD", found)


def test_nobody_is_allowed_what_he_does_not_do() -> None:
    """So that the table stays a description."""
    unused = {name: set(words) - touched(trees()[name]) for name, words in WORLD.items()}
    found = [f"{name}: {', '.join(sorted(words))}" for name, words in unused.items() if words]
    assert not found, _offenders("entries of WORLD without use", found)


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


def test_no_gerund_names_a_module_or_class() -> None:
    """figures.NOUNS lists the exceptions."""
    found = [*figures.gerund_modules(all_modules()), *figures.gerund_classes(all_modules())]
    assert not found, _offenders("gerunds", found)


def test_every_noun_is_in_use() -> None:
    """So that the table of exceptions stays a description."""
    names = [name for module in all_modules() for name in (module.stem, *figures.classes(module))]
    last = {figures.last_word(name) for name in names}
    assert set(figures.NOUNS) <= last


def test_no_class_name_twice() -> None:
    found = [f"{name}: {', '.join(where)}" for name, where in figures.class_homonyms(all_modules()).items()]
    assert not found, _offenders("class names used more than once", found)


def test_no_function_name_twice() -> None:
    found = [
        f"{name}: {', '.join(where)}" for name, where in figures.function_homonyms(all_modules()).items()
    ]
    assert not found, _offenders("function names used more than once", found)


def test_no_file_name_twice() -> None:
    """Apart from options/x, flags/x and commands/x, which may share the name of the module they lead to."""
    found = [
        f"{stem}: {', '.join(where)}" for stem, where in figures.forbidden_homonyms(all_modules()).items()
    ]
    assert not found, _offenders("file names used more than once", found)


def test_docstrings_name_the_thing() -> None:
    """A docstring begins with a noun phrase or an imperative, not with a relative clause."""
    every = [docstring for module in all_modules() for docstring in figures.docstrings(module)]
    found = [
        f"{each.module}:{each.line}: {each.text.splitlines()[0]}"
        for each in every
        if figures.is_clause(each.text)
    ]
    words = "/".join(figures.CLAUSE_WORDS)
    assert not found, _offenders(f"docstrings that begin with {words}", found)


def test_exceptions_in_docstrings_exist() -> None:
    found = figures.missing_exceptions(all_modules())
    assert not found, _offenders("exceptions in docstrings that do not exist", found)


def test_fan_out() -> None:
    """Imports inside functions and under TYPE_CHECKING count."""
    found = [
        f"{name}: {len(targets)}: {', '.join(targets)}"
        for name, targets in figures.fan_outs(all_modules()).items()
        if len(targets) > figures.FAN_OUT
    ]
    assert not found, _offenders(f"modules that import more than {figures.FAN_OUT} modules", found)


def test_long_functions_have_a_reason() -> None:
    long = {each.name: each.lines for each in all_functions() if each.lines > figures.FUNCTION_LINES}
    found = [f"{name}: {lines} lines" for name, lines in long.items() if name not in LONG]
    assert not found, _offenders(f"functions above {figures.FUNCTION_LINES} lines", found)
    assert set(LONG) <= set(long), "LONG names functions that are short enough or gone"
    assert len(LONG) <= figures.LONG_FUNCTIONS


def test_wide_functions_have_a_reason() -> None:
    wide = {each.name: each.parameters for each in all_functions() if each.parameters > figures.PARAMETERS}
    found = [f"{name}: {count} parameters" for name, count in wide.items() if name not in WIDE]
    assert not found, _offenders(f"functions above {figures.PARAMETERS} parameters", found)
    assert set(WIDE) <= set(wide), "WIDE names functions that are narrow enough or gone"
    assert len(WIDE) <= figures.WIDE_FUNCTIONS


def test_commands_are_short_and_narrow() -> None:
    """LONG and WIDE hold no excuse for a command."""
    found = [
        f"{each.name}: {each.lines} lines, {each.parameters} parameters"
        for each in all_commands()
        if each.lines > figures.FUNCTION_LINES or each.parameters > figures.PARAMETERS
    ]
    assert not found, _offenders("commands above the limits", found)


def test_every_command_is_seen() -> None:
    """A command behind a decorator that `figures` does not know would have no limits."""
    modules = {module.name for module in all_modules() if module.folder == "commands"} - {"commands.__init__"}
    assert {each.name.rpartition(".")[0] for each in all_commands()} == modules


def test_few_folders_are_joined() -> None:
    joined = figures.joined_folders(all_modules())
    found = [
        f"{low} - {high}: {len(edges)}, as {edges[0].source} -> {edges[0].target}"
        for (low, high), edges in joined.items()
    ]
    percent = figures.joined_percent(all_modules())
    title = f"{percent:.1f} % of the folder pairs are joined, at most {figures.JOINED_PERCENT} % may be"
    assert percent <= figures.JOINED_PERCENT, _offenders(f"{title}. Fewest imports first", found)


def _offenders(title: str, found: list[str]) -> str:
    return "\n  ".join([f"{title}: {len(found)}", *found])


# Each measure on small sources. A guard whose measure saw nothing would always pass.


def _modules(*named: tuple[str, str]) -> list[figures.Module]:
    return [figures.parsed(name, source) for name, source in named]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f(): pass", {"m.f": 1}),
        ("def f():\n    a = 1\n\n    return a\n", {"m.f": 4}),
        ("@a\n@b(\n    1\n)\ndef f():\n    pass", {"m.f": 2}),
        ("async def f(\n    a,\n):\n    pass", {"m.f": 4}),
        ("class C:\n    def f(self):\n        pass", {"m.C.f": 2}),
        ("def f():\n    def g():\n        pass\n    return g", {"m.f": 4, "m.f.g": 2}),
        ("if a:\n    def f(): pass\nelse:\n    def g(): pass", {"m.f": 1, "m.g": 1}),
        ("f = lambda: 1", {}),
    ],
)
def test_lines_of_functions(source: str, lines: dict[str, int]) -> None:
    (module,) = _modules(("m", source))
    assert {each.name: each.lines for each in figures.functions(module)} == lines


@pytest.mark.parametrize(
    ("signature", "count"),
    [
        ("", 0),
        ("a, b=1", 2),
        ("a, /, b, *, c", 3),
        ("self, a", 1),
        ("cls, /, a", 1),
        ("a, self", 2),
        ("*, self", 1),
        ("a, *args, b, **kwargs", 2),
    ],
)
def test_parameters_of_functions(signature: str, count: int) -> None:
    (module,) = _modules(("m", f"def f({signature}): pass"))
    assert [each.parameters for each in figures.functions(module)] == [count]


@pytest.mark.parametrize(
    ("decorator", "is_command"),
    [
        ("@click.command", True),
        ("@click.command(cls=Command)\n@prompt.options", True),
        ("@cli.group()", True),
        ("@command()", True),
        ("@prompt.options", False),
        ("@recommand", False),
    ],
)
def test_commands_by_decorator(decorator: str, is_command: bool) -> None:
    (module,) = _modules(("m", f"{decorator}\ndef f(): pass"))
    assert [each.is_command for each in figures.functions(module)] == [is_command]


def test_docstrings_at_any_depth() -> None:
    source = "'''M.'''\nclass C:\n    '''C.'''\n    def f(self):\n        '''F.'''\n    x = 1\n    '''No.'''"
    (module,) = _modules(("m", source))
    found = [(each.line, each.text) for each in figures.docstrings(module)]
    assert found == [(1, "M."), (3, "C."), (5, "F.")]


def test_which_exceptions_a_docstring_names() -> None:
    source = """
from errors import Known as Renamed
def f():
    '''Raises OSError, Renamed and Gone.'''
def g():
    '''Raise Gone. Raises what f() raises, also for JSON.'''
"""
    assert figures.missing_exceptions(_modules(("m", source))) == ["m:4: Gone"]


@pytest.mark.parametrize(
    "text", ["What a run does.", "whether it is", "As, if", "Who's there", "Where\nit is"]
)
def test_relative_clauses_are_found(text: str) -> None:
    assert figures.is_clause(text)


@pytest.mark.parametrize("text", ["", "Whole bodies.", "Ask once.", "`what` is asked.", "True if whether"])
def test_no_clauses(text: str) -> None:
    assert not figures.is_clause(text)


@pytest.mark.parametrize("name", ["running", "Telling", "_Running", "row_feeding", "SSETelling"])
def test_gerunds_are_found(name: str) -> None:
    assert figures.is_gerund(name)


@pytest.mark.parametrize("name", ["run", "BlockingTransport", "MissingInput", "ingest", "__init__"])
def test_no_gerunds(name: str) -> None:
    assert not figures.is_gerund(name)


def test_gerunds_of_modules_and_classes() -> None:
    modules = _modules(
        ("a.sending", ""), ("pacing.__init__", ""), ("pacing.b", "def f():\n class Waiting: 1")
    )
    assert figures.gerund_modules(modules) == ["a.sending", "pacing.__init__"]
    assert figures.gerund_classes(modules) == ["pacing.b.Waiting"]


@pytest.mark.parametrize(
    ("first", "second", "homonyms"),
    [
        ("class A: 1", "class B: 1", {}),
        ("class A: 1", "class A: 1", {"A": ["m", "n"]}),
        ("class _A: 1", "def f():\n    class A: 1", {"A": ["m", "n"]}),
        ("class A:\n    class _A: 1", "A = 1", {"A": ["m", "m"]}),
    ],
)
def test_class_homonyms(first: str, second: str, homonyms: dict[str, list[str]]) -> None:
    assert figures.class_homonyms(_modules(("m", first), ("n", second))) == homonyms


@pytest.mark.parametrize(
    ("first", "second", "homonyms"),
    [
        ("def f(): 1", "def g(): 1", {}),
        ("def f(): 1", "async def f(): 1", {"f": ["m", "n"]}),
        ("def f(): 1", "class A:\n    def f(self): 1", {}),
        ("def _f(): 1", "def _f(): 1", {}),
        ("def main(): 1", "def main(): 1", {}),
    ],
)
def test_function_homonyms(first: str, second: str, homonyms: dict[str, list[str]]) -> None:
    modules = _modules(("m", first), ("n", second), ("commands.f", first))
    assert figures.function_homonyms(modules) == homonyms


@pytest.mark.parametrize(
    ("names", "is_forbidden"),
    [
        (["flags.run", "batch.run"], False),
        (["options.run", "flags.run", "commands.run", "batch.run"], False),
        (["options.run", "flags.run"], False),
        (["commands.ask", "ask"], False),
        (["wire.run", "batch.run"], True),
        (["flags.run", "wire.run", "batch.run"], True),
        (["flags.a.run", "flags.b.run"], True),
        (["ask", "wire.ask"], True),
    ],
)
def test_file_homonyms(names: list[str], is_forbidden: bool) -> None:
    modules = _modules(*((name, "") for name in (*names, "wire.__init__", "batch.__init__")))
    stem = names[0].rpartition(".")[2]
    assert figures.file_homonyms(modules) == {stem: names}
    assert figures.forbidden_homonyms(modules) == ({stem: names} if is_forbidden else {})


@pytest.mark.parametrize(
    ("source", "early", "late"),
    [
        ("import os\nfrom json import loads", [], []),
        ("from chatpipe.a.b import f, g", ["a.b"], []),
        ("import chatpipe.a.b\nfrom chatpipe.a import b", ["a.b"], []),
        ("from chatpipe.a import b, c", ["a.b", "a.c"], []),
        ("from chatpipe.a import f", ["a.__init__"], []),
        ("from chatpipe import __version__, a", ["__init__", "a.__init__"], []),
        ("if TYPE_CHECKING:\n    from chatpipe.a import b", ["a.b"], []),
        ("def f():\n    if x:\n        import chatpipe.a.c", [], ["a.c"]),
        (
            "class C:\n    from chatpipe.a import b\n    def f(self):\n        import chatpipe",
            ["a.b"],
            ["__init__"],
        ),
        ("from chatpipe.m.n import f", [], []),
    ],
)
def test_fan_outs(source: str, early: list[str], late: list[str]) -> None:
    """A module that imports itself, as in the last row, is no edge."""
    others = [(name, "") for name in ("__init__", "a.__init__", "a.b", "a.c")]
    modules = _modules(*others, ("m.n", source))
    assert figures.fan_outs(modules)["m.n"] == sorted([*early, *late])
    assert figures.fan_outs(modules, late=False)["m.n"] == early


def test_a_circle_is_found() -> None:
    modules = _modules(
        ("a.b", "from chatpipe.a.c import f"),
        ("a.c", "def f():\n    from chatpipe.a.d import g"),
        ("a.d", "from chatpipe.a import b"),
        ("a.e", "from chatpipe.a import b"),
    )
    assert set(figures.circle(modules)) == {"a.b", "a.c", "a.d"}
    assert figures.circle(modules[:2]) == []


def test_imports_inside_functions() -> None:
    source = "import a\nclass C:\n    import b\n    async def f(self):\n        import c, d"
    assert [is_late for _, is_late in figures.imports(ast.parse(source))] == [False, False, True]


def test_joined_folders() -> None:
    """Both directions are one pair. The package's own `__init__` is no folder, a root module is one."""
    modules = _modules(
        ("__init__", ""),
        ("main", "from chatpipe import __version__\nimport chatpipe.a.x"),
        ("a.x", "import chatpipe.a.y, chatpipe.b.x"),
        ("a.y", "def f():\n    from chatpipe.b import x"),
        ("b.x", "import chatpipe.a.y"),
        ("c.x", ""),
    )
    joined = {pair: len(edges) for pair, edges in figures.joined_folders(modules).items()}
    assert joined == {("a", "main"): 1, ("a", "b"): 3}
    assert figures.joined_percent(modules) == pytest.approx(100 * 2 / 6)


def test_modules_that_count() -> None:
    modules = _modules(("__init__", ""), ("main", ""), ("a.__init__", ""), ("a.b", ""))
    assert [module.name for module in figures.counted(modules)] == ["__init__", "main", "a.b"]


def test_the_guards_see_the_package() -> None:
    assert [module.name for module in all_modules()] == NAMES
    assert len(all_modules()) > 100
    assert len(all_functions()) > 1000


def test_the_package_is_read(tmp_path: Path) -> None:
    package = tmp_path / "cli" / "chatpipe"
    (package / "a").mkdir(parents=True)
    (package / "a" / "b.py").write_text("x = 1\n\ny = 2\n", encoding="utf-8")
    (package / "a" / "accept.py").write_text("", encoding="utf-8")
    (tmp_path / "tests" / "a").mkdir(parents=True)
    (tmp_path / "tests" / "a" / "test_b.py").write_text("x = 1\ny = 2\n", encoding="utf-8")
    assert [(module.name, module.lines) for module in figures.read(tmp_path)] == [("a.b", 3)]
    assert figures.lines_of_tests(tmp_path) == 2
