"""A server that counts its prompts, and runs of `chatpipe batch` against it, for tests of resuming."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from batch.result_lines import names, outcomes, records, texts
from batch.runs import command, without_get
from support.process import Done, Process, run, start
from support.servers.loopback import Pause, Request, Reset, Server, Step, WaitFor, completion, error, reply

__all__ = ["TO_OUT", "RunHarness", "names", "outcomes", "records", "texts", "write_rows"]

TO_OUT = ("in.jsonl", "-o", "out.jsonl")


class RunHarness:
    """A folder with the input of a run, and the server that the run asks: a `with` block.

    The server answers prompt `a` with `a #1` the first time, with `a #2` the second. prompts are those that
    came, in their order. A prompt in refused gets a 500, one in dropped no answer; one in cut is cut off
    unless the request has max_tokens; one in late, and all from the held-th on, waits until gate is set.
    """

    name = "batch"  # the command
    template: tuple[str, ...] = ()  # its arguments before the input
    source, target = "in.jsonl", "out.jsonl"

    def __init__(self, folder: Path, *, port: int = 0, latency_s: float = 0.0) -> None:
        self.folder = folder
        self.server = Server(without_get(self._answer), port=port)
        self.latency_s = latency_s
        self.prompts: list[str] = []
        self.refused: set[str] = set()
        self.dropped: set[str] = set()
        self.cut: set[str] = set()
        self.late: set[str] = set()
        self.held: int | None = None
        self.gate = threading.Event()
        self._counts: Counter[str] = Counter()
        self._seen = 0

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def input(self) -> Path:
        return self.folder / self.source

    @property
    def out(self) -> Path:
        return self.folder / self.target

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.target}.journal"

    def files(self) -> list[str]:
        """The names in the folder, sorted."""
        return sorted(path.name for path in self.folder.iterdir())

    def write(self, *rows: str | dict[str, Any]) -> None:
        """Replace the input."""
        write_rows(self.input, *rows)

    def resume(self, *options: str, env: Mapping[str, str] | None = None) -> Done:
        """One run from source to target, to its end."""
        return self.batch(*self._to_out(options), env=env)

    def begin(self, *options: str, through: Sequence[str] = ()) -> Process:
        """The same run, under way; through is a command that runs it."""
        return self.start(*self._to_out(options), through=through)

    def status_and_prompts(self, *options: str) -> tuple[int, list[str]]:
        """The status of one run from source to target, and its new prompts."""
        return self.resume(*options).status, self.new_prompts()

    def finish(self, *options: str) -> list[str]:
        """Make such a run, which has to succeed without a word: its new prompts."""
        assert self.resume(*options) == (0, b"", b"")
        return self.new_prompts()

    def batch(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Done:
        """One run in the folder, to its end."""
        return run(*self._command(arguments), stdin=stdin, env=env, cwd=self.folder)

    def start(self, *arguments: str, through: Sequence[str] = ()) -> Process:
        return start(*self._command(arguments), cwd=self.folder, through=through)

    def new_prompts(self) -> list[str]:
        """The prompts that were sent since the last call, sorted. Call it when nothing is under way."""
        new = sorted(self.prompts[self._seen :])
        self._seen = len(self.prompts)
        return new

    def until_prompts(self, number: int) -> None:
        """Wait until this number of requests has come in total."""
        self.server.until(lambda: len(self.prompts) >= number)

    def _to_out(self, options: Sequence[str]) -> tuple[str, ...]:
        return (*self.template, self.source, "-o", self.target, *options)

    def _command(self, arguments: Sequence[str]) -> tuple[str, ...]:
        return command(self.server, "--retries", "0", *arguments, name=self.name)

    def _answer(self, request: Request) -> Iterator[Step]:
        body = request.json()
        prompt = body["messages"][-1]["content"]
        self.prompts.append(prompt)
        self._counts[prompt] += 1
        text = f"{prompt} #{self._counts[prompt]}"
        number = len(self.prompts)
        if self.latency_s:
            yield Pause(self.latency_s)
        if prompt in self.late or (self.held is not None and number >= self.held):
            yield WaitFor(self.gate)
        if prompt in self.dropped:
            yield Reset()
        if prompt in self.refused:
            yield error(500, "out of order")
            return
        is_cut = prompt in self.cut and "max_tokens" not in body
        yield reply(200, completion(text, finish_reason="length" if is_cut else "stop"))


def write_rows(path: Path, *rows: str | dict[str, Any]) -> None:
    """A line each; a str is a prompt."""
    records = [{"prompt": row} if isinstance(row, str) else row for row in rows]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
