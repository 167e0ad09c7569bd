"""Refusals of proxies."""

from __future__ import annotations

from chatpipe.errors import Status
from chatpipe.wire import proxy_refusals
from support.parametrize import cases

NO_LOGIN, OFFER = b"\x05\x01\x00", b"\x05\x01\x02"
LOGIN, CONNECT = b"\x01\x01u\x01p", b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"
REST = b"\x00\x01\x00\x00\x00\x00\x00\x00"


@cases(
    ("asked", "answer", "said"),
    {
        "no login": (NO_LOGIN, b"\x05\x00", None),
        "login": (OFFER, b"\x05\x02", None),
        "login is right": (LOGIN, b"\x01\x00", None),
        "connected": (CONNECT, b"\x05\x00" + REST, None),
        "wants a login": (NO_LOGIN, b"\x05\xff", "it takes nobody without a name and a password"),
        "takes no login": (OFFER, b"\x05\xff", "it knows no names and passwords"),
        "another method": (OFFER, b"\x05\x00", "it does not speak SOCKS 5"),
        "login is wrong": (LOGIN, b"\x01\x01", "it refuses the name and the password"),
        "general": (CONNECT, b"\x05\x01" + REST, "it cannot reach the server: general failure"),
        "rules": (CONNECT, b"\x05\x02" + REST, "it forbids this connection"),
        "network": (CONNECT, b"\x05\x03" + REST, "it cannot reach the server: network unreachable"),
        "host": (CONNECT, b"\x05\x04" + REST, "it cannot reach the server: host unreachable"),
        "refused": (CONNECT, b"\x05\x05" + REST, "it cannot reach the server: connection refused"),
        "time": (CONNECT, b"\x05\x06" + REST, "it cannot reach the server: connection timed out"),
        "command": (CONNECT, b"\x05\x07" + REST, "it forbids this connection: code 7"),
        "HTTP": (NO_LOGIN, b"HTTP/1.1 400 Bad Request", "it does not speak SOCKS 5"),
        "SOCKS 4": (NO_LOGIN, b"\x00\x5b", "it does not speak SOCKS 5"),
        "one byte": (NO_LOGIN, b"\x05", "it does not speak SOCKS 5"),
    },
)
def test_a_socks_answer_that_is_no_success_has_a_reason(
    asked: bytes, answer: bytes, said: str | None
) -> None:
    assert proxy_refusals.socks_refusal(asked, answer) == said


@cases(
    ("text", "status", "is_passing"),
    {
        "password": ("407 Proxy Authentication Required", Status.NO_ACCESS, False),
        "tinyproxy's wrong password": ("401 Unauthorized", Status.NO_ACCESS, False),
        "forbidden": ("403 Forbidden", Status.UNREACHABLE, False),
        "method": ("405 Method Not Allowed", Status.UNREACHABLE, False),
        "slow": ("408 Request Timeout", Status.UNREACHABLE, True),
        "too many": ("429 Too Many Requests", Status.UNREACHABLE, True),
        "no server": ("502 Bad Gateway", Status.UNREACHABLE, True),
        "SOCKS wants a login": (proxy_refusals.WANTS_LOGIN, Status.NO_ACCESS, False),
        "SOCKS takes no login": (proxy_refusals.TAKES_NO_LOGIN, Status.NO_ACCESS, False),
        "SOCKS login is wrong": (proxy_refusals.WRONG_LOGIN, Status.NO_ACCESS, False),
        "SOCKS forbids": (proxy_refusals.FORBIDS, Status.UNREACHABLE, False),
        "SOCKS, no server": (f"{proxy_refusals.NO_SERVER}: x", Status.UNREACHABLE, True),
        "hung up": (proxy_refusals.HUNG_UP, Status.UNREACHABLE, True),
        "no proxy": (proxy_refusals.NO_HTTP, Status.UNREACHABLE, False),
    },
)
def test_a_refusal_has_a_status_and_may_pass(text: str, status: Status, is_passing: bool) -> None:
    assert proxy_refusals.fault("'http://h'", text, None).status == status
    assert proxy_refusals.is_passing(text) is is_passing


@cases(
    ("text", "place", "fix"),
    {
        "gone, by the option": ("the proxy itself", "--proxy", "check --proxy"),
        "gone, by a variable": ("the proxy itself", "all_proxy", "check all_proxy"),
        "password": ("407 x", "HTTPS_PROXY", "it wants a name and a password: HTTPS_PROXY"),
        "wrong password": ("401 x", "https_proxy", "check the name and the password in https_proxy"),
        "forbidden, by the option": ("403 x", "--proxy", "ask who runs the proxy, or leave out --proxy"),
        "forbidden, by a variable": (
            "403 x",
            "ALL_PROXY",
            "ask who runs the proxy, or name the host in NO_PROXY",
        ),
        "SOCKS wants a login": (
            proxy_refusals.WANTS_LOGIN,
            "all_proxy",
            "write socks5://NAME:PASSWORD@HOST:PORT in all_proxy",
        ),
        "SOCKS takes no login": (proxy_refusals.TAKES_NO_LOGIN, "all_proxy", "leave them out of all_proxy"),
    },
)
def test_a_remedy_names_the_place_that_names_the_proxy(text: str, place: str, fix: str) -> None:
    fault = proxy_refusals.fault("'http://h'", text, ("socks5://p:1", place))
    assert (fault.what, fault.fix) == (
        f"no way to 'http://h' through the proxy 'socks5://p:1' ({place}): {text}",
        fix,
    )
