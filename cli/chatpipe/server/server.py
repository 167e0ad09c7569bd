"""An endpoint -> the server that is asked: find the key, choose the proxy, add the key."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from chatpipe.errors import BadConfiguration, NoAccess
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, ExchangeLimits, KeyWaits, ServerOptions
from chatpipe.server import keys, redact
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.headers import Headers
from chatpipe.server.hosts import is_loopback_url
from chatpipe.server.keys import FoundKey
from chatpipe.server.profiles import AUTH, BEARER, ECHO, AuthHeader
from chatpipe.server.proxies import proxy_for, proxy_place
from chatpipe.server.request_extensions import KEY_LINES, THROUGH_PROXY, WAYS_TO_A_KEY

if TYPE_CHECKING:
    import httpx

# Headers that carry a key to one provider or another.
_CREDENTIALS = ("authorization", "api-key", "x-api-key")
# A JSON Web Token, such as one of Microsoft Entra. No API key has this form. Source: RFC 7519.
_JWT = r"eyJ[\w-]+\.[\w-]+\.[\w-]*\Z"

AroundTransport = Callable[[Callable[[], "httpx.AsyncBaseTransport"]], "httpx.AsyncBaseTransport"]


class Server(NamedTuple):
    """A server and all that a request to it needs.

    headers include the key, and key is its source. proxy is the URL of the proxy, None for a direct
    connection, and proxy_place the option or the variable that names it. options hold the TLS settings and
    the time limits. around wraps the transport: its argument opens the server's own. ready returns None if
    the server can be used now, and otherwise a wait for that; without ready it always can.
    """

    endpoint: Endpoint
    headers: Headers
    proxy: str | None
    options: ServerOptions
    key: FoundKey | None = None
    around: AroundTransport | None = None
    ready: Callable[[], Awaitable[None] | None] | None = None
    proxy_place: str | None = None

    @property
    def in_process(self) -> bool:
        return self.endpoint.in_process

    @property
    def limits(self) -> ExchangeLimits:
        return self.options.limits

    def completions_url(self, model: object = None) -> str:
        """The URL that completions of a model are asked from."""
        return self.endpoint.url(self.endpoint.profile.path, model)

    @property
    def origin(self) -> str:
        """Scheme, host and port: the limits of a server are the same for all its paths."""
        import httpx  # `build` does without it

        url = httpx.URL(self.endpoint.base_url)
        return f"{url.scheme}://{url.netloc.decode()}"

    @property
    def key_header(self) -> tuple[str, str] | None:
        """The header that was added for the key, None if there is none."""
        return self.headers[0] if len(self.headers) > len(self.endpoint.headers) else None

    @property
    def extensions(self) -> dict[str, Any]:
        """The extensions of each request. The words about a refusal need them."""
        ways = self.endpoint.ways_to_a_key
        found: dict[str, Any] = {WAYS_TO_A_KEY: ways} if ways else {}
        if self.proxy is not None and self.proxy_place:
            found[THROUGH_PROXY] = (redact.url(self.proxy), self.proxy_place)
        if self.key is not None and self.key.lines > 1:
            found[KEY_LINES] = f"{self.key.lines} lines of {self.key.source.place}"
        return found

    @property
    def may_renew_key(self) -> bool:
        """True if the key came from a command, which may print another one later."""
        return self.key_header is not None and self.key is not None and self.key.source.way.names == "command"


def open_servers(
    endpoints: Sequence[Endpoint],
    options: ServerOptions,
    environ: Mapping[str, str],
    waits: KeyWaits = SILENT_WAITS,
    *,
    sends: bool = True,
) -> tuple[Server, ...]:
    """The servers, each with its key. A key that several get is read once.

    With sends False nothing will be sent: an unusable key is still an error, but none is required, and the
    servers have no headers. Raises NoAccess, BadConfiguration and UsageFault.
    """
    reader = keys.KeyReader(environ, waits)
    found = [(endpoint, reader.find(endpoint.keys)) for endpoint in endpoints]
    if not sends:
        return unasked_servers(endpoints, options)
    return tuple(with_key(endpoint, options, environ, key) for endpoint, key in found)


def unasked_servers(endpoints: Sequence[Endpoint], options: ServerOptions) -> tuple[Server, ...]:
    """The servers of recorded replies: nothing is sent, so no key is looked for."""
    return tuple(Server(endpoint, (), None, options) for endpoint in endpoints)


def with_key(
    endpoint: Endpoint, options: ServerOptions, environ: Mapping[str, str], key: FoundKey | None
) -> Server:
    """The server with this key, or with the text that stands for one.

    Raises NoAccess if a required key is missing, and BadConfiguration if a secret would go
    unencrypted over a network without --allow-http.
    """
    if endpoint.in_process:
        return Server(endpoint, endpoint.headers, None, options)
    proxy = proxy_for(endpoint.base_url, options.proxy, environ)
    allow_http = options.allow_http or endpoint.profile.allow_http
    if key is None and _lacks_key(endpoint):
        raise _no_key(endpoint, uses_jobs=options.uses_jobs)
    headers = _add_key(endpoint, key, allow_http=allow_http, proxy=proxy)
    place = proxy_place(endpoint.base_url, options.proxy, environ)
    return Server(endpoint, headers, proxy, options, key, proxy_place=place)


def renewed(server: Server, environ: Mapping[str, str], waits: KeyWaits) -> Server:
    """The server with the key that its command prints now. Raises like open_servers()."""
    key = keys.find_key(server.endpoint.keys, environ, waits)
    found = with_key(server.endpoint, server.options, environ, key)
    return server._replace(headers=found.headers, key=found.key)


def _add_key(endpoint: Endpoint, key: FoundKey | None, *, allow_http: bool, proxy: str | None) -> Headers:
    url = urlsplit(endpoint.base_url)
    auth = _auth_header(endpoint, key)
    names = {name.lower() for name, _ in endpoint.headers}
    has_credentials = not names.isdisjoint(_CREDENTIALS)
    secret = "the key" if key is not None or has_credentials else _secret_header(endpoint.headers)
    if secret and url.scheme == "http" and not allow_http:
        refuse_plain_http(secret, url, proxy)
    if key is None or auth is None or auth.name.lower() in names or endpoint.key_removed:
        return endpoint.headers
    return (auth.header(key.text), *endpoint.headers)


def _auth_header(endpoint: Endpoint, key: FoundKey | None) -> AuthHeader | None:
    """The header for a key: its source's own form, else the profile's. A token of Entra is a bearer token."""
    form = endpoint.profile.auth_header
    if key is not None and key.source.auth is not None:
        return AUTH[key.source.auth]
    if form is not None and form is not BEARER and key is not None and re.match(_JWT, key.text):
        return BEARER
    return form


def _lacks_key(endpoint: Endpoint) -> bool:
    """Return True if the server needs a key and no header of the endpoint carries one."""
    has_credentials = any(name.lower() in _CREDENTIALS for name, _ in endpoint.headers)
    return endpoint.needs_key and not has_credentials and not is_loopback_url(urlsplit(endpoint.base_url))


def _no_key(endpoint: Endpoint, *, uses_jobs: bool) -> NoAccess:
    keyless = "the --base-url of a chatpipe serve" if uses_jobs else f"-p {ECHO.name}"
    ways = [*endpoint.ways_to_a_key, f"or try {keyless}, which needs none"]
    url = redact.url(endpoint.server_url or endpoint.base_url)
    return NoAccess(f"no API key for '{url}'", fix=", ".join(ways))


def refuse_plain_http(secret: str, url: SplitResult, proxy: str | None) -> None:
    """Raise if the secret would go unencrypted to another machine. A proxy can read every such request."""
    for hop in (url, urlsplit(proxy)) if proxy else (url,):
        if not is_loopback_url(hop):
            raise BadConfiguration(
                f"{secret} would go unencrypted to '{hop.hostname}'",
                fix="use https, or --allow-http if the network is yours",
            )


def _secret_header(headers: Headers) -> str:
    """A phrase that names the first secret header, or "" if there is none."""
    hidden = (name for name, value in headers if redact.header(name, value) != value)
    return next((f"the header '{name}'" for name in hidden), "")
