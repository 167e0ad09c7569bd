"""Lines of a recording -> its contents: stream events, whole answers, results of a run.

A recording is the output of `-f chunks`, `-f sse`, `-f json`, a run, or the Batch API, or a server's
reply saved by curl. Each line shows its own kind, so one recording may mix them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatpipe.errors import BadInput, BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.messages import not_json_input
from chatpipe.inputs.place import Source
from chatpipe.inputs.text_decoder import with_name
from chatpipe.inputs.values import NotJSON, Value, as_list, loads_exact
from chatpipe.named_tuple import NamedTuple
from chatpipe.response import chunks, sse
from chatpipe.response.body_form import sole_completion, texts_of, without_prefix
from chatpipe.response.json_depth import DocumentLines
from chatpipe.response.result_line import ResultLine, is_result
from chatpipe.response.server_error import error_of, is_notice
from chatpipe.system.escape import shorten

# The start of an event stream: a comment, a field, or `[DONE]` after chunks without a field name.
_STREAM_START = re.compile(rb":|(?:data|event|id|retry|error)(?::|$)|\[DONE\]")


_DOCUMENT_START = re.compile(rb'\{|\[(?!DONE\]|\s*\]\s*$)|"(?!\s*"\s*$)')
CHUNK = "chat.completion.chunk"
# First members of the records of a journal that hold no answer.
_OF_JOURNAL = ("chatpipe_journal", "chatpipe_job")


class RawBytes(NamedTuple):
    """Bytes of an event stream."""

    data: bytes


class Chunk(NamedTuple):
    """One chunk of a streamed answer, with its line.

    is_event is True if the chunk came as an event, so that its RawBytes were yielded before it.
    """

    payload: bytes
    chunk: dict[str, Value]
    line: Source
    is_event: bool = False


class StreamEnd(NamedTuple):
    """The `[DONE]` marker, which ends a streamed answer."""


class CapturedAnswer(NamedTuple):
    """A completion object, with the result line that it was in. label is as in CapturedFailure."""

    label: str
    body: bytes
    completion: dict[str, Value]
    line: ResultLine | None = None


class CapturedFailure(NamedTuple):
    """A request that got no answer. label is its `file:line`, and in a run also its custom_id.

    chunk is an error that a server sent, which may end the answer before it.
    """

    label: str
    what: str
    line: ResultLine | None = None
    chunk: Chunk | None = None


class CapturedText(NamedTuple):
    """A JSON string. It is an error if its words are those of one, and else no recording."""

    line: Source
    text: str


CaptureItem = RawBytes | Chunk | StreamEnd | CapturedAnswer | CapturedFailure | CapturedText


def read_capture(lines: Iterator[Source]) -> Iterator[CaptureItem]:
    """The contents of the lines, in order. Raises BadInput for anything that is not a recording."""
    events: _CapturedStream | None = None
    for line in lines:
        data = without_prefix(line.data)
        if _DOCUMENT_START.match(data):
            yield from events.end() if events else ()
            events = None
            for value, text in _read_documents(line._replace(data=data), lines):
                yield from _items_of_value(value, text)
        elif events is not None or _STREAM_START.match(data):
            events = events or _CapturedStream()
            yield from events.feed(line)
        elif data.strip() and not sse.is_nothing(data):
            raise _other_text(line)
    yield from events.end() if events else ()


class _CapturedStream:
    """An event stream inside a recording."""

    def __init__(self) -> None:
        self._decoder = sse.EventDecoder()
        self._event_line: Source | None = None  # the first data line of the current event

    def feed(self, line: Source) -> Iterator[CaptureItem]:
        if self._event_line is None and line.data.lstrip().startswith(b"data"):
            self._event_line = line
        yield RawBytes(line.data + line.end)
        yield from self._items(self._decoder.feed(line.data + (line.end or b"\n")), line)

    def end(self) -> Iterator[CaptureItem]:
        yield from self._items(self._decoder.end(), Source("", b""))

    def _items(self, payloads: list[bytes], line: Source) -> Iterator[CaptureItem]:
        for payload in payloads:
            start, self._event_line = self._event_line or line, None
            yield from _items_of_event(payload, start)


def _items_of_event(payload: bytes, line: Source) -> Iterator[CaptureItem]:
    if sse.is_done(payload):
        yield StreamEnd()
        return
    try:
        chunk = chunks.parse(payload)
    except BrokenAnswer as fault:
        try:
            items = chunks.items_of(payload, fault)
        except BrokenAnswer:
            raise BadInput(fault.what, place=line.place()) from fault
        for item in items:
            yield from _items_of_event(item, line)
        return
    yield Chunk(payload, chunks.with_deltas(chunk), line, True)


def _read_documents(line: Source, following: Iterator[Source]) -> list[tuple[Value, Source]]:
    """The JSON values that begin on this line, and their texts: one, or several, one after another."""
    try:
        return [_read_document(line, following)]
    except BadInput:
        texts = texts_of(line.data)
        if not texts:
            raise
        return [(loads_exact(text), line._replace(data=text)) for text in texts]


def _read_document(line: Source, following: Iterator[Source]) -> tuple[Value, Source]:
    """The JSON value that begins on this line, and its text. Pretty-printed, it ends on a later line.

    Its end is where its brackets are closed, so that the text is parsed twice at most.
    """
    try:
        return loads_exact(line.data), line
    except NotJSON as error:
        if not line.data.rstrip().endswith((b"{", b"[", b",", b":")):
            raise not_json_input(line, error) from error
    lines = DocumentLines()
    is_closed = lines.add(line.data)
    while not is_closed and (more := next(following, None)) is not None:
        is_closed = lines.add(more.data)
    source = line._replace(data=lines.text)
    try:
        return loads_exact(source.data), source
    except NotJSON as error:
        raise not_json_input(source, error) from error


def _items_of_value(value: Value, line: Source) -> Iterator[CaptureItem]:
    """The contents of a JSON value. An array has chunks, which end with it, or what lines may be."""
    if type(value) is dict:
        if next(iter(value), "") in _OF_JOURNAL:
            return
        if not is_result(value):
            value, data = sole_completion(value, line.data)
            line = line._replace(data=data)
        yield _item_of_object(value, line)
        return
    if type(value) is str:
        yield CapturedText(line, value)
        return
    item: CaptureItem | None = None
    try:
        payloads = chunks.payloads_of(line.data)
    except NotJSON as error:
        raise not_json_input(line, error) from error
    for payload in payloads:
        if sse.is_done(payload):
            item = StreamEnd()
        else:
            item = _item_of_object(_parse_object(payload, line), line._replace(data=payload))
        yield item
    if isinstance(item, Chunk):
        yield StreamEnd()


def _parse_object(payload: bytes, line: Source) -> dict[str, Value]:
    value = loads_exact(payload)
    if type(value) is not dict:
        raise _not_known(line, value)
    return value


def _other_text(line: Source) -> BadInput:
    """The fault of a line that is no JSON and no event. A table is named, with the command that reads it."""
    from chatpipe.inputs.not_jsonl import other_format_fault  # for a fault only

    what, fix = "neither an answer nor an event stream", "see chatpipe show --help"
    other = other_format_fault(line) if line.line == 1 else None
    if other is not None and other.what in ("CSV, not JSON", "TSV, not JSON"):
        what, fix = f"{other.what[:3]}, not an answer", other.fix
    return BadInput(what, place=line.place(), fix=fix)


def _not_known(line: Source, value: Value) -> BadInput:
    """The fault of JSON that is no part of a recording."""
    from chatpipe.response.other_json import other_json  # for a fault only

    other = other_json(value)
    if other is None:
        what, fix = "neither a chunk, a completion nor a result", "see chatpipe show --help"
    elif other.use:
        what, fix = f"{other.what}, not an answer", with_name(other.use, line.name, is_filter=False)
    else:
        what, fix = other.what, "show reads answers of Chat Completions"
    return BadInput(what, place=line.place(), fix=fix)


def _item_of_object(value: dict[str, Value], line: Source) -> CaptureItem:
    if is_result(value):
        return _item_of_result(value, line)
    usual = chunks.with_messages(value)
    if usual is not value:
        value, line = usual, line._replace(data=values.dumps(usual))
    choices = as_list(value.get("choices"))
    if any(isinstance(choice, dict) and _is_whole(choice) for choice in choices):
        return CapturedAnswer(line.place(), line.data, value)
    error = error_of(value)
    if error is not None and not choices:
        what = f"an error was recorded: {shorten(error.message)}"
        return CapturedFailure(line.place(), what, chunk=Chunk(line.data, value, line))
    if not value or "choices" in value or "usage" in value or value.get("object") == CHUNK:
        return Chunk(line.data, chunks.with_deltas(value), line)
    if _is_notice(value):
        return Chunk(line.data, value, line)
    raise _not_known(line, value)


def _is_notice(value: dict[str, Value]) -> bool:
    """Return True for a notice of a stream. An answer of another API may have the same type, and is none."""
    from chatpipe.response.other_json import JOB, other_json  # hardly any recording has notices

    return is_notice(value, in_answer=False) and other_json(value) in (None, JOB)


def _is_whole(choice: dict[str, Value]) -> bool:
    """Return True for a choice of a completion. In a chunk, some servers repeat the delta as a message."""
    return "message" in choice and not isinstance(choice.get("delta"), dict)


def _item_of_result(value: dict[str, Value], line: Source) -> CaptureItem:
    """The item for a result line of a run or of the Batch API."""
    found = ResultLine(value)
    body = found.body
    label = f"{line.place()}: '{shorten(str(value.get('custom_id')), 80)}'"
    if isinstance(body, dict) and isinstance(body.get("choices"), list):
        return CapturedAnswer(label, values.dumps(body), body, found)
    error = error_of(value) or error_of(body)
    what = shorten(error.message) if error else "no answer"
    return CapturedFailure(label, what, found)
