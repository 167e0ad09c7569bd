"""The two transports through a proxy, one at a time and many: same input, same messages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.exchange import run_without_loop
from chatpipe.wire import faults
from chatpipe.wire.proxy import ProxiedTransport
from chatpipe.wire.timeouts import DEADLINE_PASSED
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.refusals import refused
from support.senders import HI, AsyncSender, Sender, collect_garbage, event_loop, transport_to
from support.servers import loopback
from support.servers.loopback import Close, Pause, Proxy, Stall, chunked, closed_port, reply, serve, silent
from support.speed import at_any_speed
from wire.servers import raw_server

JOBS = 2


Through = Callable[..., Sender]


@contextlib.contextmanager
def senders(many: bool) -> Iterator[Through]:
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(event_loop()) if many else run_without_loop

        def make(
            proxy: str | None, url: str = "http://h/", environ: dict[str, str] | None = None, **options: Any
        ) -> Sender:
            transport = transport_to(url, environ, JOBS if many else None, proxy=proxy, **options)
            sender = Sender(AsyncSender(transport, host_header=True), run)
            stack.callback(sender.close)
            return sender

        yield make
    collect_garbage()


@pytest.fixture(params=["one at a time", "many"])
def through(request: pytest.FixtureRequest) -> Iterator[Through]:
    with senders(request.param == "many") as make:
        yield make


# What is sent to whom


def test_plain_http_goes_through_a_proxy_in_absolute_form(through: Through) -> None:
    with Proxy() as proxy, serve(lambda _: chunked([b"hi"])) as server:
        send = through(proxy.url.replace("//", "//user:pass@"))
        assert send(server.url) == HI
    assert [(asked.method, asked.target) for asked in proxy.asked] == [("POST", server.url)]
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert "proxy-authorization" not in server.requests[0].headers
    assert server.requests[0].headers["content-length"] == "2"
    assert server.requests[0].body == b"{}"


def test_https_goes_through_a_tunnel(through: Through) -> None:
    tls = loopback.tls_contexts()
    with Proxy() as proxy, serve(lambda _: reply(*HI), tls=tls.server) as server:
        send = through(proxy.url.replace("//", "//user:pass@"), server.url, cacert=str(tls.ca_pem))
        assert send(server.url) == HI
    assert [(asked.method, asked.target) for asked in proxy.asked] == [
        ("CONNECT", f"127.0.0.1:{server.port}")
    ]
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert "proxy-authorization" not in server.requests[0].headers


def test_the_environment_names_a_proxy(through: Through) -> None:
    with Proxy() as proxy, serve(lambda _: reply(*HI)) as server:
        send = through(None, server.url, {"http_proxy": proxy.url})
        assert send(server.url) == HI
    assert len(proxy.asked) == 1


def test_many_requests_at_once_go_through_one_proxy() -> None:
    with Proxy() as proxy, serve(lambda _: [Pause(0.02), reply(*HI)]) as server, senders(True) as make:
        assert make(proxy.url).at_once(30, server.url) == [HI] * 30


# Proxies that do not do it


def test_a_proxy_that_refuses_the_tunnel_is_a_proxy_error(through: Through) -> None:
    with Proxy(refuse=407) as proxy:
        send = through(proxy.url, "https://h.example/", insecure=True)
        with pytest.raises(httpx.ProxyError, match="407") as caught:
            send("https://h.example/v1")
    assert not faults.is_transient(caught.value)


@pytest.mark.parametrize("url", ["http://h.example/v1", "https://h.example/v1"])
def test_a_proxy_that_is_not_there_is_distinct_from_the_server(url: str, through: Through) -> None:
    send = through(f"http://127.0.0.1:{closed_port()}", url, insecure=True)
    with pytest.raises(
        httpx.ProxyError, match="the proxy itself cannot be reached: connection refused"
    ) as caught:
        send(url)
    assert faults.from_exception(caught.value, url).what == (
        f"no way to '{url}' through the proxy: the proxy itself cannot be reached: connection refused"
    )
    assert faults.is_transient(caught.value)


def test_a_proxy_name_whose_addresses_all_refuse_is_a_proxy_error(through: Through) -> None:
    send = through(f"http://localhost:{closed_port()}")
    with pytest.raises(httpx.ProxyError, match="the proxy itself cannot be reached: connection refused"):
        send("http://h.example/v1")


def test_an_untrusted_server_behind_a_tunnel_is_not_the_proxys_fault(through: Through) -> None:
    """However often it comes: httpcore would keep a place for each."""
    with Proxy() as proxy, serve(tls=loopback.tls_contexts().server) as server:
        send = through(proxy.url, server.url)
        for _ in range(JOBS + 1):
            with pytest.raises(httpx.ConnectError, match="certificate verify failed") as caught:
                send(server.url)
    assert faults.from_exception(caught.value, server.url).what.startswith(
        f"cannot trust '{server.url}': certificate"
    )
    assert not faults.is_transient(caught.value)


@cases(
    ("scheme", "url", "limits", "kind", "message"),
    {
        "http": ("http", "http://h/", {"read": 0.1}, httpx.ReadTimeout, r"^no byte for 0\.1 s$"),
        "tunnel": ("http", "https://h/", {"connect": 0.1}, httpx.ConnectTimeout, r"^no connection within"),
        "tunnel, read": ("http", "https://h/", {"read": 0.1}, httpx.ReadTimeout, r"^no byte for 0\.1 s$"),
        "TLS": ("https", "http://h/", {"connect": 0.1}, httpx.ConnectTimeout, r"^no connection within"),
        "SOCKS": ("socks5", "http://h/", {"connect": 0.1}, httpx.ConnectTimeout, r"^no connection within"),
        "SOCKS, https": ("socks5h", "https://h/", {"connect": 0.1}, httpx.ConnectTimeout, "^no connection"),
    },
)
def test_a_silent_proxy_is_waited_for_as_long_as_a_connection(
    scheme: str, url: str, limits: dict[str, float], kind: type[Exception], message: str, through: Through
) -> None:
    """With plain http the proxy may as well wait for the server's answer."""
    with silent() as port:
        send = through(f"{scheme}://127.0.0.1:{port}", url, insecure=True)
        with pytest.raises(kind, match=message) as caught:
            send(url, **limits)
        assert faults.is_transient(caught.value)
        with pytest.raises(httpx.TimeoutException, match=f"^{DEADLINE_PASSED}$"):
            send(url, deadline=time.monotonic() + 0.1)


