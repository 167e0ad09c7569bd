"""What is imported on the way to a first byte, and what is not: starting is most of a small request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from commands.asking import words
from support.parametrize import cases
from support.process import Done, run
from support.servers.loopback import serve, tls_contexts

# Leaves the names of all modules behind. The program ends by os._exit, so atexit comes too late.
WATCH = """
import os, sys

leave = os._exit

def watched(status):
    with open({path!r}, "w") as file:
        # None stands for what may not be imported.
        file.write(" ".join(name for name, module in sys.modules.items() if module is not None))
    leave(status)

os._exit = watched
"""
# Making a context costs 25 ms; it is told as if it were a module. ssl itself is imported here already.
WATCH_CONTEXTS = """
import ssl

def made(*arguments, create=ssl.create_default_context, **keywords):
    sys.modules["a-tls-context"] = sys
    return create(*arguments, **keywords)

ssl.create_default_context = made
"""


def modules(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, contexts: bool = False
) -> tuple[Done, set[str]]:
    """The end of `chatpipe ARGUMENTS`, and the modules that it imported."""
    seen = folder / "modules"
    watch = WATCH.format(path=str(seen)) + (WATCH_CONTEXTS if contexts else "")
    (folder / "sitecustomize.py").write_text(watch)
    done = run(*arguments, env={"PYTHONPATH": str(folder), **(env or {})})
    return done, set(seen.read_text().split())


def families(names: set[str]) -> set[str]:
    """Top-level names, and the second level where it is what matters."""
    return {name.partition(".")[0] for name in names} | names


def test_version_imports_nothing_that_is_not_python_s(tmp_path: Path) -> None:
    done, seen = modules(tmp_path, "--version")
    assert done.status == 0
    assert not families(seen) & {"click", "orjson", "httpx", "jsonschema", "importlib.metadata", "json"}


@cases(
    ("arguments", "env"),
    {
        "help": (("--help",), {}),
        "help of ask": (("ask", "--help"), {}),
        "help of show": (("show", "--help"), {}),
        "help of map": (("map", "--help"), {}),
        "completion script": (("completion", "bash"), {}),
        "completion of a value": (
            (),
            {"_CHATPIPE_COMPLETE": "bash_complete", "COMP_WORDS": "chatpipe ask -f t", "COMP_CWORD": "3"},
        ),
    },
)
def test_help_and_completion_import_neither_httpx_nor_jsonschema(
    arguments: tuple[str, ...], env: dict[str, str], tmp_path: Path
) -> None:
    done, seen = modules(tmp_path, *arguments, env=env)
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout
    assert "click" in seen
    heavy = {"httpx", "httpcore", "jsonschema", "httptools", "ssl", "asyncio", "chatpipe.exchange"}
    assert not families(seen) & heavy


def test_an_accepted_request_over_http_imports_little(tmp_path: Path) -> None:
    with serve() as server:
        done, seen = modules(tmp_path, *words(server.url), contexts=True)
    assert done == (0, b"Hello\n", b"")
    assert {"httpx", "httptools", "click", "orjson"} <= seen
    assert not families(seen) & {
        *("jsonschema", "referencing", "httpcore", "h11", "h2", "asyncio", "anyio", "rich", "pygments"),
        *("certifi", "importlib.metadata", "subprocess", "chatpipe.local.model", "a-tls-context"),
        # for short options that do not exist, for failures, for files
        *("difflib", "chatpipe.wire.faults", "chatpipe.response.delays", "chatpipe.inputs.line_decoder"),
    }


def test_httpx_does_not_bring_its_own_command_line(tmp_path: Path) -> None:
    """It would bring rich where that is installed."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise AssertionError('rich was imported')")
    with serve() as server:
        done, seen = modules(tmp_path, *words(server.url))
    assert done == (0, b"Hello\n", b"")
    assert "rich" not in seen


def test_a_refused_request_gets_its_explanation_from_jsonschema(tmp_path: Path) -> None:
    """The other side of the test above: it can see jsonschema when it comes."""
    done, seen = modules(tmp_path, "ask", "-p", "echo", "--temperature", "9", "Hello")
    assert done.status == 65
    assert "jsonschema" in seen
    assert "httpcore" not in seen


def test_a_context_is_made_for_https_only(tmp_path: Path) -> None:
    """The other side again: the watch on contexts works."""
    tls = tls_contexts()
    with serve(tls=tls.server) as server:
        arguments = words(server.url, "--cacert", str(tls.ca_pem))
        done, seen = modules(tmp_path, *arguments, contexts=True)
    assert done == (0, b"Hello\n", b"")
    assert "a-tls-context" in seen
