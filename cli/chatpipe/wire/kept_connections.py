"""Requests on kept connections that the server closes at the same moment: who may send one again.

An idle connection may be closed while a request is on its way. Nobody can tell that from a server which
took the request and died.
"""

from __future__ import annotations

import httpx

from chatpipe.server.request_extensions import LOST_KEPT

# Source: RFC 9110, section 9.2.2. A proxy must not send any other one again by itself.
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


def accepts_kept(request: httpx.Request) -> bool:
    """Return True if the request may go over a kept connection, which may turn out to be dead.

    Its body must be one that can be sent again.
    """
    return isinstance(request.stream, httpx.ByteStream) and not request.extensions.pop(LOST_KEPT, False)


def may_repeat(request: httpx.Request, *, was_sent: bool) -> bool:
    """Return True if the transport may repeat a request whose kept connection was closed without a reply.

    was_sent: the connection had taken the whole request. The server may then have processed it, and only
    the retry policy of the user may send a POST twice. The request is marked for it.
    """
    if was_sent and request.method not in _IDEMPOTENT:
        request.extensions[LOST_KEPT] = True
        return False
    return True
