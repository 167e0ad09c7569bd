"""Set fields in the text of a JSON object, and keep every other byte unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs import values
from chatpipe.inputs.place import members
from chatpipe.inputs.values import Value


def set_fields(data: bytes, present: Mapping[str, Value], fields: Mapping[str, Value]) -> bytes:
    """Set fields in data, one line of valid JSON whose parsed object is present.

    A field that exists is replaced where it stands; a new one is appended.
    """
    old = {name: value for name, value in fields.items() if name in present}
    if old:
        data = _replaced(data, old)
    new = {name: value for name, value in fields.items() if name not in present}
    if not new:
        return data
    head = data.rstrip()[:-1].rstrip()
    return head + (b"," if present else b"") + values.dumps(new)[1:]


def _replaced(data: bytes, fields: Mapping[str, Value]) -> bytes:
    """Replace the values of fields, all of which exist in data.

    A repeated name is replaced everywhere, because a parser uses only its last value.
    """
    text = data.decode()
    pieces = []
    at = 0
    for name, start, end in members(text):
        if name in fields:
            pieces += [text[at:start], values.dumps(fields[name]).decode()]
            at = end
    return "".join([*pieces, text[at:]]).encode()