@cases(
    ("scheme", "url"),
    {"tunnel": ("http", "https://h/"), "SOCKS": ("socks5", "http://h/"), "TLS": ("https", "http://h/")},
)
def test_a_silent_proxy_is_a_time_out_if_the_connection_took_all_the_time(
    scheme: str, url: str, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def late(*arguments: Any, **options: Any) -> socket.socket:
        connection = connect(*arguments, **options)
        time.sleep(0.1)
        return connection

    monkeypatch.setattr(socket, "create_connection", late)
    with silent() as port:
        send = through(f"{scheme}://127.0.0.1:{port}", url, insecure=True)
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.05 s$"):
            send(url, connect=0.05)


@cases(
    ("proxy", "url", "answer", "message", "is_transient"),
    {
        "no HTTP": ("http", "https://h/", b"SSH-2.0-x\r\n", "it does not speak HTTP", False),
        "no SOCKS": ("socks5", "http://h/", b"HTTP/1.1 400 Bad\r\n\r\n", "does not speak SOCKS 5", False),
        "odd SOCKS": ("socks5", "http://h/", b"\x05\x77", "does not speak SOCKS 5", False),
        "hangs up": ("http", "https://h/", b"", "it hung up without an answer", True),
        "SOCKS hangs up": ("socks5", "http://h/", b"", "it hung up without an answer", True),
        "SOCKS, no login": ("socks5", "http://h/", b"\x05\xff", "takes nobody without a name and", False),
        "SOCKS, login": ("socks5://u:p@", "http://h/", b"\x05\xff", "knows no names and passwords", False),
        "forbids": ("http", "https://h/", b"HTTP/1.1 403 No\r\n\r\n", "^403 No$", False),
        "busy": ("http", "https://h/", b"HTTP/1.1 503 Full\r\n\r\n", "^503 Full$", True),
    },
)
def test_a_proxy_that_opens_no_way_is_a_proxy_error(
    proxy: str, url: str, answer: bytes, message: str, is_transient: bool, through: Through
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with raw_server(talk) as there:
        host = there.removeprefix("http://").removesuffix("/v1")
        send = through(f"{proxy}{host}" if "@" in proxy else f"{proxy}://{host}", url, insecure=True)
        with pytest.raises(httpx.ProxyError, match=message) as caught:
            send(url)
    assert faults.is_transient(caught.value) is is_transient


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_reset_is_a_proxy_error(scheme: str, through: Through) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(talk) as there:
        send = through(
            f"{scheme}{there.removeprefix('http').removesuffix('/v1')}", "https://h/", insecure=True
        )
        with pytest.raises(httpx.ProxyError, match=r"^connection reset by peer$") as caught:
            send("https://h/")
    assert faults.is_transient(caught.value)


@cases(
    ("url", "target"),
    {
        "name": ("https://h.example/", b"h.example:443"),
        "port": ("https://h.example:8443/", b"h.example:8443"),
        "IPv4": ("https://127.0.0.1/", b"127.0.0.1:443"),
        "IPv6": ("https://[::1]:9/", b"[::1]:9"),
    },
)
def test_the_target_of_a_tunnel_is_a_host_and_a_port(url: str, target: bytes, through: Through) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heads.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 502 No\r\n\r\n")

    with raw_server(talk) as there:
        send = through(there.removesuffix("/v1"), url, insecure=True)
        with pytest.raises(httpx.ProxyError):
            send(url)
    assert heads[0].startswith(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (target, target))


@cases(
    ("url", "target"),
    {
        "name": ("http://h.example:81/v1", b"http://h.example:81/v1"),
        "query": ("http://h.example/v1?a=b%20c&d", b"http://h.example/v1?a=b%20c&d"),
        "no path": ("http://h.example", b"http://h.example/"),
        "IPv6": ("http://[2001:db8::1]/v1", b"http://[2001:db8::1]/v1"),
        "IPv6 with a port": ("http://[::1]:9/v1?a=b:c:d", b"http://[::1]:9/v1?a=b:c:d"),
    },
)
@pytest.mark.parametrize("headers", [None, {"Host": "other.example"}], ids=["usual", "Host of its own"])
def test_the_absolute_form_has_the_address_as_the_url_has_it(
    url: str, target: bytes, headers: dict[str, str] | None, through: Through
) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heads.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with raw_server(talk) as there:
        through(there.removesuffix("/v1"), url)(url, headers=headers)
    assert heads[0].startswith(b"POST %b HTTP/1.1\r\n" % target)


# Faults behind it


@cases(
    ("steps", "kind", "message"),
    {
        "cut": ([*chunked([b"a"], end=None), Close()], httpx.RemoteProtocolError, "without"),
        "stall": ([Stall()], httpx.ReadTimeout, r"^no byte for 0\.1 s$"),
        "stall in the body": (
            [*chunked([b"a"], end=None), Stall()],
            httpx.ReadTimeout,
            r"^no byte for 0\.1 s$",
        ),
    },
)
def test_faults_behind_a_proxy_are_those_of_the_server(
    steps: Any, kind: type[Exception], message: str, through: Through
) -> None:
    with Proxy() as proxy, serve(lambda _: steps) as server:
        send = through(proxy.url)
        with pytest.raises(kind, match=message):
            send(server.url, read=0.1 if kind is httpx.ReadTimeout else PATIENCE_S)


@cases(
    ("sent", "kind", "message"),
    {
        "before": (b"", httpx.ReadError, "lost the connection to 'http://h/': connection reset by peer"),
        "in the body": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            httpx.RemoteProtocolError,
            "broken answer from 'http://h/': connection reset by peer before the end of the reply",
        ),
    },
)
def test_a_reset_behind_a_proxy_names_the_server(
    sent: bytes, kind: type[Exception], message: str, through: Through
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        time.sleep(0.05)  # a reset overtakes what was sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(talk) as url:
        send = through(url.removesuffix("/v1"))
        with pytest.raises(kind) as caught:
            send("http://h/")
    assert faults.from_exception(caught.value, "http://h/").what == message
    assert faults.is_transient(caught.value)


def forever(_: loopback.Request) -> Iterator[loopback.Step]:
    yield from chunked([], end=None)
    while True:
        yield b"1\r\nx\r\n"
        yield Pause(0.005)


@pytest.mark.parametrize("handler", [lambda _: [Stall()], forever], ids=["stall", "a stream that never ends"])
@at_any_speed
def test_a_deadline_holds_behind_a_proxy(factor: int, handler: loopback.Handler, through: Through) -> None:
    with Proxy() as proxy, serve(handler) as server:
        send = through(proxy.url)
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE_PASSED}$"):
            send(server.url, deadline=started + 0.2 * factor)
        assert time.monotonic() - started < PATIENCE_S


@at_any_speed
def test_many_keep_a_deadline_exactly_where_each_wait_is_shorter_than_it(factor: int) -> None:
    """What httpcore knows is the longest wait only: with a byte after 0.9 s it would end after 1.9 s."""
    pause = Pause(0.9 * factor)
    steps: list[loopback.Step] = [*chunked([b"a"], end=None), pause, b"1\r\nx\r\n", Stall()]
    with Proxy() as proxy, serve(lambda _: steps) as server, senders(True) as make:
        send = make(proxy.url)
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE_PASSED}$"):
            send(server.url, deadline=started + 1.0 * factor)
        assert time.monotonic() - started < 1.8 * factor


