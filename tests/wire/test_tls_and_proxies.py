"""Which transport reaches a server, by way of which proxy, and whom it trusts."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest

from chatpipe.errors import BadConfiguration, MissingInput
from chatpipe.options.server import ServerOptions
from chatpipe.server import certificates, tls
from chatpipe.server.proxies import proxy_for
from chatpipe.server.tls import tls_context
from chatpipe.wire import faults
from chatpipe.wire.sync import BlockingTransport
from support.parametrize import cases
from support.refusals import refused
from support.senders import HI, Sender, transport_to
from support.servers import loopback
from support.servers.loopback import reply, serve
from wire.servers import raw_server

Make = Callable[[httpx.AsyncBaseTransport], Sender]
P = "http://proxy:3128"

# Proxies


@cases(
    ("url", "option", "environ", "proxy"),
    {
        "nothing set": ("http://h/", None, {}, None),
        "option": ("http://h/", P, {}, P),
        "option without scheme": ("http://h/", "proxy:3128", {}, P),
        "spaces around it": ("http://h/", " http://proxy:3128 ", {}, P),
        "slashes without scheme": ("http://h/", "//proxy:3128", {}, P),
        "IPv6": ("http://h/", "[::1]:3128", {}, "http://[::1]:3128"),
        "scheme in capitals": ("http://h/", "SOCKS5H://proxy", {}, "SOCKS5H://proxy"),
        "encoded password": ("http://h/", "http://u:p%40%2F@proxy", {}, "http://u:p%40%2F@proxy"),
        "option wins": ("http://h/", P, {"http_proxy": "http://other"}, P),
        "option wins over no_proxy": ("http://h/", P, {"no_proxy": "*"}, P),
        "empty option is no proxy": ("http://h/", "", {"http_proxy": P}, None),
        "http_proxy": ("http://h/", None, {"http_proxy": P}, P),
        "HTTP_PROXY": ("http://h/", None, {"HTTP_PROXY": P}, P),
        "sourced from a file with CRLF": ("http://h/", None, {"http_proxy": P + "\r", "no_proxy": "a\r"}, P),
        "nothing in such a file": ("http://h/", None, {"http_proxy": "\r"}, None),
        "variable without scheme": ("http://h/", None, {"http_proxy": "proxy:3128"}, P),
        "http_proxy is not for https": ("https://h/", None, {"http_proxy": P}, None),
        "https_proxy": ("https://h/", None, {"https_proxy": P}, P),
        "https_proxy is not for http": ("http://h/", None, {"https_proxy": P}, None),
        "all_proxy": ("http://h/", None, {"all_proxy": P}, P),
        "ALL_PROXY": ("https://h/", None, {"ALL_PROXY": "socks5://h:1"}, "socks5://h:1"),
        "own scheme first": ("http://h/", None, {"http_proxy": P, "all_proxy": "http://other"}, P),
        "lower case wins": ("http://h/", None, {"http_proxy": P, "HTTP_PROXY": "http://other"}, P),
        "lower case wins, empty too": ("http://h/", None, {"http_proxy": "", "HTTP_PROXY": P}, None),
        "empty is not unset": ("http://h/", None, {"http_proxy": "", "all_proxy": P}, None),
        "CGI": ("http://h/", None, {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
        "CGI, lower case": ("http://h/", None, {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        "CGI, https": ("https://h/", None, {"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, P),
        "NO_PROXY": ("http://h/", None, {"http_proxy": P, "NO_PROXY": "h"}, None),
        "no_proxy wins": ("http://h/", None, {"http_proxy": P, "no_proxy": "", "NO_PROXY": "h"}, P),
    },
)
def test_the_proxy_is_that_of_the_option_or_the_environment(
    url: str, option: str | None, environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_for(url, option, environ) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "http://h.example/", True),
        ("h.example", "http://h.example/", True),
        ("h.example", "http://h.example:81/", True),
        ("H.Example", "http://h.EXAMPLE/", True),
        ("h.example", "http://h.example./", True),
        ("example", "http://h.example/", True),
        (".example", "http://h.example/", True),
        (".h.example", "http://h.example/", True),
        ("*.example", "http://h.example/", True),
        ("h.example.", "http://h.example/", True),
        ("a, h.example ,b", "http://h.example/", True),
        ("a h.example", "http://h.example/", True),
        ("h.example:80", "http://h.example/", True),
        ("h.example:443", "https://h.example/", True),
        ("h.example:81", "http://h.example:81/", True),
        ("127.0.0.1", "http://127.0.0.1:9/", True),
        ("127.0.0.1:9", "http://127.0.0.1:9/", True),
        ("127.0.0.0/8", "http://127.3.2.1/", True),
        ("::1", "http://[::1]:9/", True),
        ("[::1]", "http://[::1]:9/", True),
        ("[::1]:9", "http://[::1]:9/", True),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("xn--bcher-kva.example", "http://bücher.example/", True),
        ("", "http://h.example/", False),
        (",", "http://h.example/", False),
        (".", "http://h.example/", False),
        ("h.example:81", "http://h.example/", False),
        ("h.example:80", "https://h.example/", False),
        ("ample", "http://h.example/", False),
        ("h.example", "http://notth.example/", False),
        ("h.example", "http://h.example.org/", False),
        ("a.h.example", "http://h.example/", False),
        ("127.0.0.1", "http://127.0.0.11/", False),
        (".0.0.1", "http://127.0.0.1/", False),
        ("10.0.0.0/8", "http://127.0.0.1/", False),
        ("[::1]:8", "http://[::1]:9/", False),
        ("example", "http://127.0.0.1/", False),
        ("10.0.0.0/8", "http://h.example/", False),
    ],
)
def test_no_proxy_names_hosts_that_are_reached_directly(no_proxy: str, url: str, direct: bool) -> None:
    assert (proxy_for(url, None, {"all_proxy": P, "no_proxy": no_proxy}) is None) is direct


def test_direct_connections_are_our_own() -> None:
    assert type(transport_to("http://h/")) is BlockingTransport


# TLS


def test_cacert_is_trusted(make_sender: Make, tmp_path: Path) -> None:
    tls = loopback.tls_contexts()
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / hashed_name(tls.ca_pem)).write_bytes(tls.ca_pem.read_bytes())
    ways: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"cacert": str(tls.ca_pem)}, {}),
        ({"cacert": str(folder)}, {}),
        ({}, {"SSL_CERT_FILE": str(tls.ca_pem)}),
        ({}, {"SSL_CERT_FILE": f"{tls.ca_pem}\r"}),
        ({}, {"SSL_CERT_DIR": str(folder), "SSL_CERT_FILE": ""}),
        ({}, {"SSL_CERT_DIR": f"/nowhere:{folder}"}),
        ({"cacert": str(tls.ca_pem)}, {"SSL_CERT_FILE": "/nowhere"}),
        ({"insecure": True}, {}),
    ]
    with serve(lambda _: reply(*HI), tls=tls.server) as server:
        for options, environ in ways:
            send = make_sender(transport_to(server.url, environ, **options))
            assert send(server.url) == HI, (options, environ)


def test_an_own_authority_is_not_trusted_unless_named(make_sender: Make) -> None:
    with serve(tls=loopback.tls_contexts().server) as server:
        send = make_sender(transport_to(server.url))
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            send(server.url)


def test_insecure_also_takes_a_wrong_name(make_sender: Make) -> None:
    with serve(lambda _: reply(*HI), tls=loopback.tls_contexts().wrong_name) as server:
        send = make_sender(transport_to(server.url, insecure=True))
        assert send(server.url) == HI


def test_a_client_certificate_is_shown(make_sender: Make, tmp_path: Path) -> None:
    tls = loopback.tls_contexts()
    both = tmp_path / "both.pem"
    both.write_bytes(tls.client_cert.read_bytes() + tls.client_key.read_bytes())
    ca = str(tls.ca_pem)
    with serve(lambda _: reply(*HI), tls=tls.asks_client) as server:
        ways: tuple[dict[str, Any], ...] = (
            {"cacert": ca, "client_cert": str(tls.client_cert), "client_key": str(tls.client_key)},
            {"cacert": ca, "client_cert": str(both)},
        )
        for options in ways:
            send = make_sender(transport_to(server.url, **options))
            assert send(server.url) == HI


def test_a_missing_client_certificate_is_reported(make_sender: Make) -> None:
    """In TLS 1.3 the handshake is over for the client before the server has refused it."""
    tls = loopback.tls_contexts()

    def talk(connection: socket.socket) -> None:
        with tls.asks_client.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ) as secure:
            with pytest.raises(ssl.SSLError):
                secure.do_handshake()
            while os.read(secure.fileno(), 65536):  # else a reset overtakes the alert
                pass

    with raw_server(talk) as url:
        url = url.replace("http:", "https:")
        send = make_sender(transport_to(url, cacert=str(tls.ca_pem)))
        with pytest.raises(httpx.ReadError) as caught:
            send(url)
    assert str(faults.from_exception(caught.value, url)) == (
        f"lost the connection to '{url}': tlsv13 alert certificate required"
        ": the server wants a --client-cert that it knows"
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "text.pem").write_bytes(b"hello\n")
    (tmp_path / "folder").mkdir()
    return tmp_path


@cases(
    ("dial", "environ", "kind", "place"),
    {
        "cacert missing": ({"cacert": "none"}, {}, MissingInput, "--cacert"),
        "cacert not PEM": ({"cacert": "text.pem"}, {}, BadConfiguration, "--cacert"),
        "cacert empty": ({"cacert": "empty.pem"}, {}, BadConfiguration, "--cacert"),
        "cacert a folder without hashes": ({"cacert": "folder"}, {}, BadConfiguration, "--cacert"),
        "variable": ({}, {"SSL_CERT_FILE": "none"}, MissingInput, "SSL_CERT_FILE"),
        "variable, no folder": ({}, {"SSL_CERT_DIR": "none"}, BadConfiguration, "SSL_CERT_DIR"),
        "client cert missing": ({"client_cert": "none"}, {}, MissingInput, "--client-cert"),
        "client cert is a folder": ({"client_cert": "folder"}, {}, MissingInput, "--client-cert"),
        "client cert not PEM": ({"client_cert": "text.pem"}, {}, BadConfiguration, "--client-cert"),
        "client key missing": (
            {"client_cert": "text.pem", "client_key": "none"},
            {},
            MissingInput,
            "--client-key",
        ),
        "client key alone": ({"client_key": "text.pem"}, {}, BadConfiguration, "--client-key"),
    },
)
def test_files_that_cannot_be_used_are_reported(
    dial: dict[str, str], environ: dict[str, str], kind: type[Exception], place: str, files: Path
) -> None:
    named: dict[str, Any] = {name: str(files / value) for name, value in dial.items()}
    there = {name: str(files / value) for name, value in environ.items()}
    with refused(kind, place=place):
        transport_to("https://127.0.0.1/", there, **named)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    tls = loopback.tls_contexts()
    other = tmp_path / "other.key"
    subprocess.run(["openssl", "genrsa", "-out", str(other), "2048"], capture_output=True, check=True)
    what, fix = "the key is that of another certificate", "name the right one with --client-key"
    with refused(BadConfiguration, place="--client-key", what=what, fix=fix):
        tls_context(ServerOptions(client_cert=str(tls.client_cert), client_key=str(other)), {})


def test_a_client_certificate_without_its_key_is_refused() -> None:
    cert = str(loopback.tls_contexts().client_cert)
    fix = "name the key with --client-key"
    with refused(BadConfiguration, place="--client-cert", what=f"'{cert}' has no key", fix=fix):
        tls_context(ServerOptions(client_cert=cert), {})


def test_an_encrypted_key_is_refused_and_no_password_asked_for(tmp_path: Path) -> None:
    tls = loopback.tls_contexts()
    encrypted = tmp_path / "encrypted.key"
    names = ["-passout", "pass:x", "-in", str(tls.client_key), "-out", str(encrypted)]
    command = ["openssl", "pkey", "-aes256", *names]
    subprocess.run(command, capture_output=True, check=True)
    with pytest.raises(BadConfiguration, match="the key is encrypted"):
        tls_context(ServerOptions(client_cert=str(tls.client_cert), client_key=str(encrypted)), {})


def test_a_context_checks_names_and_speaks_http_1() -> None:
    context = tls_context(ServerOptions(), {})
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509_ca"] or certificates.has_hashed(tls.default_store()[1])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A bundle and a hashed folder in the place of the system's, both with our authority."""
    bundle, folder = tmp_path / "bundle.pem", tmp_path / "certs"
    folder.mkdir()
    bundle.write_bytes(loopback.tls_contexts().ca_pem.read_bytes())
    (folder / hashed_name(bundle)).write_bytes(bundle.read_bytes())
    monkeypatch.setattr(tls, "default_store", lambda: (str(bundle), str(folder)))
    return bundle, folder


