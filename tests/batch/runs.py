"""A run of `chatpipe batch` against a server of its own, from its input to what it leaves."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from batch.result_lines import numbers, outcomes, records
from support.process import Process, run, start
from support.servers.loopback import (
    Answer,
    Handler,
    Pause,
    Request,
    Reset,
    Server,
    WaitFor,
    completion,
    error,
    reply,
    serve,
    steps_of,
)

SOON = {"retry-after-ms": "1"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
CALLING = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
REFUSING = {"role": "assistant", "content": None, "refusal": "I cannot"}
REPLIES: dict[str, Answer] = {
    "cut": reply(200, completion("Once upon", finish_reason="length")),
    "full": reply(200, completion("Once upon", finish_reason="model_length")),
    "no": reply(200, completion(None, message=REFUSING)),
    "nothing": reply(200, completion("")),
    "call": reply(200, completion(None, message=CALLING, finish_reason="tool_calls")),
    "400": error(400, "no such thing", code="bad", headers={"x-request-id": "req-400"}),
    "401": error(401, "wrong key"),
    "402": error(402, "pay first"),
    "403": error(403, "not yours"),
    "quota": error(429, "out of credit", type="insufficient_quota", code="insufficient_quota"),
    "302": reply(302, b"", {"location": "http://other.example/"}),
    "500": error(500, "broken", headers=SOON),
    "reset": [Reset()],
}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def prompt(request: Request) -> str:
    """The text of the last message."""
    text: str = request.json()["messages"][-1]["content"]
    return text


def answer(request: Request) -> Answer:
    """The reply that the prompt names, or else the prompt in capitals."""
    text = prompt(request)
    return REPLIES.get(text) or reply(200, completion(text.upper()), {"x-request-id": f"req-{len(text)}"})


def jsonl(*values: Any) -> bytes:
    """A line for each value. A string is a prompt."""
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


def many(count: int) -> bytes:
    """Prompts p0, p1 and so on."""
    return jsonl(*(f"p{number}" for number in range(count)))


def gated(event: threading.Event, *texts: str) -> Handler:
    """These prompts are answered when the event is set, the others at once."""

    def handler(request: Request) -> Answer:
        return [*([WaitFor(event)] if prompt(request) in texts else []), *steps_of(answer(request))]

    return handler


def paused(seconds: float = 0.0, **slow: float) -> Handler:
    """Every answer takes that long, unless its prompt is named."""
    return lambda request: [Pause(slow.get(prompt(request), seconds)), *steps_of(answer(request))]


def always_busy(seconds: str) -> Handler:
    """429 to every request, with this Retry-After."""
    return lambda _: error(429, "wait", headers={"retry-after": seconds})


def command(server: Server | str, *arguments: str, name: str = "batch") -> tuple[str, ...]:
    """The arguments of a run against a server, given itself or by its URL."""
    url = server if isinstance(server, str) else server.url
    return (name, "--base-url", url, "-m", "m", *arguments)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended, and the server that it used."""

    status: int
    stdout: bytes
    stderr: bytes
    server: Server

    @property
    def records(self) -> list[Any]:
        """The values of JSONL: result lines, or texts in another format."""
        return records(self.stdout)

    @property
    def in_order(self) -> list[dict[str, Any]]:
        """The result lines in the order of the input."""
        return sorted(self.records, key=lambda record: record["chatpipe"]["line"])

    @property
    def outcomes(self) -> list[str]:
        return outcomes(self.stdout)

    @property
    def lines(self) -> list[int]:
        """The line numbers of the results, in the order of the output."""
        return numbers(self.stdout)

    @property
    def requests(self) -> list[Request]:
        return [request for request in self.server.requests if request.method == "POST"]

    @property
    def prompts(self) -> list[str]:
        """The prompts that were sent, in the order of their arrival."""
        return [prompt(request) for request in self.requests]


def without_get(handler: Handler) -> Handler:
    """The handler, and 404 for a GET."""
    return lambda request: error(404, "no such page") if request.method == "GET" else handler(request)


def batch(
    *arguments: str,
    stdin: bytes | None,
    handler: Handler = answer,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    name: str = "batch",
) -> Run:
    """Start a server with this handler, run `chatpipe batch ARGUMENTS` to its end, stop the server.

    With `-j auto` the server is asked for its gauges. It has none, and the handler does not see that.
    """
    with serve(without_get(handler), tls=tls) as server:
        done = run(*command(server, *arguments, name=name), stdin=stdin, cwd=cwd, env=env)
    return Run(*done, server)


@contextlib.contextmanager
def started(
    *arguments: str,
    handler: Handler = answer,
    folder: Path | None = None,
    lines: bytes | None = None,
    **popen: Any,
) -> Iterator[tuple[Server, Process]]:
    """A server with this handler, and a run of `chatpipe batch ARGUMENTS` that is under way.

    lines become the file in.jsonl in folder, which the run reads. Without them its stdin is a pipe.
    """
    if lines is None:
        popen = {"stdin": subprocess.PIPE, **popen}
    else:
        assert folder is not None
        (folder / "in.jsonl").write_bytes(lines)
        arguments = (*arguments, "in.jsonl")
    with serve(handler) as server, start(*command(server, *arguments), cwd=folder, **popen) as process:
        yield server, process
