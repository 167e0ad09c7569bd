"""A request -> what `build` writes: its body, a Batch line, or a curl command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.wire import endpoints, redact
from chatpipe.wire.endpoints import Endpoint
from chatpipe.wire.options import Connection, KeySource

# The body is one line that begins with `{`, so no word can be its end by accident.
_END = "END_OF_REQUEST"


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
    """A command for a POSIX shell. The key is read by that shell from where we would have read it."""
    if endpoint.in_process:
        raise UsageFault("profile 'echo' has no address for curl", place="--profile", fix="name a --base-url")
    command = ["curl -sS --fail-with-body" + (" -N" if streamed else ""), shlex.quote(endpoint.url)]
    bearer = _bearer(endpoint, connection.key, environ)
    # What is sent beside the endpoint's own headers is the key, here the words that read it.
    if len(endpoints.authorized(endpoint, bearer, allow_http=connection.allow_http)) > len(endpoint.headers):
        command.append(f'-H "Authorization: Bearer {bearer}"')
    command += [
        f"-H {shlex.quote(f'{name}: {redact.header(name, value)}')}" for name, value in endpoint.headers
    ]
    command.append(f"--data-binary @- <<'{_END}'")
    return " \\\n  ".join(command).encode() + b"\n" + body + f"\n{_END}\n".encode()


def _bearer(endpoint: Endpoint, key: KeySource, environ: Mapping[str, str]) -> str | None:
    """Shell words, for inside double quotes, that give the key; None where none would be sent."""
    if key.file is not None:
        return f"$(cat {shlex.quote(key.file)})"
    if key.command is not None:
        return f"$({shlex.join(shlex.split(key.command))})"  # words, as we run them: nothing is expanded
    if key.descriptor is not None:
        return f"$(cat <&{key.descriptor})"
    if endpoint.key_env is not None and (endpoint.needs_key or environ.get(endpoint.key_env)):
        return f"${endpoint.key_env}"
    return None
