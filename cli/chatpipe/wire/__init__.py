"""The network. Every module that imports httpx is in here or imports from here first."""

import sys

# httpx imports its own command line (`httpx._main`), and with it rich and pygments where they are
# installed, whenever it can. None is Python's own mark for "cannot be imported"; httpx then goes
# without. It stands here because no module of ours reaches httpx but through this package.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only
