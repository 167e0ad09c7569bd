"""Formats of one JSON value a line: `string`, `json`, `message`, `tool-calls`, `usage`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.response.completion import call_records, content_of, messages, reasoning_of
from chatpipe.system.descriptor import Sink


class RecordWriter(ABC):
    """A format that writes nothing before the answer is complete."""

    def __init__(self, out: Sink) -> None:
        self.out = out

    def raw(self, data: bytes) -> None:  # noqa: B027 - none of these formats needs it
        """Do nothing: the bytes of the event stream are not needed."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:  # noqa: B027 - as above
        """Do nothing: the caller assembles the chunks."""

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        self.out.write(b"".join(record + b"\n" for record in self.records(completion, body)))

    @abstractmethod
    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        """The lines to write, without newlines."""


class CompletionWriter(RecordWriter):
    """The completion object: the server's own bytes, or the assembled stream."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield values.dumps(completion) if body is None else values.one_line(body)


class MessageWriter(RecordWriter):
    """Each choice's message, in a form that can be added to a conversation."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield from (values.dumps(message) for message in messages(completion))


class StringWriter(RecordWriter):
    """Each choice's content as a JSON string; null if there is none."""

    def __init__(self, out: Sink, reasoning: bool) -> None:
        super().__init__(out)
        self.reasoning = reasoning

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        for message in messages(completion):
            yield values.dumps(reasoning_of(message) if self.reasoning else content_of(message))


class UsageWriter(RecordWriter):
    """The token counts, with the model's name."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield usage_line(completion)


def usage_line(completion: Mapping[str, Value]) -> bytes:
    """`{"model","prompt_tokens","completion_tokens","total_tokens",...}`; null for what the server omits."""
    counts = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    usage = completion.get("usage")
    return values.dumps(
        {"model": completion.get("model"), **counts, **(usage if isinstance(usage, dict) else {})}
    )


class ToolCallsWriter(RecordWriter):
    """One line a tool call, with everything that a script needs to run it."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield from (line[:-1] for line in call_lines(completion))


def call_lines(completion: Mapping[str, Value]) -> Iterator[bytes]:
    """The lines of ToolCalls, with newlines."""
    for message in messages(completion):
        yield from (values.dumps(record) + b"\n" for record in call_records(message))
