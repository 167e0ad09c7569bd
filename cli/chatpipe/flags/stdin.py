"""Standard input of this process, as the commands hand it on."""

from __future__ import annotations

import sys

from chatpipe.inputs.stdin import Stdin
from chatpipe.system.console import Console


def stdin(console: Console, *, is_taken: bool = False) -> Stdin:
    """Descriptor 0. Python makes sys.stdin None when it was closed. is_taken: the key is in it."""
    return Stdin(0, sys.stdin is not None and not is_taken, console.note)
