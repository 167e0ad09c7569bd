"""A run with --engine ray where Ray is not installed, and what a cluster may not be given."""

from __future__ import annotations

import pytest

from chatpipe.cluster import open_cluster
from chatpipe.cluster.stand_in_keys import with_stand_in_key
from chatpipe.cluster.terms import public_terms, write_terms
from chatpipe.errors import BadConfiguration
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.keys import KEY_WAYS, find_key
from chatpipe.server.server import Server
from support.process import run

KEY = "sk-canary-0123456789abcdef"


def test_the_extra_is_named_where_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_cluster, "find_spec", lambda name: None)
    with pytest.raises(BadConfiguration) as raised:
        open_cluster.refuse_missing_ray()
    fix = "install the extra 'ray', see EXTRAS in chatpipe(1)"
    assert str(raised.value) == f"--engine: Ray is not installed: {fix}"


ADDRESSES = {
    "head:6379": "head:6379",
    "[::1]:6379": "[::1]:6379",
    "auto": "auto",
    "local": None,
    "": None,
}


@pytest.mark.parametrize(("address", "read"), ADDRESSES.items())
def test_the_address_of_the_environment(address: str, read: str | None) -> None:
    assert open_cluster.address_in({"RAY_ADDRESS": address}) == read


@pytest.mark.parametrize("address", ["head", "http://head:8265"])
def test_an_environment_without_an_address(address: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        open_cluster.address_in({"RAY_ADDRESS": address})
    what = f"'{address}' is not the address of a cluster"
    assert str(raised.value) == f"RAY_ADDRESS: {what}: write HOST:PORT, or unset it"


NO_ADDRESSES = ["", "head", "local", "ray://head:10001", "http://head:8265", ":6379", "head:", "head:x"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_option_without_an_address(address: str) -> None:
    done = run("batch", "--lines", "--engine", f"ray:{address}")
    assert done.status == 2
    assert b"'--engine': the address of a cluster is HOST:PORT" in done.stderr


def servers(options: ServerOptions, environ: dict[str, str], *lines: str) -> list[Server]:
    endpoints = resolve_endpoints(options, environ, lines)
    return [Server(each, each.headers, None, options) for each in endpoints]


def test_terms_that_go_through_ray_have_no_secret() -> None:
    options = ServerOptions(base_urls=("https://h/v1",), header_file="/headers")
    found = servers(options, {"CHATPIPE_API_KEY": KEY}, f"X-Api-Key: {KEY}", "X-Team: a")
    terms = public_terms(found, 8, verbose=False)
    assert KEY.encode() not in write_terms(terms)
    assert terms.hidden == ("X-Api-Key",)
    assert ("X-Team", "a") in terms.servers[0].endpoint.headers


REFUSED = {
    "in a header": (ServerOptions(base_urls=("https://h/v1",), headers=(f"X-Api-Key: {KEY}",)), "X-Api-Key"),
    "in a query": (ServerOptions(base_urls=(f"https://h/v1?api_key={KEY}",)), "base URL holds a key"),
    "in a proxy": (ServerOptions(base_urls=("https://h/v1",), proxy=f"http://a:{KEY}@p:1"), "password"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_a_secret_that_no_worker_can_get_is_refused(options: ServerOptions, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words) as raised:
        public_terms(servers(options, {}), 8, verbose=False)
    assert KEY not in str(raised.value)


COMMAND = KeySource(next(way for way in KEY_WAYS if way.option == "--key-command"), "./key")


def test_a_key_by_command_has_another_stand_in_each_time() -> None:
    options = ServerOptions(base_urls=("https://h/v1", "https://i/v1"), keys=(COMMAND,))
    first, second = (with_stand_in_key(each, {}) for each in servers(options, {}))
    assert first.may_renew_key
    assert second.may_renew_key
    assert first.key is not None
    assert find_key(first.endpoint.keys, {}) != first.key
    assert first.key_header == ("Authorization", f"Bearer {first.key.text}")


def test_other_keys_have_no_stand_in() -> None:
    for environ, lines in (({"CHATPIPE_API_KEY": KEY}, ()), ({}, (f"Authorization: Bearer {KEY}",))):
        (server,) = servers(ServerOptions(base_urls=("https://h/v1",)), environ, *lines)
        assert with_stand_in_key(server, environ) is server
