"""A server that counts what it sells, and runs of `chatpipe batch` against it, for tests of resuming."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loopback import Pause, Request, Server, Step, WaitFor, completion, error, reply
from process import Done, Process, run, start


class Shop:
    """Answers prompt `a` with `a #1` the first time it is sold, with `a #2` the second: a `with` block.

    sales are the prompts in the order in which they came. What is in refused gets a 500, what is in cut
    is cut off unless the request has max_tokens; what is in late, and all sales from the held-th on,
    waits until gate is set.
    """

    def __init__(self, folder: Path, *, port: int = 0, latency_s: float = 0.0) -> None:
        self.folder = folder
        self.server = Server(self._answer, port=port)
        self.latency_s = latency_s
        self.sales: list[str] = []
        self.refused: set[str] = set()
        self.cut: set[str] = set()
        self.late: set[str] = set()
        self.held: int | None = None
        self.gate = threading.Event()
        self._counts: Counter[str] = Counter()
        self._seen = 0

    def __enter__(self) -> Shop:
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)

    @property
    def port(self) -> int:
        return self.server.port

    def batch(self, *arguments: str, stdin: bytes | None = None) -> Done:
        """One run in the folder, to its end."""
        return run(*self._command(arguments), stdin=stdin, cwd=self.folder)

    def start(self, *arguments: str) -> Process:
        return start(*self._command(arguments), cwd=self.folder)

    def sold(self) -> list[str]:
        """The prompts since this was asked before, sorted: ask when nothing is under way."""
        new = sorted(self.sales[self._seen :])
        self._seen = len(self.sales)
        return new

    def until_sold(self, number: int) -> None:
        """Wait until so many requests have come, all in all."""
        self.server.until(lambda: len(self.sales) >= number)

    def _command(self, arguments: Sequence[str]) -> tuple[str, ...]:
        return ("batch", "--base-url", self.server.url, "-m", "m", "--retries", "0", *arguments)

    def _answer(self, request: Request) -> Iterator[Step]:
        body = request.json()
        prompt = body["messages"][-1]["content"]
        self.sales.append(prompt)
        self._counts[prompt] += 1
        text = f"{prompt} #{self._counts[prompt]}"
        number = len(self.sales)
        if self.latency_s:
            yield Pause(self.latency_s)
        if prompt in self.late or (self.held is not None and number >= self.held):
            yield WaitFor(self.gate)
        if prompt in self.refused:
            yield error(500, "out of order")
            return
        is_cut = prompt in self.cut and "max_tokens" not in body
        yield reply(200, completion(text, finish_reason="length" if is_cut else "stop"))


def write_rows(path: Path, *rows: str | dict[str, Any]) -> None:
    """A line each; a str is a prompt."""
    records = [{"prompt": row} if isinstance(row, str) else row for row in rows]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def records(data: bytes | Path) -> list[dict[str, Any]]:
    """The result lines of stdout, or of a file; a journal's header is left out."""
    lines = (data.read_bytes() if isinstance(data, Path) else data).splitlines()
    parsed = [json.loads(line) for line in lines]
    return [record for record in parsed if "chatpipe_journal" not in record]


def texts(data: bytes | Path) -> list[str | None]:
    """What was answered to each line, in the order of the result lines; None to a line without answer."""
    return [_text(record) for record in records(data)]


def names(data: bytes | Path) -> list[tuple[int, str]]:
    """`line` and `custom_id` of each result line."""
    return [(record["chatpipe"]["line"], record["custom_id"]) for record in records(data)]


def outcomes(data: bytes | Path) -> list[str]:
    return [record["chatpipe"]["outcome"] for record in records(data)]


def _text(record: dict[str, Any]) -> str | None:
    if record["response"] is None or record["response"]["status_code"] != 200:
        return None
    text: str = record["response"]["body"]["choices"][0]["message"]["content"]
    return text
