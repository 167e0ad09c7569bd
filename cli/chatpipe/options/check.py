"""Options of the check that runs before a request is sent."""

from typing import NamedTuple


class CheckOptions(NamedTuple):
    """The check options. strict makes warnings and unknown fields errors; off sends a request unchecked."""

    strict: bool = False
    off: bool = False
