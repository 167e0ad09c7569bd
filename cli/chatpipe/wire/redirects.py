"""Redirects: those that are followed, and the request that follows one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx

_MAX_REDIRECTS = 5
# Only these keep the method POST. The others make it a GET, which a GET is already.
_KEEPING_METHOD = frozenset({307, 308})
_REDIRECTS = _KEEPING_METHOD | {301, 302, 303}


async def follow_redirects(
    response: httpx.Response,
    request: httpx.Request,
    send: Callable[[httpx.Request], Awaitable[httpx.Response]],
) -> httpx.Response:
    """The reply to which a redirect leads, after its head, or the redirect if it may not be followed."""
    sent = 1
    while (target := _redirect_target(response, request)) is not None:
        await response.aclose()
        if sent == _MAX_REDIRECTS:
            raise httpx.TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects", request=request)
        request = httpx.Request(
            request.method,
            target,
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        response = await send(request)
        sent += 1
    return response


def _redirect_target(response: httpx.Response, request: httpx.Request) -> httpx.URL | None:
    """The target of a redirect that may be followed, else None.

    Only those that keep the method are followed, and only within the same origin, so that no other
    server gets the key or the prompt.
    """
    followed = _REDIRECTS if request.method == "GET" else _KEEPING_METHOD
    if response.status_code not in followed or "location" not in response.headers:
        return None
    url = request.url
    try:
        target = url.join(response.headers["location"])
    except httpx.InvalidURL:
        return None
    is_same_origin = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    return target if is_same_origin else None
