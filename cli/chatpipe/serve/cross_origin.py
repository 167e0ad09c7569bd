"""The headers by which a browser lets a web page use the server. Pure.

A request with an Origin has passed site_access.py, so its page may read the reply. Before most requests for a
completion the browser asks by OPTIONS.

Source: Fetch, section 3.3, as of November 2026.
"""

from __future__ import annotations

from chatpipe.local.model import Reply
from chatpipe.serve.reply_steps import ReplyPlan
from chatpipe.serve.served_request import ServedRequest

PREFIX = "access-control-"
_METHODS = "GET, HEAD, POST, DELETE"


def preflight_reply(request: ServedRequest) -> Reply | None:
    """The reply to a browser that asks if it may send a request, None to any other request."""
    headers = request.raw_headers
    if request.method != "OPTIONS" or b"access-control-request-method" not in headers:
        return None
    allowed = headers.get(b"access-control-request-headers", b"").decode("latin-1")
    named = ((f"{PREFIX}allow-headers", allowed),) if allowed else ()
    return Reply(204, ((f"{PREFIX}allow-methods", _METHODS), *named), ())


def let_page_read(plan: ReplyPlan, request: ServedRequest) -> None:
    """Let the page that sent a request read the reply. Do nothing if no page did."""
    if b"origin" not in request.raw_headers:
        return
    plan.headers += (
        (f"{PREFIX}allow-origin", request.raw_headers[b"origin"].decode("latin-1")),
        (f"{PREFIX}expose-headers", "*"),
        ("vary", "origin"),
    )
