"""Options of the check that runs before a request is sent."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple


class CheckOptions(NamedTuple):
    """The check options. strict makes warnings and unknown fields errors; off sends a request unchecked."""

    strict: bool = False
    off: bool = False
