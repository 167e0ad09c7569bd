"""A request -> what `build` writes: its body, a Batch line, or a curl command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from math import ceil

from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.wire import endpoints, redact
from chatpipe.wire.endpoints import Endpoint
from chatpipe.wire.options import Connection, KeySource, Limits

# The body is one line that begins with `{`, so no word can be its end by accident.
_END = "END_OF_REQUEST"
_END_OF_KEY = "END_OF_KEY"


def written(
    shape: str,
    body: Mapping[str, Value],
    custom_id: str,
    endpoint: Endpoint,
    connection: Connection,
    environ: Mapping[str, str],
) -> bytes:
    """The bytes of one of options.REQUEST_SHAPES, with their final newline. No key is ever among them.

    A command for curl raises what would keep `ask` from sending: UsageFault, BadConfiguration.
    """
    if shape == "batch":
        line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return values.dumps(line) + b"\n"
    if shape == "curl":
        return _curl(values.dumps(body), endpoint, connection, environ, streamed=body.get("stream") is True)
    return values.dumps(body) + b"\n"


def _curl(
    body: bytes, endpoint: Endpoint, connection: Connection, environ: Mapping[str, str], *, streamed: bool
) -> bytes:
    """A command for a POSIX shell. The key is read by that shell from where we would have read it.

    It reaches curl through a descriptor: on its command line everybody could read it.
    """
    if endpoint.in_process:
        raise UsageFault("profile 'echo' has no address for curl", place="--profile", fix="name a --base-url")
    command = ["curl -sS --fail-with-body" + (" -N" if streamed else ""), shlex.quote(endpoint.url)]
    from chatpipe.wire import client  # with httpx behind it, which the other shapes do without

    proxy = client.proxy_of(endpoint.url, connection, environ)
    last, before = "--data-binary @-", ""
    bearer = _bearer(endpoint, connection.key, environ)
    # What is sent beside the endpoint's own headers is the key, here the words that read it.
    headers = endpoints.authorized(endpoint, bearer, allow_http=connection.allow_http, proxy=proxy)
    if len(headers) > len(endpoint.headers):
        fd = 8 if connection.key.descriptor == 9 else 9
        command.append(f"-H @/dev/fd/{fd}")
        last += f" {fd}<<{_END_OF_KEY}"
        before = f"Authorization: Bearer {bearer}\n{_END_OF_KEY}\n"
    command += [shlex.join(option) for option in _way(connection)]
    command += [
        f"-H {shlex.quote(f'{name}: {redact.header(name, value)}')}" for name, value in endpoint.headers
    ]
    command.append(f"{last} <<'{_END}'")
    text = " \\\n  ".join(command) + "\n" + before
    return text.encode() + body + f"\n{_END}\n".encode()


def _way(connection: Connection) -> Iterator[tuple[str, ...]]:
    """The options of curl for ours that say how to get there and how long to wait, where they were given.

    An empty proxy means none for curl, too. Of `--timeout` it knows whole seconds only.
    """
    if connection.proxy is not None:
        yield "--proxy", _without_password(connection.proxy)
    if connection.cacert is not None:
        yield "--capath" if os.path.isdir(connection.cacert) else "--cacert", connection.cacert
    if connection.client_cert is not None:
        # curl reads FILE:PASSWORD
        yield "--cert", connection.client_cert.replace("\\", "\\\\").replace(":", "\\:")
    if connection.client_key is not None:
        yield "--key", connection.client_key
    if connection.insecure:
        yield ("--insecure",)
    limits, usual = connection.limits, Limits()
    if limits.connect_s != usual.connect_s:
        yield "--connect-timeout", _seconds(limits.connect_s)
    if limits.between_bytes_s != usual.between_bytes_s:
        yield "--speed-limit", "1", "--speed-time", str(ceil(limits.between_bytes_s))
    if limits.deadline_s is not None:
        yield "--max-time", _seconds(limits.deadline_s)


def _without_password(proxy: str) -> str:
    """The URL with `***` for the password, or for a name without one, which may be a token."""
    known, at, place = proxy.rpartition("@")
    if not at:
        return proxy
    scheme, slashes, user = known.rpartition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}:***@{place}" if colon else f"{scheme}{slashes}***@{place}"


def _seconds(number: float) -> str:
    """As curl reads them: without an exponent."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


def _bearer(endpoint: Endpoint, key: KeySource, environ: Mapping[str, str]) -> str | None:
    """What gives the key in a here-document of the shell; None where none would be sent."""
    if key.file is not None:
        return f"$(cat {shlex.quote(key.file)})"
    if key.command is not None:
        return f"$({shlex.join(shlex.split(key.command))})"  # words, as we run them: nothing is expanded
    if key.descriptor is not None:
        return f"$(cat <&{key.descriptor})"
    if endpoint.key_env is not None and (endpoint.needs_key or environ.get(endpoint.key_env)):
        return f"${endpoint.key_env}"
    return None
