"""`--messages FILE` and `-r FILE` -> JSON values that know their place in the file."""

from __future__ import annotations

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.place import MAX_LINE_BYTES, TOO_LONG, Source
from chatpipe.inputs.stdin import STDIN_NAME
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.named_tuple import NamedTuple


class LocatedValue(NamedTuple):
    """A JSON value that was read, and its location: a JSON Pointer inside source."""

    value: Value
    source: Source
    pointer: str = ""

    def place(self, pointer: str = "") -> str:
        """`file:line` of the value at pointer, which is relative to this value."""
        return self.source.place(self.pointer + pointer)


def parse_document(source: Source) -> LocatedValue:
    """The single JSON value of a text. Raises BadInput with line and column."""
    try:
        return LocatedValue(values.loads_strict(source.data), source)
    except NotJSON as error:
        raise not_json_input(source, error) from error


def parse_request(source: Source) -> LocatedValue:
    """A request body: one JSON object. Raises BadInput, which identifies a Batch line and JSONL."""
    try:
        found = LocatedValue(values.loads_strict(source.data), source)
    except NotJSON as error:
        if (record := _first_of_jsonl(source)) is not None:
            _refuse_other_request(record, may_be_line=True)
            what = "several JSON values, where one request is expected"
            fix = f"send them with {_batch_of(source)}"
            raise BadInput(what, place=source.name, fix=fix) from error
        lines = enumerate(source.data.split(b"\n"), 1)
        first = next((Source(source.name, line, number) for number, line in lines if line.strip()), None)
        fault = None if first is None else _other_format(first, allows_documents=True)
        raise fault or not_json_input(source, error) from error
    if not isinstance(found.value, dict):
        if isinstance(found.value, list) and found.value and isinstance(found.value[0], dict):
            _refuse_other_request(LocatedValue(found.value[0], source, "/0"), may_be_line=True)
        fix = f"send its elements with {_batch_of(source)}"
        what = f"a request is a JSON object, not {json_type(found.value)}"
        raise BadInput(what, place=source.place(), fix=fix if isinstance(found.value, list) else "")
    _refuse_other_request(found)
    return found


def _batch_of(source: Source) -> str:
    """The command that sends the requests in an input."""
    from chatpipe.inputs.text_decoder import with_name  # for errors only

    return with_name("chatpipe batch FILE", source.name)


def _refuse_other_request(found: LocatedValue, *, may_be_line: bool = False) -> None:
    """Raise BadInput if the object is another one that is known."""
    if "messages" in found.value:
        return
    from chatpipe.inputs.other_objects import no_request  # for errors only

    if (other := no_request(found.value, may_be_line=may_be_line)) is not None:
        raise BadInput(
            f"this is {other.what}, not a request", place=found.place(), fix=other.fix_for(found.source.name)
        )


def refuse_other_message(found: LocatedValue) -> None:
    """Raise BadInput if the object, which has no role, is another one that is known."""
    from chatpipe.inputs.other_objects import no_message  # for errors only

    if (other := no_message(found.value)) is not None:
        raise BadInput(
            f"this is {other.what}, not a message", place=found.place(), fix=other.fix_for(found.source.name)
        )


def parse_messages(source: Source) -> list[LocatedValue]:
    """Messages from a JSON array, or from JSONL with one message per line. Raises BadInput."""
    if source.data.lstrip().startswith(b"["):
        whole = parse_document(source)
        return [LocatedValue(message, source, f"/{index}") for index, message in enumerate(whole.value)]
    messages: list[LocatedValue] = []
    for number, line in enumerate(source.data.split(b"\n"), 1):
        if line.strip():
            found = parse_message(Source(source.name, line, number), is_first=not messages)
            if not isinstance(found.value, dict):
                raise BadInput(
                    f"a message is a JSON object, not {json_type(found.value)}", place=found.place()
                )
            if "role" not in found.value:
                refuse_other_message(found)
            messages.append(found)
    return messages


def parse_message(line: Source, *, is_first: bool) -> LocatedValue:
    """The JSON value of a line. Raises BadInput, for a first line with what the file is instead."""
    try:
        return parse_document(line)
    except BadInput:
        if is_first and (fault := _other_format(line, allows_documents=False)) is not None:
            raise fault from None
        raise


def _other_format(line: Source, *, allows_documents: bool) -> BadInput | None:
    """The fault of a file that holds a text or a table instead of JSON; None if it looks like JSON."""
    from chatpipe.inputs.not_jsonl import other_format_fault  # for errors only
    from chatpipe.inputs.text_decoder import quoted

    name = "-" if line.name == STDIN_NAME else quoted(line.name)
    fix = f"send it as a message with --user-file {name}"
    return other_format_fault(line, allows_documents=allows_documents, text_fix=fix)


def without_empty_calls(message: Value) -> Value:
    """A message without `tool_calls: []`. Many servers send that, and OpenAI answers 400 to it."""
    if isinstance(message, dict) and message.get("tool_calls") == []:
        return {name: value for name, value in message.items() if name != "tool_calls"}
    return message


def not_json_input(source: Source, error: NotJSON) -> BadInput:
    """A BadInput for a parse error, with its line in the whole file. source may be a part of the file."""
    if len(source.data) > MAX_LINE_BYTES:  # it was cut, see LineDecoder
        return BadInput(TOO_LONG, place=source.place())
    return BadInput(
        f"not JSON: {error.what} (column {error.column})",
        place=f"{source.name}:{source.line + error.line - 1}",
    )


def _first_of_jsonl(source: Source) -> LocatedValue | None:
    """The first value if each of the first two non-blank lines is a JSON object."""
    lines = enumerate(source.data.split(b"\n"), 1)
    both = [Source(source.name, line, number) for number, line in lines if line.strip()][:2]
    try:
        found = [LocatedValue(values.loads(line.data), line) for line in both]
    except NotJSON:
        return None
    return found[0] if len(found) == 2 and all(isinstance(each.value, dict) for each in found) else None
