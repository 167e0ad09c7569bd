"""A fault on its way from another process: what it says, and its exit status."""

from __future__ import annotations

import orjson

from chatpipe.errors import BadConfiguration, ChatpipeError, MissingInput, NoAccess, Unreachable

_CLASSES = {each.status: each for each in (BadConfiguration, MissingInput, NoAccess, Unreachable)}


def write_fault(fault: ChatpipeError) -> bytes:
    """The bytes of a fault."""
    return orjson.dumps((int(fault.status), fault.what, fault.place, fault.fix))


def read_fault(data: bytes) -> ChatpipeError:
    """The fault in these bytes."""
    status, what, place, fix = orjson.loads(data)
    fault_class = next((each for number, each in _CLASSES.items() if number == status), BadConfiguration)
    return fault_class(what, place=place, fix=fix)
