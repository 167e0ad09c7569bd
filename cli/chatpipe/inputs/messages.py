"""`--messages FILE` and `-r FILE` -> values that know their place."""

from typing import NamedTuple

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.place import Source
from chatpipe.inputs.values import NotJSON, Value

# bool before int, which it is a kind of
_KINDS = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


class Found(NamedTuple):
    """A value, and where it stands: at pointer inside source."""

    value: Value
    source: Source
    pointer: str = ""

    def place(self, pointer: str = "") -> str:
        """`file:line` of what is at pointer inside this value."""
        return self.source.place(self.pointer + pointer)


def document(source: Source) -> Found:
    """The one JSON value of a text. Raises BadInput with line and column."""
    try:
        return Found(values.loads_exactly(source.data), source)
    except NotJSON as error:
        raise not_json(source, error) from error


def request(source: Source) -> Found:
    """A request body: one JSON object. Raises BadInput, telling a Batch line or JSONL from a body."""
    try:
        found = Found(values.loads_exactly(source.data), source)
    except NotJSON as error:
        if _is_jsonl(source):
            raise BadInput(
                "several JSON values, where one request is wanted",
                place=source.name,
                fix="send them with chatpipe batch",
            ) from error
        raise not_json(source, error) from error
    if not isinstance(found.value, dict):
        raise BadInput(f"a request is a JSON object, not {kind(found.value)}", place=source.place())
    if "body" in found.value and "messages" not in found.value:
        raise BadInput(
            "this is a Batch line: the request is its 'body'",
            place=source.place(),
            fix="jq .body",
        )
    return found


def conversation(source: Source) -> list[Found]:
    """Messages from a JSON array, or from JSONL with one message a line. Raises BadInput."""
    if source.data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        whole = document(source)
        return [Found(message, source, f"/{index}") for index, message in enumerate(whole.value)]
    messages = []
    for number, line in enumerate(source.data.split(b"\n"), 1):
        if line.strip():
            found = document(Source(source.name, line, number))
            if not isinstance(found.value, dict):
                raise BadInput(f"a message is a JSON object, not {kind(found.value)}", place=found.place())
            messages.append(found)
    return messages


def not_json(source: Source, error: NotJSON) -> BadInput:
    """A parser's complaint, placed in the file that the text is a part of."""
    return BadInput(
        f"not JSON: {error.what} (column {error.column})",
        place=f"{source.name}:{source.line + error.line - 1}",
    )


def kind(value: Value) -> str:
    """What JSON calls a value of this sort, with its article."""
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return "null"


def _is_jsonl(source: Source) -> bool:
    """Whether the first two lines that are not blank are JSON each on its own."""
    lines = [line for line in source.data.split(b"\n") if line.strip()][:2]
    try:
        return len(lines) == 2 and all(isinstance(values.loads(line), dict) for line in lines)
    except NotJSON:
        return False