def test_a_deadline_that_has_passed_sends_nothing(through: Through) -> None:
    with Proxy() as proxy:
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE_PASSED}$"):
            through(proxy.url)("http://h/", deadline=time.monotonic() - 1)
        assert proxy.asked == []


@at_any_speed
def test_each_request_of_many_has_its_own_deadline(factor: int) -> None:
    """One that is late is cut, and the others go on."""

    def handler(request: loopback.Request) -> loopback.Answer:
        return [Stall()] if request.target == "/late" else [Pause(0.3 * factor), reply(*HI)]

    with Proxy() as proxy, serve(handler) as server, senders(True) as make:
        send = make(proxy.url)

        async def both() -> Any:
            late = send.asynchronous(f"{server.url}/late", deadline=time.monotonic() + 0.1 * factor)
            return await asyncio.gather(late, send.asynchronous(server.url), return_exceptions=True)

        late, whole = send.run(both())
    assert (type(late), str(late)) == (httpx.ReadTimeout, DEADLINE_PASSED)
    assert whole == HI


@cases(
    ("raised", "kind", "message"),
    {
        "connect": (httpx.ConnectTimeout(""), httpx.ConnectTimeout, f"no connection within {PATIENCE_S:g} s"),
        "write": (httpx.WriteTimeout(""), httpx.WriteTimeout, f"nothing taken for {PATIENCE_S:g} s"),
        "read": (httpx.ReadTimeout("timed out"), httpx.ReadTimeout, f"no byte for {PATIENCE_S:g} s"),
        "not the system's": (httpx.ConnectError("odd"), httpx.ConnectError, "odd"),
    },
)
def test_the_messages_of_httpcore_are_replaced(
    raised: Exception, kind: type[Exception], message: str
) -> None:
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise raised

    transport = ProxiedTransport(Failing(), lambda _: contextlib.nullcontext())
    with refused(kind, message):
        Sender(AsyncSender(transport))("http://h/")


