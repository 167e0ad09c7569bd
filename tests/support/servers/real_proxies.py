"""Proxies that this project did not write."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.patience import until
from support.process import Process
from support.programs import program
from support.servers.loopback import closed_port


@contextlib.contextmanager
def tinyproxy(folder: Path) -> Iterator[str]:
    """Its URL, with the name and the password that it asks for. It takes 10 connections at a time."""
    port = closed_port()
    settings = folder / "tinyproxy.conf"
    settings.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 20\nMaxClients 10\nAllow 127.0.0.1\nLogLevel Connect\n"
        f'LogFile "{folder / "tinyproxy.log"}"\nBasicAuth user pass\n'
    )
    command = [program("tinyproxy"), "-d", "-c", str(settings)]
    with Process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        _wait_for(port)
        yield f"http://user:pass@127.0.0.1:{port}"


@contextlib.contextmanager
def microsocks() -> Iterator[str]:
    """The URL of a SOCKS5 proxy, with the name and the password that it asks for."""
    port = closed_port()
    command = [program("microsocks"), "-i", "127.0.0.1", "-p", str(port), "-u", "user", "-P", "pass"]
    with Process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        _wait_for(port)
        yield f"socks5://user:pass@127.0.0.1:{port}"


def _wait_for(port: int) -> None:
    """Until somebody listens there."""

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True

    until(listens)
