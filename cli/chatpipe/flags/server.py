"""Connection options: the server, its key, proxy and certificates, and time limits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import Decorator, option_group, under
from chatpipe.flags.types import FILE, Integer, Seconds, Size, Word
from chatpipe.options.server import ExchangeLimits, KeySource, ServerOptions
from chatpipe.server.keys import KEY_WAYS

option = under("Connection")

_LIMITS = ExchangeLimits()


def _refuse_key(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Refuse an option that would take the key itself: everybody on the machine can read argv."""
    if value is not None:
        raise click.UsageError(key_refusal())


def key_refusal() -> str:
    """The words for a key on the command line, with the ways to give one."""
    ways = ", ".join(f"{way.option} {way.metavar}" for way in KEY_WAYS)
    return f"a key on the command line can be read by everyone: use {ways} or OPENAI_API_KEY"


class _Descriptor(Integer):
    """The number of a descriptor, as text. Errors omit the value, because it may be the key itself."""

    name = "descriptor"

    def parse(self, text: str) -> Any:
        if not text.isdecimal():
            raise ValueError("a descriptor is a number, 0 or above")
        return str(int(text))


class _ProfileName(Word):
    """The name of a profile. Completion offers the user's and the built-in ones."""

    name = "profile"

    def known(self, ctx: click.Context) -> Iterable[str]:
        from chatpipe.server.config import offered_profiles

        return offered_profiles(os.environ)


class KeyVariable(Word):
    """The name of a variable that holds a key. Completion offers names, never values."""

    name = "variable"

    def known(self, ctx: click.Context) -> Iterable[str]:
        return sorted(name for name in os.environ if name.endswith(("KEY", "TOKEN")))


def _refuse_stdin(option: str, name: str | None, *, fix: str) -> None:
    if name == "-":
        raise UsageFault("stdin is read for the prompt or the input", place=option, fix=fix)


def _refuse_key_as_source(source: KeySource) -> None:
    """Raise for a key in the place of the file, command or variable that has it. The key is not shown."""
    from chatpipe.server.stray_keys import is_key  # --help imports this module, too

    if is_key(source.value, os.environ):
        raise UsageFault(key_refusal(), place=source.way.option)


def _read(
    *,
    base_url: tuple[str, ...],
    header: tuple[str, ...],
    timeout: float,
    connect_timeout: float,
    deadline: float | None,
    max_reply: int,
    **others: Any,
) -> ServerOptions:
    """The record. others are the values of the other options by name, those of keys.KEY_WAYS included."""
    values = [(way, others.pop(way.parameter)) for way in KEY_WAYS]
    sources = tuple(KeySource(way, value) for way, value in values if value is not None)
    for source in sources:
        _refuse_key_as_source(source)
        _refuse_stdin(source.way.option, source.file, fix="use --key-fd 0")
    _refuse_stdin("--header-file", others["header_file"], fix="name a file")
    return ServerOptions(
        base_urls=base_url,
        headers=header,
        keys=sources,
        limits=ExchangeLimits(connect_timeout, timeout, deadline, max_reply),
        **others,
    )


# Click's types of the values that name these; any other value is text.
_KEY_TYPES = {"file": FILE, "descriptor": _Descriptor(), "variable": KeyVariable()}

_OTHERS = (
    option(
        "--header",
        "-H",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Add a header to each request, or remove one with an empty value",
    ),
    option("--header-file", type=FILE, help="Add the headers in FILE, one per line"),
    *(
        option(way.option, metavar=way.metavar, type=_KEY_TYPES.get(way.names), help=way.help)
        for way in KEY_WAYS
    ),
    option("--key", "--api-key", expose_value=False, hidden=True, callback=_refuse_key),
    option("--allow-http", is_flag=True, help="Allow a key to be sent over plain http to another machine"),
    option(
        "--proxy",
        metavar="URL",
        variables=("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
        may_be_empty=True,  # no proxy, as with an empty variable
        help="Proxy for all connections",
    ),
    option(
        "--cacert",
        metavar="PATH",
        type=FILE,
        variables=("SSL_CERT_FILE",),
        help="File or folder of certificates to trust",
    ),
    option("--client-cert", type=FILE, help="Client certificate to present to the server"),
    option("--client-key", type=FILE, help="Private key of the client certificate"),
    option("--insecure", is_flag=True, help="Do not verify the certificate of the server"),
    option(
        "--timeout",
        type=Seconds(),
        default=_LIMITS.between_bytes_s,
        help="Fail if the server sends nothing for S seconds",
    ),
    option(
        "--connect-timeout",
        type=Seconds(),
        default=_LIMITS.connect_s,
        help="Fail if a connection takes longer than S seconds",
    ),
    option("--deadline", type=Seconds(), help="Fail after S seconds in total, retries and pauses included"),
    option(
        "--max-reply",
        type=Size(),
        default=_LIMITS.max_reply_bytes,
        default_text="64MB",
        help="Cut off a reply that is longer than SIZE",
    ),
)


def _options(profile: str, base_url: str) -> Decorator:
    """The group of options. profile and base_url are the texts of these two."""
    server = (
        option(
            "--profile",
            "-p",
            metavar="NAME",
            type=_ProfileName(),
            daily=True,
            variables=("CHATPIPE_PROFILE",),
            help=profile,
        ),
        option(
            "--base-url",
            multiple=True,
            metavar="URL",
            daily=True,
            variables=("CHATPIPE_BASE_URL", "OPENAI_BASE_URL"),
            help=base_url,
        ),
    )
    return option_group("server", (*server, *_OTHERS), _read)


options = _options(
    "Provider, such as groq; echo needs no network", "Server URL; repeat the option for several"
)
job_options = _options("Provider with a Batch API, such as groq", "Server URL")
