"""The keys that commands print, read again during a run: once for all servers that get the same key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from threading import Lock

from chatpipe.options.server import KeySource, KeyWaits, ServerOptions
from chatpipe.server.keys import FoundKey, find_key
from chatpipe.server.server import Server, with_key


class SharedKeys:
    """The keys of a run. Its readers may be called in any thread. note prints that a key is waited for."""

    def __init__(
        self, options: ServerOptions, environ: Mapping[str, str], note: Callable[[str], None]
    ) -> None:
        self._options = options
        self._environ = environ
        self._note = note
        self._latest: dict[KeySource, FoundKey | None] = {}
        self._locks: defaultdict[KeySource, Lock] = defaultdict(Lock)

    def reader(self, server: Server, has_stopped: Callable[[], bool]) -> Callable[[], Server]:
        """A function that returns the server with its next key, to be called when one was refused.

        has_stopped ends the wait for it, see KeyWaits. The function raises what find_key() raises.
        """
        waits = KeyWaits(self._note, has_stopped)

        def read() -> Server:
            nonlocal server
            key = self._next(server, waits)
            server = with_key(server.endpoint, self._options, self._environ, key)
            return server

        return read

    def _next(self, server: Server, waits: KeyWaits) -> FoundKey | None:
        """The key after that of a server: another server may have it already."""
        assert server.key is not None
        source = server.key.source
        with self._locks[source]:
            latest = self._latest.get(source)
            if latest is None or latest.text == server.key.text:
                latest = find_key(server.endpoint.keys, self._environ, waits)
                self._latest[source] = latest
        return latest
