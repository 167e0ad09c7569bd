"""The routes of the local server: a request -> its reply. Pure: no clock, no socket.

The model `echo` answers those of the API. Others are ours, at the root of the server.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from chatpipe.inputs import values
from chatpipe.local import model
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import Reply
from chatpipe.serve.batches.api_route import api_route
from chatpipe.serve.served_request import RequestRefusal, ServedRequest

_JSON = ("content-type", "application/json")
_OWN_ROOT = "/_chatpipe/"
# The type of an error of ours about the server behind this one.
UPSTREAM_ERROR = "upstream_error"
_CHAT_PATH = "/v1/chat/completions"
_BEARER = b"bearer "
_NO_KEY = "You didn't provide an API key: send it in the header Authorization, as 'Bearer KEY'"
_WRONG_KEY = "Incorrect API key provided"


OwnRoutes = Mapping[str, Callable[[], Reply]]  # by their paths
Scripted = Callable[[ChatBody], Reply | None]  # the reply to a body, None for that of the model


class Router:
    """Answers each request. key is what clients have to send, None if they need none.

    own are the routes of the server itself, which need no key. script answers some requests for a completion.
    """

    def __init__(self, key: str | None, own: OwnRoutes, script: Scripted | None = None) -> None:
        self._script = script
        self._key = None if key is None else key.encode()
        self._own = {"/health": lambda: json_reply(200, {"status": "ok"}), **own}

    def reply_to(self, request: ServedRequest) -> Reply:
        """The reply to a request. HEAD is answered as GET, and OPTIONS with the methods of the path."""
        if is_chat(request):
            return self.chat_reply(request, ChatBody(request.body))
        own = self.own_reply(request)
        return model.answer_http(_method(request), request.target, request.body) if own is None else own

    def chat_reply(self, request: ServedRequest, body: ChatBody) -> Reply:
        """The reply to a request for a completion."""
        own = self.own_chat_reply(request, body)
        return model.answer_chat(body) if own is None else own

    def own_reply(self, request: ServedRequest) -> Reply | None:
        """The reply to any other request that does not go to the model, None for one that does."""
        if request.method == "OPTIONS":
            return Reply(204, (("allow", _allowed(request)),), ())
        if request.method in ("GET", "HEAD") and (own := self._own.get(request.path)) is not None:
            return own()
        return self.refusal(request)

    def own_chat_reply(self, request: ServedRequest, body: ChatBody) -> Reply | None:
        """The reply to a request for a completion that does not go to the model, None for one that does."""
        if self._key is not None and (refusal := self.refusal(request)) is not None:
            return refusal
        return None if self._script is None else self._script(body)

    def scripted(self, body: ChatBody) -> Reply | None:
        """The reply of the script, None for a request that no rule of it admits."""
        return None if self._script is None else self._script(body)

    def refusal(self, request: ServedRequest) -> Reply | None:
        """The refusal of a request without the right key, None if it has it."""
        if self._key is None:
            return None
        sent = _sent_key(request.raw_headers)
        if sent is not None and hmac.compare_digest(sent, self._key):
            return None
        reply = error_reply(401, _NO_KEY if sent is None else _WRONG_KEY, code="invalid_api_key")
        return Reply(401, (*reply.headers, ("www-authenticate", "Bearer")), reply.pieces)


def refusal_reply(refusal: RequestRefusal) -> Reply:
    """The reply to a request that is not read to its end."""
    return error_reply(refusal.status, refusal.message, code=refusal.code)


def error_reply(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
) -> Reply:
    """An error in the shape of the API."""
    return json_reply(status, {"error": {"message": message, "type": type, "param": param, "code": code}})


def json_reply(status: int, value: values.Value) -> Reply:
    return Reply(status, (_JSON,), (values.dumps(value),))


def _sent_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key of a request: from Authorization, else from api-key, which Azure reads. None without one."""
    authorization = headers.get(b"authorization", b"")
    if authorization.lower().startswith(_BEARER):
        return authorization[len(_BEARER) :].strip()
    return headers.get(b"api-key")


def _method(request: ServedRequest) -> str:
    return "GET" if request.method == "HEAD" else request.method


def is_own(request: ServedRequest) -> bool:
    """Return True for a path that no server of the API has."""
    return request.path.startswith(_OWN_ROOT)


def is_chat(request: ServedRequest) -> bool:
    """Return True for a request for a completion."""
    target = request.target
    if target == _CHAT_PATH:  # that of nearly every request
        return request.method == "POST"
    return request.method == "POST" and _is_chat_path(request.path)


def _is_chat_path(path: str) -> bool:
    return path.rstrip("/").endswith("/chat/completions")


def _allowed(request: ServedRequest) -> str:
    route = api_route(request)
    methods = route.methods if route else ("POST",) if _is_chat_path(request.path) else ("GET",)
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