def hashed_name(certificate: Path) -> str:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return f"{subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}.0"


@pytest.mark.parametrize("names_the_bundle", [False, True])
def test_the_system_s_folder_is_taken_for_its_bundle(
    names_the_bundle: bool, make_sender: Make, store: tuple[Path, Path]
) -> None:
    """OpenSSL reads a hashed file only at a handshake: the context has loaded nothing."""
    environ = {"SSL_CERT_FILE": str(store[0])} if names_the_bundle else {}
    assert tls_context(ServerOptions(), environ).cert_store_stats()["x509_ca"] == 0
    with serve(lambda _: reply(*HI), tls=loopback.tls_contexts().server) as server:
        send = make_sender(transport_to(server.url, environ))
        assert send(server.url) == HI


def test_a_folder_that_lacks_a_certificate_is_not_taken_for_the_bundle(
    store: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = store
    bundle.write_bytes(2 * bundle.read_bytes())
    both = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda **names: both if not names else None)
    assert tls_context(ServerOptions(), {}) is both


@pytest.mark.parametrize("files", [(), ("README",)])
def test_certifi_fills_in_where_the_system_has_no_authorities(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).touch()
    remove_store(tmp_path, monkeypatch)
    assert tls.default_path() == certifi.where()
    assert tls_context(ServerOptions(), {}).cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize("name", ["emptied.pem", "missing.pem"])
def test_a_broken_certifi_is_78_with_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "emptied.pem").touch()
    remove_store(tmp_path, monkeypatch)
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / name))
    with pytest.raises(BadConfiguration) as caught:
        tls_context(ServerOptions(), {})
    assert caught.value.what.endswith(f"the system has none, and '{tmp_path / name}' is broken or missing")
    fix = "install the package ca-certificates of the system, or name a PEM file with --cacert"
    assert caught.value.fix == fix


def remove_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the system without certificates."""
    monkeypatch.setattr(
        ssl, "create_default_context", lambda **names: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    monkeypatch.setattr(tls, "default_store", lambda: (str(folder / "none.pem"), str(folder)))


def test_the_path_that_is_shown_is_the_one_that_is_read(
    store: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, folder = store
    assert tls.default_path() == str(folder)
    bundle.write_bytes(2 * bundle.read_bytes())
    read = ssl.create_default_context(cafile=str(bundle))
    monkeypatch.setattr(ssl, "create_default_context", lambda: read)
    assert tls.default_path() == str(bundle)
    bundle.unlink()
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert tls.default_path() == str(folder)
