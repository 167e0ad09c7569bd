"""A request -> the output of `build`: its body, a Batch line, or a curl command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import REQUEST_FORMATS
from chatpipe.options.server import ExchangeLimits, ServerOptions
from chatpipe.request.batch_line import batch_line
from chatpipe.server import keys, redact
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.keys import FoundKey
from chatpipe.server.patches import patch_body

# The body is a single line that begins with `{`, so it cannot equal this terminator.
_END = "END_OF_REQUEST"
_END_OF_KEY = "END_OF_KEY"


class UnsentRequest(NamedTuple):
    """A request that is written instead of sent, and where it would be sent."""

    body: Mapping[str, Value]
    custom_id: str
    endpoint: Endpoint
    connection: ServerOptions
    environ: Mapping[str, str]


def format_request(format: str, request: UnsentRequest, note: Callable[[str], None]) -> bytes:
    """The request in one of REQUEST_FORMATS, with a final newline. It never contains a key.

    Its body is patched as that of `ask`; note gets the changes. The curl command raises the same errors
    that keep `ask` from sending: UsageFault, BadConfiguration.
    """
    body = patch_body(request.body, request.endpoint.patches, note)
    return _FORMATTERS[format](request._replace(body=body))


def refuse_custom_id(format: str) -> None:
    """Raise UsageFault for a format without a custom_id."""
    if not REQUEST_FORMATS[format].has_custom_id:
        raise UsageFault(
            f"format '{format}' has no custom_id", place="--custom-id", fix="use it with -f batch"
        )


def refuse_several(format: str, endpoints: Sequence[Endpoint]) -> None:
    """Raise UsageFault for a curl command that would ask several servers."""
    if format == "curl" and len(endpoints) > 1:
        what = f"curl asks one server, and there are {len(endpoints)}"
        raise UsageFault(what, place=f"-f {format}", fix="name one with --base-url")


def _body(request: UnsentRequest) -> bytes:
    return values.dumps(request.body) + b"\n"


def _batch(request: UnsentRequest) -> bytes:
    return values.dumps(batch_line(request.custom_id, request.body, request.endpoint.batch_url)) + b"\n"


def _curl(request: UnsentRequest) -> bytes:
    """The curl command, for a POSIX shell. That shell reads the key from the same source as we do.

    The key reaches curl through a descriptor, because everybody could read it on its command line.
    """
    endpoint, connection, environ = request.endpoint, request.connection, request.environ
    if endpoint.in_process:
        what = f"profile '{endpoint.profile.name}' has no address for curl"
        raise UsageFault(what, place="--profile", fix="name a --base-url")
    from chatpipe.server.server import with_key  # it loads httpx, which the other formats do not need

    # The key is here the shell words that read it.
    server = with_key(endpoint, connection, environ, _key_words(endpoint, environ))
    unbuffered = " -N" if request.body.get("stream") is True else ""
    url = redact.complete_url(server.completions_url(request.body.get("model")))
    command = [f"curl -sS --fail-with-body{unbuffered}", shlex.quote(url)]
    data_option, key_lines = "--data-binary @-", ""
    if server.key_header is not None:
        fd = 8 if any(source.descriptor == 9 for source in connection.keys) else 9
        command.append(f"-H @/dev/fd/{fd}")
        data_option += f" {fd}<<{_END_OF_KEY}"
        key_lines = f"{': '.join(server.key_header)}\n{_END_OF_KEY}\n"
    command += [shlex.join(option) for option in _connection_options(connection)]
    command += [
        f"-H {shlex.quote(f'{name}: {redact.header(name, value)}')}" for name, value in endpoint.headers
    ]
    command.append(f"{data_option} <<'{_END}'")
    text = " \\\n  ".join(command) + "\n" + key_lines
    return text.encode() + values.dumps(request.body) + f"\n{_END}\n".encode()


_FORMATTERS: Mapping[str, Callable[[UnsentRequest], bytes]] = {"body": _body, "batch": _batch, "curl": _curl}


def _connection_options(connection: ServerOptions) -> Iterator[tuple[str, ...]]:
    """The options of curl that match our connection options and time-outs, if these were given.

    An empty proxy means no proxy to curl, too. For `--timeout` curl accepts whole seconds only.
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
    limits, defaults = connection.limits, ExchangeLimits()
    if limits.connect_s != defaults.connect_s:
        yield "--connect-timeout", _seconds(limits.connect_s)
    if limits.between_bytes_s != defaults.between_bytes_s:
        yield "--speed-limit", "1", "--speed-time", str(ceil(limits.between_bytes_s))
    if limits.deadline_s is not None:
        yield "--max-time", _seconds(limits.deadline_s)
    if limits.max_reply_bytes != defaults.max_reply_bytes:
        yield "--max-filesize", str(limits.max_reply_bytes)


def _without_password(proxy: str) -> str:
    """The URL with `***` for the password, or for a user name without one, which may be a token."""
    credentials, at, host = proxy.rpartition("@")
    if not at:
        return proxy
    scheme, slashes, user = credentials.rpartition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}:***@{host}" if colon else f"{scheme}{slashes}***@{host}"


def _seconds(number: float) -> str:
    """A number of seconds in the form that curl reads: without an exponent."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


def _key_words(endpoint: Endpoint, environ: Mapping[str, str]) -> FoundKey | None:
    """The shell expression for the key in a here-document; None if no key would be sent.

    Where a key is needed and none is set, it names the variable that is to hold it.
    """
    words = keys.key_words(endpoint.keys, environ)
    if words is None and endpoint.needs_key:
        variable = endpoint.key_variable
        named = [each._replace(is_optional=False) for each in endpoint.keys if each.value == variable]
        return keys.key_words(named, environ)
    return words
