"""The addresses of --host at which a server listens, and its URL."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

import pytest

from chatpipe.errors import ChatpipeError, Status
from chatpipe.serve import listener
from serve.client import serving
from support.parametrize import cases
from support.process import run

SIX, FOUR = (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")
NO_ADDRESS = {"::1": errno.EADDRNOTAVAIL}


class Bound:
    """A socket that is bound in the test only."""

    def __init__(self, host: str, closed: list[str]) -> None:
        self._host = host
        self._closed = closed

    def getsockname(self) -> tuple[str, int]:
        return self._host, 80

    def close(self) -> None:
        self._closed.append(self._host)


def listened_at(
    monkeypatch: pytest.MonkeyPatch,
    found: list[tuple[int, str]],
    errors: Mapping[str, int],
    port: int,
    closed: list[str],
) -> list[str]:
    """The hosts at which a server listens whose --host has these addresses."""

    def listen_at(family: int, address: tuple[str, int]) -> Bound:
        if number := errors.get(address[0]):
            raise OSError(number, os.strerror(number))
        return Bound(address[0], closed)

    # The same address comes twice if a file of hosts has it twice.
    places = [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host in found * 2]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_names: places)
    monkeypatch.setattr(listener, "_listen_at", listen_at)
    return [each.getsockname()[0] for each in listener.listen("localhost", port)]


@cases(
    ("found", "errors", "port", "hosts"),
    {
        "both": ([SIX, FOUR], {}, 80, ["127.0.0.1", "::1"]),
        "any port": ([SIX, FOUR], {}, 0, ["127.0.0.1"]),
        "IPv6 alone": ([SIX], {}, 0, ["::1"]),
        "no IPv6 here": ([SIX, FOUR], NO_ADDRESS, 80, ["127.0.0.1"]),
        "no IPv4 here": ([SIX, FOUR], {"127.0.0.1": errno.EAFNOSUPPORT}, 0, ["::1"]),
    },
)
def test_a_name_is_listened_at_by_all_of_its_addresses(
    found: list[tuple[int, str]],
    errors: Mapping[str, int],
    port: int,
    hosts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert listened_at(monkeypatch, found, errors, port, []) == hosts


@cases(
    ("found", "errors", "status", "closed"),
    {
        "not here": ([SIX], NO_ADDRESS, Status.BAD_CONFIGURATION, []),
        "in use": ([SIX, FOUR], {"127.0.0.1": errno.EADDRINUSE}, Status.UNREACHABLE, []),
        "one in use": ([SIX, FOUR], {"::1": errno.EADDRINUSE}, Status.UNREACHABLE, ["127.0.0.1"]),
    },
)
def test_it_does_not_start_where_an_address_is_in_use_or_none_is_here(
    found: list[tuple[int, str]],
    errors: Mapping[str, int],
    status: Status,
    closed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    with pytest.raises(ChatpipeError) as caught:
        listened_at(monkeypatch, found, errors, 80, done)
    assert (caught.value.status, done) == (status, closed)


def test_localhost_is_a_name_that_works() -> None:
    with serving("--host", "localhost") as server:
        assert b" 200 " in server.chat()


def test_an_address_may_have_the_brackets_of_its_url() -> None:
    done = run("serve", "--host", "[2001:db8::1]")
    assert done.status == Status.BAD_CONFIGURATION
    assert done.stderr.startswith(b"chatpipe: --host: cannot listen at '2001:db8::1': ")
