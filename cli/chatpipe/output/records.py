"""Formats of one JSON value a line: `string`, `json`, `message`, `tool-calls`, `usage`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_object
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import FormatWriter, RunWriter
from chatpipe.response.completion import (
    call_records,
    content_of,
    first_message,
    messages,
    plain_message,
    reasoning_of,
)
from chatpipe.response.usage import reported_usage


class LinesWriter(FormatWriter):
    """A format that writes lines once the answer is complete, and nothing before."""

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        self.out.write(b"".join(record + b"\n" for record in self.records(completion, body)))

    @abstractmethod
    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        """The lines to write, without newlines."""


class RecordWriter(LinesWriter, RunWriter):
    """Lines of JSON. In a run, a record is one JSON value."""

    @classmethod
    def record(cls, completion: Mapping[str, Value] | None, options: FormatOptions) -> bytes:
        return (b"null" if completion is None else values.dumps(cls.part(completion))) + b"\n"

    @classmethod
    @abstractmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        """The part of an answer that is its record in a run."""


class CompletionWriter(RecordWriter):
    """The completion object: the server's own bytes, or the assembled stream."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield values.dumps(completion) if body is None else values.one_line_json(body)

    @classmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        return completion


class MessageWriter(RecordWriter):
    """Each choice's message, in a form that can be added to a conversation."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield from (values.dumps(plain_message(message)) for message in messages(completion))

    @classmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        return plain_message(first_message(completion))


class StringWriter(RecordWriter):
    """Each choice's content, or with `--reasoning only` its reasoning, as a JSON string; null if none."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        is_reasoning = self.options.reasoning == "only"
        for message in messages(completion):
            yield values.dumps(reasoning_of(message) if is_reasoning else content_of(message))

    @classmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        return content_of(first_message(completion))


class UsageWriter(RecordWriter):
    """The token counts, with the model's name."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield usage_line(completion)

    @classmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        return _usage_record(completion)


def _usage_record(completion: Mapping[str, Value]) -> dict[str, Value]:
    """`{"model","prompt_tokens","completion_tokens","total_tokens",...}`; null for what the server omits."""
    counts = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    usage = reported_usage(completion)
    return {"model": completion.get("model"), **counts, **as_object(usage)}


def usage_line(completion: Mapping[str, Value]) -> bytes:
    """The usage record as JSON, without a newline."""
    return values.dumps(_usage_record(completion))


class ToolCallsWriter(RecordWriter):
    """One line a tool call, with everything that a script needs to run it. In a run, one array an answer."""

    def records(self, completion: Mapping[str, Value], body: bytes | None) -> Iterator[bytes]:
        yield from (line[:-1] for line in call_lines(completion))

    @classmethod
    def part(cls, completion: Mapping[str, Value]) -> Value:
        return list(call_records(first_message(completion)))


def call_lines(completion: Mapping[str, Value]) -> Iterator[bytes]:
    """The lines of ToolCallsWriter, with newlines."""
    for message in messages(completion):
        yield from (values.dumps(record) + b"\n" for record in call_records(message))
