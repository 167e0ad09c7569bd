"""Fields put into the text of a JSON object, every other byte of which stays as it came."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs import values
from chatpipe.inputs.place import members
from chatpipe.inputs.values import Value


def spliced(data: bytes, present: Mapping[str, Value], fields: Mapping[str, Value]) -> bytes:
    """Data is one line of valid JSON, of the object present. What it has is replaced in its place."""
    old = {name: value for name, value in fields.items() if name in present}
    if old:
        data = _replaced(data, old)
    new = {name: value for name, value in fields.items() if name not in present}
    if not new:
        return data
    head = data.rstrip()[:-1].rstrip()
    return head + (b"," if present else b"") + values.dumps(new)[1:]


def _replaced(data: bytes, fields: Mapping[str, Value]) -> bytes:
    """Of a name that comes twice the last counts, as it does for a parser: all of them are replaced."""
    text = data.decode()
    pieces = []
    at = 0
    for name, start, end in members(text):
        if name in fields:
            pieces += [text[at:start], values.dumps(fields[name]).decode()]
            at = end
    return "".join([*pieces, text[at:]]).encode()
