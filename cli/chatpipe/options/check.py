"""Options of the check that runs before a request is sent."""

from typing import NamedTuple


class CheckOptions(NamedTuple):
    """strict: warnings and unknown fields are errors. off: send as it is."""

    strict: bool = False
    off: bool = False
