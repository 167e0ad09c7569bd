"""Network access. A module that imports httpx belongs to this package or imports from it first."""

import sys

# Importing httpx also imports its command line (`httpx._main`), and with it rich and pygments if they
# are installed. None in sys.modules makes that import fail, and httpx then works without it. The line
# belongs here because our modules reach httpx only through this package.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # typeshed knows modules only
