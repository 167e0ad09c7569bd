"""How long a test waits for what must come.

It is far longer than anything takes on a busy machine of two processors, so that only what hangs meets it.
The limit of a whole test in pyproject.toml is longer still.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
_POLL_S = 0.002


def until(condition: Callable[[], object], what: str = "what the test waits for") -> None:
    """Wait until condition() is true. Fails where it does not become so, which what names."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(_POLL_S)
