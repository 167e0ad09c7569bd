"""reply_maker.py: what is answered at once, with the same bytes and the same verdict as a planned reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatpipe.local.model import Reply
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.serve import Latency, ServeOptions
from chatpipe.serve.fault_grammar import parse_fault
from chatpipe.serve.observer import Observer
from chatpipe.serve.planner import Planner
from chatpipe.serve.reply_maker import ReplyMaker
from chatpipe.serve.reply_steps import ReplyPlan, whole_reply
from chatpipe.serve.request_log import LogEntry
from chatpipe.serve.served_request import ServedRequest
from chatpipe.system.console import Console
from serve.client import WEATHER, chat_body


def chat(*bodies: bytes, headers: dict[bytes, bytes] | None = None, **fields: Any) -> ServedRequest:
    (body,) = bodies or (chat_body(**fields),)
    return ServedRequest("POST", "/v1/chat/completions", headers or {}, body)


class _Server:
    """What makes the replies of a server, and what it knows afterwards."""

    def __init__(self, options: ServeOptions = ServeOptions(), *, verbose: bool = False, **kept: Any) -> None:  # noqa: B008  # a record
        self.observer = Observer(options, Console(ConsoleOptions(verbose=verbose)))
        self.planner = Planner(options, **kept)
        self.maker = ReplyMaker(self.planner, self.observer)

    def at_once(self, request: ServedRequest) -> bytes | ReplyPlan:
        return self.maker.reply_to(request, 1)

    def planned(self, request: ServedRequest) -> bytes:
        plan = self.maker.plan(request, 1)
        data = whole_reply(plan, request)
        self.planner.count(plan)
        self.observer.ended(LogEntry(request, len(data)), plan, is_complete=True, is_stopping=False)
        return data

    def known(self) -> tuple[object, ...]:
        """The counts of its metrics, and of its verdict."""
        metrics, verdict = self.planner.metrics, self.observer._verdict
        usage = (metrics.requests, metrics.prompt_tokens, metrics.completion_tokens)
        return usage, verdict.requests, verdict.outcomes, verdict.counts()


AT_ONCE = [
    chat(),
    chat(content=""),
    chat(content=" a \u00e9 \u20ac "),
    chat(b'{"messages":[{"role":"user","content":"\\ud83d"}],"model":"\\ud83d"}'),
    chat(model="m", temperature=1, user="u"),
    chat(b'{"messages":[{"role":"system","content":"s s"},{"role":"user","content":"t"}]}'),
    chat(b'{"messages":[{"role":"user","content":[{"type":"text","text":"t"}]}]}'),
    chat(headers={b"authorization": b"Bearer k"}),
    ServedRequest("POST", "/openai/deployments/m/chat/completions?v=1", {}, chat_body()),
]


def test_replies_at_once_are_those_that_are_planned() -> None:
    """Each request comes twice, so that the verdict has something to say."""
    fast, slow = _Server(), _Server()
    for request in [*AT_ONCE, *AT_ONCE]:
        assert fast.at_once(request) == slow.planned(request) != b""
    assert fast.known() == slow.known()


PLANNED: dict[str, ServedRequest] = {
    "a stream": chat(stream=True),
    "choices": chat(n=2),
    "a tool": chat(tools=[WEATHER]),
    "a limit": chat(max_tokens=1),
    "no JSON": chat(b"{"),
    "no object": chat(b"[]"),
    "no messages": chat(b"{}"),
    "a wrong message": chat(b'{"messages":[{},1]}'),
    "large": chat(content="x" * 20_000),
    "another path": ServedRequest("GET", "/v1/models", {}, b""),
    "another method": ServedRequest("GET", "/v1/chat/completions", {}, b""),
    "close": ServedRequest("POST", "/v1/chat/completions", {}, chat_body(), keep_alive=False),
    "HTTP/1.0": ServedRequest("POST", "/v1/chat/completions", {}, chat_body(), can_chunk=False),
}


@pytest.mark.parametrize("name", PLANNED)
def test_other_requests_are_planned(name: str) -> None:
    assert isinstance(_Server().at_once(PLANNED[name]), ReplyPlan)


class _Script:
    def reply_to(self, sent: object) -> Reply | None:
        return None

    def unused(self) -> Any: ...


SERVERS: dict[str, Callable[[], _Server]] = {
    "requests a minute": lambda: _Server(ServeOptions(rpm=9)),
    "tokens a minute": lambda: _Server(ServeOptions(tpm=9)),
    "slots": lambda: _Server(ServeOptions(slots=9)),
    "latency": lambda: _Server(ServeOptions(latency=Latency(0.1))),
    "drawn latency": lambda: _Server(ServeOptions(latency=Latency(0.0, 0.1))),
    "a fault": lambda: _Server(ServeOptions(faults=(parse_fault("cut:match=x"),))),
    "a log": lambda: _Server(ServeOptions(log="x")),
    "verbose": lambda: _Server(verbose=True),
    "a key": lambda: _Server(key="k"),
    "a script": lambda: _Server(script=_Script()),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_has_more_to_do_plans(name: str) -> None:
    assert isinstance(SERVERS[name]().at_once(chat()), ReplyPlan)
