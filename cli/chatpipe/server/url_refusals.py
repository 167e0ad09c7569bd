"""Texts in place of a base URL that are none -> why, and what to write.

/v1                        the host is missing: a variable in front of it is empty
35157, http://35157        a port alone
null, http://undefined/v1  a value that was not there
http://a/v1,http://b/v1    two base URLs
OPENAI_BASE_URL=http://a   a line of a .env file
unix:///run/s.sock         a socket in the file system
a:99999, ::1               no port, and an IPv6 address without brackets
"""

from __future__ import annotations

import re

from chatpipe.errors import BadConfiguration
from chatpipe.server import redact

FORMS = "write https://HOST/v1 or http://HOST:PORT/v1"
# Patterns are compiled when they are used: most calls name no base URL.
_ASSIGNMENT = r"(?as)(?:(?:export|set)\s+)?([A-Za-z_]\w*)\s*=\s*(.*)"
_SCHEME = r"(?i)https?://"
_SEPARATORS = r"[\s,;|]+"
_NEXT_URL = r"(?ai)https?:/|[\w.-]+:\d+(?:/|$)"
_SOCKET = r"(?ai)(?:https?://|http\+)?unix:(?!\d)|(?!https?:)[^?]*\.sock(?:$|[/:?])"
_PATH_ALONE = r"/(?!/)|/*(?:v\d\w*|chat/completions)(?:$|[/?])"
_PORT_ALONE = r"(?a):(\d{1,5})(?:$|(?=[/?]))"
# What jq -r, JavaScript and Python write for a value that is not there.
_NO_VALUES = ("null", "undefined", "none", "nil")
_MAX_PORT = 65535


def refuse_other_text(text: str) -> None:
    """Raise BadConfiguration for a text that names no server or more than one. It has no blanks around it."""
    if match := re.match(_ASSIGNMENT, text):
        url = match[2].strip("\"'; ")
        fix = f"pass '{redact.url(url)}'" if re.match(_SCHEME, url) and not re.search(r"\s", url) else FORMS
        raise BadConfiguration(f"'{match[1]}=' begins a line of a .env file, not a URL", fix=fix)
    pieces = [each for each in re.split(_SEPARATORS, text.partition("?")[0]) if each]
    if len(pieces) > 1 and all(re.match(_NEXT_URL, each) for each in pieces[1:]):
        raise BadConfiguration(f"{len(pieces)} base URLs in one", fix="repeat --base-url for each")
    if re.match(_SOCKET, text):
        what = f"'{shown_url(text)}' is a socket in the file system, which no request is sent to"
        raise BadConfiguration(
            what, fix="let the server listen at a port, and write http://localhost:PORT/v1"
        )
    if match := re.match(_PORT_ALONE, text):
        raise _port_alone(match[1], text[match.end() :])
    if re.match(_PATH_ALONE, text):
        fix = f"{FORMS}, and check that no variable in front of it is empty"
        raise BadConfiguration(f"'{shown_url(text)}' names no host", fix=fix)


def refuse_port_as_host(host: str, path: str) -> None:
    """Raise BadConfiguration for a URL without a port whose host is one. path is the URL's."""
    if host.isdecimal() and 0 < int(host) <= _MAX_PORT:
        raise _port_alone(host, path)


def refuse_no_value(host: str) -> None:
    """Raise BadConfiguration for a word that programs write in place of a host that they do not have."""
    if host in _NO_VALUES:
        what = f"'{host}' stands for a missing value, not for a host"
        raise BadConfiguration(what, fix="check the command or variable that it comes from")


def _port_alone(port: str, path: str) -> BadConfiguration:
    url = f"http://localhost:{port}{redact.url(path) if path.strip('/') else '/v1'}"
    return BadConfiguration(f"'{port}' is a port without a host", fix=f"write '{url}'")


def malformed(text: str) -> BadConfiguration:
    """The fault of a text that urlsplit refuses: its port, its brackets, or that it has no host."""
    words = shown_url(text)
    netloc = words.partition("://")[2] if "://" in words else words
    netloc = netloc.partition("/")[0]
    if "[" in netloc or "::" in netloc or netloc.count(":") == 7:
        fix = "write an IPv6 address in brackets: http://[::1]:8000/v1"
        return BadConfiguration(f"'{words}' is not an http or https URL", fix=fix)
    host, colon, port = netloc.partition(":")
    if host and colon:
        fix = f"a port is a number from 1 to {_MAX_PORT}"
        return BadConfiguration(f"'{port}' in '{words}' is not a port", fix=fix)
    return unlike_url(text)


def unlike_url(text: str) -> BadConfiguration:
    """The fault of any other text."""
    return BadConfiguration(f"'{shown_url(text)}' is not an http or https URL", fix=FORMS)


def shown_url(text: str) -> str:
    """The text as typed, without user, password, query and fragment."""
    has_netloc = "://" in text or text.startswith("//")
    words = redact.url(text) if has_netloc else redact.url(f"//{text}").removeprefix("//")
    # A torn scheme, or a slash in a password, hides it from urlsplit.
    return words.rpartition("@")[2]
