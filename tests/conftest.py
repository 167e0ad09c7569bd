"""For every test: an environment that names no server, key, proxy or profile."""

from __future__ import annotations

import os

_OURS = ("CHATPIPE_", "OPENAI_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_KEPT = ("CHATPIPE_TEST_ALL", "CHATPIPE_SOAK", "CHATPIPE_PEER_PYTHON")


def pytest_configure() -> None:
    """A developer's own key must not be able to leave, whatever a test forgets."""
    for name in list(os.environ):
        if (name.startswith(_OURS) and name not in _KEPT) or name.lower() in _PROXIES:
            del os.environ[name]
