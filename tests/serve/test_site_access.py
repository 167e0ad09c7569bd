"""site_access.py: which hosts and origins may use a server, and the options that add to them."""

from __future__ import annotations

import json
import socket

import pytest

from chatpipe.options.serve import ServeOptions
from chatpipe.serve.listener import close_all, listen, site_access
from chatpipe.serve.site_access import SiteAccess, parse_host, parse_origin
from serve.client import get, serving, statuses
from support.parametrize import cases
from support.process import run

ACCESS = SiteAccess(["Box.lan.", "app.lan"], [parse_origin("https://App.example"), parse_origin("null")])


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST", "localhost.", "localhost.:80", "a.b.localhost"),
        *("127.0.0.1", "127.0.0.1:8080", "127.1", "10.1.2.3:80", "[::1]", "[::1]:8080", "[fe80::1%25eth0]"),
        *("box.lan", "BOX.lan:8080", "app.lan:80", ""),
        *("chatpipe", "my_app-1:8080", "box."),
    ],
)
def test_these_hosts_are_those_of_clients(host: str) -> None:
    assert ACCESS.refusal(b"/", {b"host": host.encode()}) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "not.local", "127.0.0.1.evil"),
        *(
            "localhost@evil.example",
            "localhost:80:80",
            "localhost/",
            "localhost, evil",
            "box.lan.evil",
            "a.lan",
        ),
        *("[evil]", "évil", " ", "a" * 300, ".", ":80", "-"),
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    refusal = ACCESS.refusal(b"/", {b"host": host.encode()})
    assert refusal is not None
    assert len(refusal) < 250


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost", "http://localhost:3000", "https://127.0.0.1:5173", "http://[::1]:3000"),
        *("tauri://localhost", "http://a.localhost"),
        *("https://app.example", "https://app.example:443", "null"),
    ],
)
def test_these_origins_are_those_of_pages_that_may(origin: str) -> None:
    headers = {b"host": b"localhost", b"origin": origin.encode()}
    assert ACCESS.refusal(b"/", headers) is None
    assert ACCESS.refusal(b"/", {**headers, b"host": b"evil.example"}) is not None


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "https://evil.example",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil",
        ),
        *("http://localhost.evil", "http://localhost@evil", "http://localhost, http://evil", "http://evil/"),
        *("http://10.1.2.3", "http://h:99999", "http://[::g]", "file:///a", "localhost", "", "a" * 300),
    ],
)
def test_any_other_origin_is_refused(origin: str) -> None:
    refusal = ACCESS.refusal(b"/", {b"host": b"localhost", b"origin": origin.encode()})
    assert refusal is not None
    assert len(refusal) < 250
    assert "--allow-origin" in refusal or refusal.endswith(": send none, or one such as https://app.example")


@pytest.mark.parametrize("origin", [b"null", b"file://"])
def test_a_page_from_a_file_is_foreign_unless_it_is_allowed(origin: bytes) -> None:
    assert SiteAccess().refusal(b"/", {b"origin": origin}) is not None
    for allowed in ("null", "file://"):
        assert SiteAccess(origins=[parse_origin(allowed)]).refusal(b"/", {b"origin": origin}) is None


def test_a_client_of_a_proxy_may_name_any_host() -> None:
    assert ACCESS.refusal(b"http://evil.example/v1/models", {b"host": b"evil.example"}) is None


@pytest.mark.parametrize(
    ("sent", "option"),
    [
        (b"Host: evil.example:8080", ["--allow-host", "evil.example"]),
        (b"Host: localhost\r\nOrigin: https://evil.example", ["--allow-origin", "https://evil.example"]),
        (b"Host: localhost\r\nOrigin: null", ["--allow-origin", "null"]),
        (b"Host: localhost\r\nOrigin: file://", ["--allow-origin", "file://"]),
    ],
    ids=["host", "origin", "null", "file"],
)
def test_the_option_that_a_refusal_names_ends_it(sent: bytes, option: list[str]) -> None:
    request = get("/health").replace(b"Host: localhost", sent)
    with serving() as server:
        data = server.exchange(request)
        assert statuses(data) == [403]
        error = json.loads(data.partition(b"\r\n\r\n")[2])["error"]
        assert error["code"] == "site_not_allowed"
        assert error["message"].endswith(f": start chatpipe serve with {' '.join(option)}")
    with serving(*option) as server:
        assert statuses(server.exchange(request)) == [200]


@cases(
    ("host", "is_allowed"),
    {"every address": ("0.0.0.0", True), "loopback": ("127.0.0.1", False), "by --host": ("localhost", False)},
)
def test_a_server_at_every_address_has_the_name_of_the_machine(
    host: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.lan")
    listeners = listen(host, 0)
    access = site_access(listeners, ServeOptions(host=host, allow_hosts=("app.lan",)))
    close_all(listeners)
    assert (access.refusal(b"/", {b"host": b"box.lan:80"}) is None) is is_allowed
    assert access.refusal(b"/", {b"host": b"app.lan"}) is None


def test_the_name_of_host_is_allowed() -> None:
    access = site_access((), ServeOptions(host="app.example"))
    assert access.refusal(b"/", {b"host": b"app.example:80"}) is None


def test_a_client_of_ours_says_where_it_is_to_be_allowed() -> None:
    with serving() as server:
        done = run("ask", "-m", "m", "-H", "Host: h.example", "--base-url", server.url, "x")
    assert done.status == 78
    assert done.stderr.endswith(b"not allowed: start chatpipe serve with --allow-host h.example\n")


@cases(
    ("parse", "text"),
    {
        "a port": (parse_host, "app:8080"),
        "a URL": (parse_host, "http://app"),
        "an empty name": (parse_host, ""),
        "every host": (parse_host, "*"),
        "a host": (parse_origin, "app.example"),
        "a path": (parse_origin, "https://app.example/"),
        "every origin": (parse_origin, "*"),
        "an impossible port": (parse_origin, "https://app.example:99999"),
    },
)
def test_what_no_option_allows(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="is no"):
        parse(text)
