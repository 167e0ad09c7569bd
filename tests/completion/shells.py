"""Shells that complete a line: bash and zsh on a terminal of their own, fish by its own question."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from support.patience import PATIENCE_S
from support.process import environment
from support.programs import program

SCRIPTS = Path(__file__).parents[2] / "completions"

# Takes what is typed before TAB and the folder it is typed in, gives the words of the line after it.
Shell = Callable[[str, Path], list[str]]


def bash(line: str, folder: Path) -> list[str]:
    """The words of a line that is typed in folder, after TAB; the script is loaded by its file."""
    script = SCRIPTS / "chatpipe.bash"
    return _on_terminal([program("bash"), "--norc", "--noprofile", "-i"], f"source '{script}'", line, folder)


def zsh(line: str, folder: Path) -> list[str]:
    """The same; compinit finds the script in a directory of fpath and loads it when it is first wanted."""
    setup = f"bindkey -e; fpath=('{SCRIPTS}' $fpath); autoload -Uz compinit; compinit -u -D"
    return _on_terminal([program("zsh"), "-f", "-i"], setup, line, folder)


def fish(line: str, folder: Path) -> list[str]:
    """The candidates for the last word, without what is told of them."""
    return [candidate.partition("\t")[0] for candidate in fish_lines(line, folder)]


def fish_lines(line: str, folder: Path) -> list[str]:
    """The candidates for the last word, each with a tab and what is told of it.

    The script is in one of fish's directories, under its installed name, and is found by itself.
    """
    vendor = folder / "share" / "fish" / "vendor_completions.d"
    vendor.mkdir(parents=True, exist_ok=True)
    (vendor / "chatpipe.fish").write_bytes((SCRIPTS / "chatpipe.fish").read_bytes())
    more = {"XDG_DATA_DIRS": str(folder / "share"), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    done = subprocess.run(
        [program("fish"), "-c", "complete -C $argv[1]", "--", line],
        cwd=folder,
        env=environment(more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def _on_terminal(command: list[str], setup: str, line: str, folder: Path) -> list[str]:
    """Type setup, then line, TAB, and what prints the words that are then on the line.

    All at once: what is typed ahead waits in the terminal, as it does when a person is fast.
    """
    more = {"TERM": "xterm", "PS1": "> ", "HOME": str(folder), "ZDOTDIR": str(folder)}
    with _terminal(command, more, folder) as master:
        typed = f"{setup}\n{line}\t\x01printf '<%s>' \x05\n"
        os.write(master, typed.encode())
        return _answer(master)


def _answer(master: int) -> list[str]:
    """The words in angle brackets; the line that was typed has `<%s>` there, and no `<chatpipe>`."""
    seen = b""
    until = time.monotonic() + PATIENCE_S
    while (left := until - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            with contextlib.suppress(OSError):  # EIO: the shell has ended
                seen += os.read(master, 65536)
        if match := re.search(rb"<chatpipe>(?:<[^<>]*>)*(?=[^<])", seen):
            return re.findall(r"<([^<>]*)>", match[0].decode())
    raise AssertionError(f"no answer from the shell: {seen.decode(errors='replace')}")


@contextlib.contextmanager
def _terminal(command: list[str], more: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The controlling end of a terminal on which command runs; both are gone afterwards."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(more),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield master
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(master)
