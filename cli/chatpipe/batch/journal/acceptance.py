"""The recorded answers that a run may use, by the server that gave them, and those that are good."""

from __future__ import annotations

import re

from chatpipe.named_tuple import NamedTuple
from chatpipe.response.result_line import LineKey
from chatpipe.server.identity import ECHO, comparable_name

# The built-in model, also behind a socket, marks its answers. Inside a string the quotes would be escaped.
_MARK = b"fp_chatpipe"
_IS_BUILT_IN = re.compile(rb'"system_fingerprint"\s*:\s*"fp_chatpipe')


class Acceptance(NamedTuple):
    """The rules of one run.

    good holds the outcomes that count as success. servers are the names of the run's own servers, as
    comparable_name writes them. With same_server, the answers of all others are left where they are.
    """

    good: frozenset[str] = frozenset({"ok"})
    servers: frozenset[str] = frozenset()
    same_server: bool = False

    def is_own_server(self, key: LineKey) -> bool:
        """Return True if a server of this run gave the answer. Without a recorded name that is unknown."""
        return key.server is not None and comparable_name(key.server) in self.servers

    def is_foreign(self, key: LineKey) -> bool:
        """Return True if --same-server refuses the answer because another server gave it."""
        return self.same_server and not self.is_own_server(key)

    def is_made_up(self, key: LineKey, line: bytes) -> bool:
        """Return True if the built-in model gave the answer, and this run does not ask the same one.

        Nobody paid for such an answer, and it must not be taken for that of a real model.
        """
        is_built_in = key.server == ECHO or (_MARK in line and _IS_BUILT_IN.search(line) is not None)
        return is_built_in and not self.is_own_server(key)