def test_a_body_is_handed_on_as_it_comes_and_closed_once_it_is_left() -> None:
    class Body(httpx.AsyncByteStream):
        closed = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        async def aclose(self) -> None:
            self.closed += 1

    class Giving(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=body)

    async def first() -> bytes:
        response = await transport.handle_async_request(httpx.Request("POST", "http://h/", content=b"{}"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        piece = await anext(aiter(response.stream))
        await response.aclose()
        return piece

    body = Body()
    transport = ProxiedTransport(Giving(), lambda _: contextlib.nullcontext())
    assert (run_without_loop(first()), body.closed) == (b"a", 1)


# Proxies that cannot be used


@pytest.mark.parametrize(
    "proxy",
    [
        *("ftp://h:1", "http://", "http://h:port", "http://h:0", "http://h:99999", "socks4://h:1", "//"),
        *("http://[::1:9", "::1", "http://a b:1", "http:h:1", "http:/h:1", "socks5://u:p@", "h/x@"),
    ],
)
def test_a_malformed_proxy_is_bad_configuration(proxy: str, through: Through) -> None:
    with refused(BadConfiguration, place="--proxy"):
        through(proxy)


@cases(
    ("proxy", "fix"),
    {
        "scheme": ("ftp://user:s3cret@h", "http://, https:// or socks5://HOST:PORT"),
        "slash": ("ftp://user:s3/cret@h", "in a password write / as %2F, ? as %3F and # as %23"),
        "hash": ("ftp://user:1#s3cret@h", "in a password write / as %2F, ? as %3F and # as %23"),
        "at": ("ftp://user:s3@cret@h", "http://, https:// or socks5://HOST:PORT"),
    },
)
def test_a_malformed_proxy_is_shown_without_its_password(proxy: str, fix: str, through: Through) -> None:
    with refused(BadConfiguration, f"http_proxy: 'ftp://h' is not the URL of a proxy: {fix}"):
        through(None, environ={"http_proxy": proxy})


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_socks_without_its_package_says_what_to_install(
    scheme: str, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    with pytest.raises(BadConfiguration, match="SOCKS") as caught:
        through(f"{scheme}://127.0.0.1:1080")
    assert caught.value.fix == "install the extra 'socks', see EXTRAS in chatpipe(1)"
