"""chatpipe: a Unix filter for Chat Completions."""

import sys

__version__ = "0.2.0"

# httpx imports its own command line (`httpx._main`), and with it rich and pygments where they are
# installed, whenever it can. None is Python's own mark for "cannot be imported"; httpx then goes without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only
