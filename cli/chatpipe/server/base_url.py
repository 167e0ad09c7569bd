"""Base URLs: parsed as people write them, and expanded from the variables of a profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from chatpipe.errors import BadConfiguration
from chatpipe.server import redact
from chatpipe.server.url_forms import COMPLETIONS, repaired_url, unquoted, without_route
from chatpipe.server.variables import variable

# The placeholder in a base URL for the model of each request, as for deployments of Azure.
MODEL = "{model}"
# Patterns are compiled when they are used: few base URLs have variables.
_VARIABLES = r"\{([A-Z][A-Z0-9_]*(?:\|[A-Z][A-Z0-9_]*)*)\}"
# All that may stand in braces. A dollar before them is a habit from shells.
PLACEHOLDERS = rf"(?<!\$)(?:{_VARIABLES}|\{{model\}})"
_HOST_PART = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
_VERSION = r"v\d+"


def parse_base_url(base_url: str, place: str, note: Callable[[str], None]) -> SplitResult:
    """Parse a base URL as people write it: see url_forms.py. note gets a line if the result differs.

    Its secrets are hidden from now on. Raises BadConfiguration.
    """
    redact.hide_url(base_url.strip())
    try:
        url, advice = repaired_url(base_url)
    except BadConfiguration as fault:
        fault.place = place
        raise
    given = base_url.strip().partition("#")[0].rstrip("/")
    if not _is_same_text(given, url):
        note(f"{place}: {_taken(given, url)}" + (f"; {advice}" if advice else ""))
    return url


def _is_same_text(given: str, url: SplitResult) -> bool:
    """True if a text has a URL, which may end in the route and in slashes."""
    base, _, query = given.partition("?")
    scheme, colon, rest = base.rstrip("/").removesuffix(COMPLETIONS).partition(":")
    return (f"{scheme.lower()}{colon}{rest.rstrip('/')}", query) == (
        url._replace(query="").geturl(),
        url.query,
    )


def _taken(given: str, url: SplitResult) -> str:
    return f"'{redact.url(given)}' is taken as '{redact.url(url.geturl())}'"


def expand(template: str, environ: Mapping[str, str]) -> str | None:
    """Put variables into a template: `{NAME}`, or `{A|B}` for the first that is set. None if one is missing.

    A variable at the beginning is the URL of a server, which may lack its scheme. People also copy the
    address of a page or a call of that server: its query, and its path from the first segment that the
    template has too, are dropped. Any other variable is a part of a host name.
    Raises BadConfiguration, with the variable as place.
    """
    if missing_variables(template, environ):
        return None

    def value(match: re.Match[str]) -> str:
        name, found = _first_variable(match[1], environ)
        if not match.start():
            return _server_part(found, template[match.end() :])
        if not re.fullmatch(_HOST_PART, found):
            raise BadConfiguration("cannot be part of a host name", place=name, fix="correct it")
        return found

    return re.sub(_VARIABLES, value, template)


def server_variable(template: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that a template begins with, and its value; empty texts for what is not there."""
    match = re.match(_VARIABLES, template)
    if match is None:
        return "", ""
    name, value = _first_variable(match[1], environ)
    return name or match[1].partition("|")[0], value


def missing_variables(template: str, environ: Mapping[str, str]) -> list[str]:
    """The variables of a template that are not set, each as `A` or `A or B`."""
    names = re.findall(_VARIABLES, template)
    return [each.replace("|", " or ") for each in names if not _first_variable(each, environ)[1]]


def used_variables(template: str, environ: Mapping[str, str]) -> list[str]:
    """The variables that expand() puts into a template."""
    found = (_first_variable(each, environ)[0] for each in re.findall(_VARIABLES, template))
    return [name for name in found if name]


def _first_variable(names: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The first of `A|B` that is set, and its value; two empty texts if none is."""
    found = ((name, unquoted(variable(environ, name) or "")) for name in names.split("|"))
    return next((each for each in found if each[1]), ("", ""))


def _server_part(text: str, rest: str) -> str:
    """A URL up to its route and to what rest repeats: the path and query of a page or a call."""
    url = re.split(r"[?#]", text if "://" in text else f"https://{text}", maxsplit=1)[0]
    scheme, _, address = url.partition("://")
    host, *segments = address.rstrip("/").split("/")
    own = {each for each in rest.split("/") if each and not re.fullmatch(_VERSION, each)}
    end = next((at for at, each in enumerate(segments) if each in own), None)
    if end is None:
        whole = [each for each in segments if each]
        kept = whole[:-2] if whole[-2:] == COMPLETIONS.split("/")[1:] else whole
        return f"{scheme}://{'/'.join([host, *without_route(kept)])}"
    return f"{scheme}://{'/'.join([host, *segments[:end]])}".rstrip("/")


def host_and_port(text: str, default: str) -> str:
    """A base URL from a variable that may hold a host alone: default gives all that it lacks.

    Of `OLLAMA_HOST` it is the address of the server: one that means all interfaces becomes localhost.
    A scheme without a port means the port of that scheme. A port alone, and what is no URL, stay as they are.
    """
    if text.partition("/")[0].isdecimal():
        return text
    usual = urlsplit(default)
    has_scheme = "://" in text
    if text.count(":") > 1 and not has_scheme and "[" not in text:
        text = f"[{text}]"  # an IPv6 address
    try:
        parts = urlsplit(text if has_scheme else f"{usual.scheme}://{text}")
        host, port = parts.hostname or usual.hostname or "", parts.port
    except ValueError:
        return text
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        host = "localhost"
    port = port if has_scheme else port or usual.port
    host = f"[{host}]" if ":" in host else host
    user = "".join(parts.netloc.rpartition("@")[:2])  # which is refused, but by others
    netloc = user + (host if port is None else f"{host}:{port}")
    path = parts.path.rstrip("/") or usual.path
    return parts._replace(netloc=netloc, path=path).geturl()
