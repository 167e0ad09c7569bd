"""The options that say where to connect, with which key, and how long to wait."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import FILE, Integer, Seconds, Word, option_group
from chatpipe.options.server import KeySource, ServerOptions, TimeLimits
from chatpipe.server.profiles import PROFILES


def _refuse_key(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """What is in argv can be read by everybody on the machine: no option takes a key."""
    if value is not None:
        raise click.UsageError(
            "a key on the command line can be read by everyone: "
            "use --key-file FILE, --key-command CMD, --key-fd N or OPENAI_API_KEY"
        )


class _Descriptor(Integer):
    """A descriptor's number. What was given instead is not shown: it may be the key itself."""

    name = "descriptor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).isdecimal():
            return self.fail("a descriptor is a number, 0 or above.", param, ctx)
        return int(value)


def _listed_profiles() -> str:
    """The profiles as a phrase: `a, b, or c (no network)`."""
    *others, last = (f"{row.name} (no network)" if row.in_process else row.name for row in PROFILES.values())
    return ", ".join([*others, f"or {last}"])


def _refuse_empty(option: str, name: str | None) -> None:
    """An unset variable in a script must not mean what leaving the option out means."""
    if name == "":
        raise UsageFault("the name is empty", place=option, fix="name a file, or leave it out")


def _refuse_stdin(option: str, name: str | None, *, fix: str) -> None:
    if name == "-":
        raise UsageFault("stdin is read for the prompt or the input", place=option, fix=fix)


def _read(
    profile: str | None,
    base_url: str | None,
    header: tuple[str, ...],
    key_file: str | None,
    key_command: str | None,
    key_fd: int | None,
    timeout: float,
    connect_timeout: float,
    deadline: float | None,
    header_file: str | None,
    **others: Any,
) -> ServerOptions:
    _refuse_empty("--cacert", others["cacert"])
    _refuse_empty("--client-cert", others["client_cert"])
    _refuse_empty("--client-key", others["client_key"])
    _refuse_stdin("--key-file", key_file, fix="use --key-fd 0")
    _refuse_stdin("--header-file", header_file, fix="name a file")
    return ServerOptions(
        profile=profile,
        base_url=base_url,
        headers=header,
        header_file=header_file,
        key=KeySource(key_file, key_command, key_fd),
        limits=TimeLimits(connect_timeout, timeout, deadline),
        **others,
    )


options = option_group(
    "server",
    [
        click.option(
            "--profile",
            "-p",
            metavar="NAME",
            type=Word(tuple(PROFILES)),
            help=f"Provider: {_listed_profiles()}",
        ),
        click.option(
            "--base-url", metavar="URL", help="Server to ask  [env var: CHATPIPE_BASE_URL, OPENAI_BASE_URL]"
        ),
        click.option(
            "--header", "-H", multiple=True, metavar="'NAME: VALUE'", help="Header to add; empty removes one"
        ),
        click.option("--header-file", metavar="FILE", type=FILE, help="Headers to add, one a line"),
        click.option("--key-file", metavar="FILE", type=FILE, help="File with the API key"),
        click.option("--key-command", metavar="CMD", help="Command that prints the API key; no shell"),
        click.option("--key-fd", metavar="N", type=_Descriptor(), help="Descriptor to read the API key from"),
        click.option("--key", "--api-key", expose_value=False, hidden=True, callback=_refuse_key),
        click.option("--allow-http", is_flag=True, help="Send a key over plain http to another machine"),
        click.option(
            "--proxy", metavar="URL", help="Proxy  [env var: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY]"
        ),
        click.option(
            "--cacert", metavar="PATH", type=FILE, help="Certificates to trust  [env var: SSL_CERT_FILE]"
        ),
        click.option("--client-cert", metavar="FILE", type=FILE, help="Certificate to show"),
        click.option("--client-key", metavar="FILE", type=FILE, help="Key of --client-cert"),
        click.option("--insecure", is_flag=True, help="Do not check the server's certificate"),
        click.option(
            "--timeout",
            metavar="S",
            type=Seconds(),
            default=600,
            show_default=True,
            help="Wait between bytes",
        ),
        click.option(
            "--connect-timeout",
            metavar="S",
            type=Seconds(),
            default=10,
            show_default=True,
            help="Wait for a connection",
        ),
        click.option("--deadline", metavar="S", type=Seconds(), help="Limit of all tries and waits together"),
    ],
    _read,
)
