"""The sequence of key, proxy and header, and where a key never goes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from chatpipe import __version__
from chatpipe.errors import BadConfiguration, NoAccess
from chatpipe.options.server import ExchangeLimits, KeySource, ServerOptions
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.headers import Headers
from chatpipe.server.keys import ENVIRONMENT, FoundKey
from chatpipe.server.server import open_servers, with_key
from chatpipe.system import secrets
from support.refusals import refused

OURS = (
    ("Content-Type", "application/json"),
    ("User-Agent", f"chatpipe/{__version__}"),
    ("Accept-Encoding", "identity"),
)


def endpoint(**options: Any) -> Endpoint:
    return resolve_endpoints(ServerOptions(**options), {})[0]


def key_of(text: str | None, auth: str | None = None) -> FoundKey | None:
    return None if text is None else FoundKey(text, KeySource(ENVIRONMENT, "KEY", auth=auth))


def sent(found: Endpoint, key: str | None, *, allow_http: bool, proxy: str | None = None) -> Headers:
    return with_key(found, ServerOptions(allow_http=allow_http, proxy=proxy), {}, key_of(key)).headers


def test_key_goes_first_as_a_bearer() -> None:
    found = endpoint(headers=("X-A: 1",))
    assert sent(found, "k", allow_http=False) == (("Authorization", "Bearer k"), *OURS, ("X-A", "1"))


@pytest.mark.parametrize("base_url", ["https://b.example", "http://b.example"])
def test_no_key_no_header(base_url: str) -> None:
    assert sent(endpoint(base_urls=(base_url,)), None, allow_http=False) == OURS


def test_own_authorization_is_left_alone() -> None:
    found = endpoint(headers=("authorization: Basic x",))
    assert sent(found, "k", allow_http=False) == (*OURS, ("authorization", "Basic x"))
    assert sent(found, None, allow_http=False) == (*OURS, ("authorization", "Basic x"))


def test_authorization_removed_by_an_empty_header_is_not_sent() -> None:
    """`-H Authorization:` removes a header, as in curl."""
    found = endpoint(base_urls=("https://b.example",), headers=("Authorization:",))
    assert sent(found, "k", allow_http=False) == OURS


@pytest.mark.parametrize("name", ["api-key", "X-Api-Key", "Authorization"])
def test_key_in_a_header_is_a_key(name: str) -> None:
    found = endpoint(headers=(f"{name}: x",))
    assert sent(found, None, allow_http=False) == (*OURS, (name, "x"))


@pytest.mark.parametrize(
    "options",
    [{}, {"profile": "openai"}, {"base_urls": ("https://api.openai.com/v1",)}],
    ids=["default", "openai", "by its URL"],
)
def test_no_key_where_one_is_needed_is_77(options: dict[str, Any]) -> None:
    found = endpoint(**options)
    with refused(
        NoAccess,
        what=f"no API key for '{found.base_url}'",
        fix="set OPENAI_API_KEY, pass --key-file FILE, or try -p echo, which needs none",
    ):
        sent(found, None, allow_http=False)


def test_no_key_message_shows_no_query() -> None:
    with pytest.raises(NoAccess) as fault:
        sent(endpoint(base_urls=("https://api.openai.com/v1?sig=secret",)), None, allow_http=False)
    assert "secret" not in str(fault.value)


def test_openai_on_this_machine_needs_no_key() -> None:
    found = endpoint(profile="openai", base_urls=("http://localhost:8080/v1",))
    assert sent(found, None, allow_http=False) == OURS


@pytest.mark.parametrize("headers", [(), ("Authorization: Bearer x",), ("api-key: x",), ("X-API-Key: x",)])
@pytest.mark.parametrize(
    "host",
    [
        *("b.example", "10.0.0.1", "0.0.0.0", "127.0.0.1.evil.example", "localhost.evil.example"),
        *("notlocalhost", "[::2]", "[fe80::1]", "127.1.evil"),
    ],
)
def test_key_does_not_go_over_plain_http_to_another_machine(host: str, headers: tuple[str, ...]) -> None:
    found = endpoint(base_urls=(f"http://{host}/v1",), headers=headers)
    with refused(BadConfiguration, what=f"the key would go unencrypted to '{host.strip('[]')}'"):
        sent(found, None if headers else "k", allow_http=False)
    assert sent(found, "k", allow_http=True) != ()


@pytest.mark.parametrize(
    "proxy", ["http://proxy.example:3128", "https://u:p@proxy.example", "socks5://10.0.0.1"]
)
def test_the_key_does_not_go_over_plain_http_through_a_proxy_elsewhere(proxy: str) -> None:
    """It reads what goes over http, also what is for this machine."""
    found = endpoint(base_urls=("http://127.0.0.1:1/v1",))
    with pytest.raises(BadConfiguration, match="the key would go unencrypted to"):
        sent(found, "k", allow_http=False, proxy=proxy)
    assert sent(found, "k", allow_http=True, proxy=proxy) != ()
    assert sent(found, None, allow_http=False, proxy=proxy) == found.headers
    assert sent(found, "k", allow_http=False, proxy="http://localhost:3128") != ()
    secure = endpoint(base_urls=("https://b.example/v1",))
    assert sent(secure, "k", allow_http=False, proxy=proxy) != ()


@pytest.mark.parametrize("line", ["x-goog-api-key: x", "X-Auth-Token: x", "Cookie: a=b"])
def test_no_other_secret_header_goes_over_plain_http(line: str) -> None:
    found = endpoint(base_urls=("http://b.example/v1",), headers=(line,))
    with refused(
        BadConfiguration, what=f"the header '{line.partition(':')[0]}' would go unencrypted to 'b.example'"
    ):
        sent(found, None, allow_http=False)
    assert sent(found, None, allow_http=True) == found.headers


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.8.9.10", "[::1]"]
)
def test_key_goes_over_plain_http_to_this_machine(host: str) -> None:
    found = endpoint(base_urls=(f"http://{host}:8080/v1",))
    assert sent(found, "k", allow_http=False) == (("Authorization", "Bearer k"), *OURS)


@pytest.mark.parametrize("headers", [(), ("Authorization: x",)], ids=["key", "header"])
def test_echo_takes_a_key_and_sends_it_nowhere(headers: tuple[str, ...]) -> None:
    """A script that names its key, run with -p echo: nothing leaves, so nothing can leak."""
    sent(endpoint(profile="echo", headers=headers), "k", allow_http=False)


# The sequence


def test_key_and_every_secret_header_are_hidden_from_now_on() -> None:
    options = ServerOptions(base_urls=("https://b.example/v1",), headers=("X-Api-Token: t0ken-1-long",))
    environ = {"OPENAI_API_KEY": "k3y-12345", "OPENAI_BASE_URL": "https://b.example"}
    server, *_ = open_servers(resolve_endpoints(options, environ)[:1], options, environ)
    assert server.headers[0] == server.key_header == ("Authorization", "Bearer k3y-12345")
    assert secrets.hide("k3y-12345 t0ken-1-long") == "*** ***"


def test_a_text_that_stands_for_the_key_is_not_hidden() -> None:
    server = with_key(endpoint(), ServerOptions(), {}, key_of("$OPENAI_API_KEY"))
    assert server.key_header == ("Authorization", "Bearer $OPENAI_API_KEY")
    assert secrets.hide("$OPENAI_API_KEY") == "$OPENAI_API_KEY"


def test_server_that_is_sent_nothing_needs_no_key_but_refuses_an_unusable_one() -> None:
    assert open_servers([endpoint()], ServerOptions(), {}, sends=False)[0].headers == ()
    with pytest.raises(NoAccess):
        open_servers([endpoint()], ServerOptions(), {"OPENAI_API_KEY": "a b"}, sends=False)


def test_proxy_of_the_environment_is_the_server_s() -> None:
    options = ServerOptions(base_urls=("https://b.example/v1",))
    server, *_ = open_servers(
        resolve_endpoints(options, {})[:1], options, {"https_proxy": "proxy.example:3128"}
    )
    assert server.proxy == "http://proxy.example:3128"


def test_server_in_process_has_neither_key_nor_proxy() -> None:
    options = ServerOptions("echo", proxy="http://proxy.example")
    server, *_ = open_servers(resolve_endpoints(options, {})[:1], options, {"OPENAI_API_KEY": "k"})
    assert (server.headers, server.key_header, server.proxy) == (OURS, None, None)


def test_server_survives_pickling() -> None:
    options = ServerOptions(base_urls=("https://b.example/v1?v=1",), limits=ExchangeLimits(1.0, 2.0, 3.0))
    server, *_ = open_servers(resolve_endpoints(options, {})[:1], options, {"OPENAI_API_KEY": "k3y-12345"})
    copy = pickle.loads(pickle.dumps(server))
    assert copy == server
    assert copy.completions_url() == "https://b.example/v1/chat/completions?v=1"
    assert (copy.origin, copy.limits) == ("https://b.example", ExchangeLimits(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://B.example:443/v1", "https://b.example"),
        ("http://b.example:8080/v1?v=1", "http://b.example:8080"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
    ],
)
def test_origin_is_scheme_host_and_port(base_url: str, origin: str) -> None:
    assert with_key(endpoint(base_urls=(base_url,)), ServerOptions(), {}, None).origin == origin
