"""Lines of a recording -> what was recorded: events of a stream, whole answers, results of a run.

A recording is what `-f chunks`, `-f sse`, `-f json` or a run wrote, or the Batch API, or a server's
reply saved by curl; which of them, each line tells by itself, so they may be mixed.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from chatpipe.errors import BadInput, BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.messages import not_json
from chatpipe.inputs.place import Source
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response import chunks, sse

# How an event stream begins: a comment, or one of the four fields that the standard knows.
_FIELD = re.compile(rb":|(?:data|event|id|retry)(?::|$)")


class Raw(NamedTuple):
    """Bytes of an event stream."""

    data: bytes


class Chunk(NamedTuple):
    """One chunk of a streamed answer, and its line. is_event: its Raw bytes have come before it."""

    payload: bytes
    chunk: dict[str, Value]
    line: Source
    is_event: bool = False


class Done(NamedTuple):
    """`[DONE]`: the streamed answer ends here."""


class Whole(NamedTuple):
    """A completion object."""

    body: bytes
    completion: dict[str, Value]


class Failed(NamedTuple):
    """A request of a run that got no answer."""

    place: str
    what: str


Step = Raw | Chunk | Done | Whole | Failed


def steps(lines: Iterator[Source]) -> Iterator[Step]:
    """What is in the lines, as they come. Raises BadInput for what is no recording."""
    events: _Events | None = None
    for line in lines:
        data = line.data.removeprefix(b"\xef\xbb\xbf") if line.line == 1 else line.data
        if data.lstrip().startswith(b"{"):
            yield from events.end() if events else ()
            events = None
            yield _of_object(*_object(line._replace(data=data), lines))
        elif events is not None or _FIELD.match(data):
            events = events or _Events()
            yield from events.feed(line)
        elif data.strip():
            raise BadInput(
                "neither JSON nor an event stream", place=line.place(), fix="see chatpipe show --help"
            )
    yield from events.end() if events else ()


class _Events:
    """The event stream inside a recording."""

    def __init__(self) -> None:
        self._decoder = sse.Decoder()
        self._begin: Source | None = None  # the first line of data of the event that is being read

    def feed(self, line: Source) -> Iterator[Step]:
        if self._begin is None and line.data.startswith(b"data"):
            self._begin = line
        yield Raw(line.data + line.end)
        yield from self._steps(self._decoder.feed(line.data + (line.end or b"\n")), line)

    def end(self) -> Iterator[Step]:
        yield from self._steps(self._decoder.end(), Source("", b""))

    def _steps(self, payloads: list[bytes], line: Source) -> Iterator[Step]:
        for payload in payloads:
            begin, self._begin = self._begin or line, None
            yield Done() if sse.is_done(payload) else Chunk(payload, _chunk(payload, begin), begin, True)


def _chunk(payload: bytes, line: Source) -> dict[str, Value]:
    try:
        return chunks.parse(payload)
    except BrokenAnswer as fault:
        raise BadInput(fault.what, place=line.place()) from fault


def _object(line: Source, following: Iterator[Source]) -> tuple[dict[str, Value], Source]:
    """The JSON object that begins on this line; printed for people, it ends on another."""
    lines = [line]
    while True:
        whole = line._replace(data=b"\n".join(each.data for each in lines))
        try:
            value = values.loads(whole.data)
        except NotJSON as error:
            if len(lines) == 1 and not line.data.rstrip().endswith((b"{", b"[", b",", b":")):
                raise not_json(line, error) from error
            more = list(_to_the_last_brace(following))
            if not more:
                raise not_json(whole, error) from error
            lines += more
        else:
            return value, whole


def _to_the_last_brace(lines: Iterator[Source]) -> Iterator[Source]:
    for line in lines:
        yield line
        if line.data.startswith(b"}"):
            return


def _of_object(value: dict[str, Value], line: Source) -> Step:
    if "response" in value and ("custom_id" in value or "error" in value):
        return _of_result(value, line)
    choices = value.get("choices")
    if isinstance(choices, list):
        is_whole = any(isinstance(choice, dict) and "message" in choice for choice in choices)
        return Whole(line.data, value) if is_whole else Chunk(line.data, value, line)
    error = chunks.error_of(value)
    if error is not None:
        return Failed(line.place(), f"an error was recorded: {chunks.shorten(error.message)}")
    raise BadInput(
        "neither a chunk, a completion nor a result", place=line.place(), fix="see chatpipe show --help"
    )


def _of_result(value: dict[str, Value], line: Source) -> Step:
    """A result line of a run or of the Batch API."""
    response = value.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    if isinstance(body, dict) and isinstance(body.get("choices"), list):
        return Whole(values.dumps(body), body)
    error = chunks.error_of(value) or chunks.error_of(body)
    what = chunks.shorten(error.message) if error else "no answer"
    return Failed(f"{line.place()}: '{chunks.shorten(str(value.get('custom_id')), 80)}'", what)
