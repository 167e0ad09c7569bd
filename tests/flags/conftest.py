"""Command lines run in this process: faster than one of their own, and the same but for signals."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from chatpipe import main


class Ran(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def body(self) -> Any:
        """What `build` wrote. Fails with what it said when it wrote nothing."""
        assert self.status == 0, self.stderr
        return orjson.loads(self.stdout)


@pytest.fixture
def chatpipe(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Ran]]:
    """Runs `chatpipe WORDS`, stdin being /dev/null as pytest leaves it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run(*words: str) -> Ran:
        status = main.run(words)
        return Ran(int(status), *capfd.readouterr())

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def build(chatpipe: Callable[..., Ran]) -> Callable[..., Any]:
    """The body that `chatpipe build WORDS` writes."""

    def run(*words: str) -> Any:
        return chatpipe("build", "--no-check", *words).body

    return run
