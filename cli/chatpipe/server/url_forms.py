"""Base URLs as people write and paste them -> the base URL that is meant.

    "localhost:8000"                      http://localhost:8000/v1
    https://api.groq.com                  https://api.groq.com/openai/v1, as the profile groq has it
    https://h.example/v1/models           https://h.example/v1: another route of the API
    http://localhost:11434/api/chat       http://localhost:11434/v1: the own API of Ollama
    https://h.example/chat/completions    https://h.example: a whole route is taken as it is

What could mean two things is refused, with the right form: see also url_refusals.py.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from chatpipe.errors import BadConfiguration
from chatpipe.named_tuple import NamedTuple
from chatpipe.server import azure, profile_file, redact, url_refusals
from chatpipe.server.hosts import is_private

# The route of the only requests that are sent today.
COMPLETIONS = "/chat/completions"
_ROUTE = ["chat", "completions"]
_QUOTES = {'"': '"', "'": "'", "`": "`", "<": ">", "“": "”", "‘": "’"}  # noqa: RUF001
# Patterns are compiled when they are used: most calls name no base URL.
_CONTROL = r"[\x00-\x20\x7f]"
_NETLOC = r"(?a)(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|\w[\w-]*(?:\.\w[\w-]*)*\.?)(?::\d*)?"
# `http:/h`, `https//h`, `http:h`: one slash or the colon is missing.
_TORN_SCHEME = r"(?i)(https?)(?::/?|//)(?=[^/:])"
_TWO_SCHEMES = r"(?i)https?:/*(?=https?:?//)"
_ANY_SCHEME = r"(?i)([a-z][a-z0-9+.-]*)://|([htps]{2,7})(?=:/|//)"
_VERSION = r"v\d\w*"
# A host of one label that is as long is a key or a slip. Keys of many providers begin with the other.
_LONGEST_LABEL = 20
_KEY_START = "sk-"
_HTTPS_PORTS = (443, 8443)
_OLLAMA_PORT = 11434
# The endings of names that are of the user's own network. Source: RFC 6762, RFC 8375, ICANN 2024.
_OWN_NETWORK = (".local", ".home.arpa", ".internal", ".lan")
# Routes of an API that serves Chat Completions, and of Ollama's own. Those of _SHORT may also be a part of a
# base URL: they are routes at the root and after a version.
_OTHER_ROUTES = (
    ["chat", "completion"],
    ["audio", "speech"],
    ["audio", "transcriptions"],
    ["images", "generations"],
    ["completions"],
    ["responses"],
    ["embeddings"],
)
_SHORT = ("chat", "completion", "models", "messages", "files", "batches", "moderations", "rerank")
_PAGES_OF_SERVERS = ("docs", "health", "metrics")
_OF_OLLAMA = ("chat", "generate", "tags", "embed", "embeddings", "show", "ps", "version")
# Hosts of pages for people -> the profile of the API. As of 2026-11.
_DASHBOARDS = {
    "platform.openai.com": "openai",
    "chat.openai.com": "openai",
    "chatgpt.com": "openai",
    "openai.com": "openai",
    "portal.azure.com": "azure",
    "ai.azure.com": "azure",
    "oai.azure.com": "azure",
    "console.groq.com": "groq",
    "groq.com": "groq",
    "console.mistral.ai": "mistral",
    "chat.mistral.ai": "mistral",
    "platform.deepseek.com": "deepseek",
    "chat.deepseek.com": "deepseek",
    "aistudio.google.com": "gemini",
    "gemini.google.com": "gemini",
    "fireworks.ai": "fireworks",
    "app.fireworks.ai": "fireworks",
    "console.x.ai": "xai",
    "cloud.cerebras.ai": "cerebras",
    "console.anthropic.com": "anthropic",
    "platform.claude.com": "anthropic",
    "claude.ai": "anthropic",
    "platform.moonshot.ai": "moonshot",
    "www.perplexity.ai": "perplexity",
    "huggingface.co": "huggingface",
    "github.com": "github",
}


class Repaired(NamedTuple):
    """The URL that is meant. advice is a phrase about what was added, empty if nothing else may be meant."""

    url: SplitResult
    advice: str = ""


def repaired_url(text: str) -> Repaired:
    """The URL of a text, without the route, final slashes and fragment. Raises BadConfiguration."""
    given = unquoted(text)
    url_refusals.refuse_other_text(given)
    url = _parsed(_with_scheme(given), given)
    host = (url.hostname or "").rstrip(".")
    url_refusals.refuse_no_value(host)
    if url.port is None:
        url_refusals.refuse_port_as_host(host, url.path)
    if host in _DASHBOARDS:
        raise _dashboard(host)
    segments = _without_repeats([each for each in url.path.split("/") if each])
    if azure.is_azure(host):
        return Repaired(_azure(url, segments))
    if segments[-2:] == _ROUTE:
        return Repaired(_at(url, _without_repeats(segments[:-2])))
    segments = without_route(segments, is_ollama=url.port == _OLLAMA_PORT or "ollama" in host)
    built_in = profile_file.base_url_at(host) if len(segments) < 3 and "." in host else None
    if built_in is not None:
        return Repaired(_at(_encrypted(url), _of_profile(segments, urlsplit(built_in))))
    if segments:
        return Repaired(_at(url, segments))
    root = redact.url(_at(url, _ROUTE).geturl())
    return Repaired(_at(url, ["v1"]), f"if it has no /v1, write '{root}'")


def unquoted(text: str) -> str:
    """The text without blanks, quotes or angle brackets around it."""
    text = text.strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def _with_scheme(text: str) -> str:
    """The text with http:// or https:// in front."""
    text = re.sub(_TWO_SCHEMES, "", text, count=1)
    text = re.sub(_TORN_SCHEME, r"\1://", text, count=1)
    if text.lower().startswith(("http://", "https://")):
        return text
    if match := re.match(_ANY_SCHEME, text):
        rest = redact.url(f"//{text[match.end() :].lstrip(':/')}")
        what = f"'{match[1] or match[2]}' is not a scheme of a base URL"
        raise BadConfiguration(what, fix=f"write 'https:{rest}', or http: for a server without TLS")
    text = text.lstrip("/")
    return f"{_scheme_for(text)}://{text}"


def _scheme_for(text: str) -> str:
    """The scheme of a URL that has none: https for a public name, http for what is near or has a port."""
    url = _split(f"//{text}", text)
    host = url.hostname or ""
    if "." not in host and ":" not in host:
        _refuse_word(text, host)
        return "http"
    if url.port is not None:
        return "https" if url.port in _HTTPS_PORTS else "http"
    return "http" if is_private(url) or host.endswith(_OWN_NETWORK) else "https"


def _refuse_word(text: str, host: str) -> None:
    """Raise for a word that is no host: the name of a profile, or a key."""
    if text == host and text in profile_file.built_in_names():
        raise BadConfiguration(f"'{text}' is a profile", fix=f"pass -p {text}")
    if host.startswith(_KEY_START) or len(host) > _LONGEST_LABEL:
        fix = "name a server, such as https://api.example.com/v1, and give the key by --key-file FILE"
        raise BadConfiguration("no URL", fix=fix)


def _split(text: str, given: str) -> SplitResult:
    """The parts of a URL, which faults show as given. Raises BadConfiguration for no host or a wrong port."""
    try:
        url = urlsplit(text)
        if url.hostname and url.port != 0:
            return url
    except ValueError:
        pass
    raise url_refusals.malformed(given)


def _parsed(text: str, given: str) -> SplitResult:
    """The parts of a text with a scheme, which faults show as given. Raises BadConfiguration."""
    # Check before parsing, because urlsplit silently drops tabs and line ends.
    if re.search(_CONTROL, text) or not text.isascii():
        what = "the base URL has a character that no URL has"
        raise BadConfiguration(what, fix="percent-encode it, and a host as xn--")
    url = _split(text, given)
    if url.username is not None or url.password is not None:
        what = "a base URL holds no user or password"
        raise BadConfiguration(what, fix="use --header-file or --key-file")
    if not re.fullmatch(_NETLOC, url.netloc):
        raise url_refusals.unlike_url(given)
    return url._replace(fragment="")


def _dashboard(host: str) -> BadConfiguration:
    name = _DASHBOARDS[host]
    base_url = profile_file.base_url_of(name) or ""
    fix = f"pass -p {name}" + (f", whose API is '{base_url}'" if base_url and "{" not in base_url else "")
    if base_url.startswith("{"):
        fix += f" with {base_url[1:].partition('}')[0]}, the address of your resource"
    return BadConfiguration(f"'{host}' has pages for people, not the API", fix=fix)


def _at(url: SplitResult, segments: list[str]) -> SplitResult:
    return url._replace(path="".join(f"/{each}" for each in segments))


def _without_repeats(segments: list[str]) -> list[str]:
    """The path without its end if that stands twice: /v1/v1, or a route after a route."""
    for length in range(len(segments) // 2, 0, -1):
        end = segments[-length:]
        if segments[-2 * length : -length] == end and (re.fullmatch(_VERSION, end[-1]) or end[-2:] == _ROUTE):
            return _without_repeats(segments[:-length])
    return segments


def without_route(segments: list[str], *, is_ollama: bool = False) -> list[str]:
    """The path without a route that is not COMPLETIONS. What is Ollama's own becomes /v1."""
    if segments[:1] == ["api"] and ((segments[1:] == [] and is_ollama) or _is_of_ollama(segments)):
        return ["v1"]
    for route in _OTHER_ROUTES:
        if segments[-len(route) :] == route:
            return segments[: -len(route)]
    before = segments[:-1]
    if segments and segments[-1] in _SHORT and (not before or re.fullmatch(_VERSION, before[-1])):
        return before
    return [] if len(segments) == 1 and segments[0] in _PAGES_OF_SERVERS else segments


def _is_of_ollama(segments: list[str]) -> bool:
    return len(segments) == 2 and segments[1] in _OF_OLLAMA


def _azure(url: SplitResult, segments: list[str]) -> SplitResult:
    """The URL at a resource of Azure: of a deployment or of Foundry's models as it is, else of /openai/v1."""
    path = segments
    if path[-2:] == _ROUTE:
        path = path[:-2]
    elif path != ["models"]:
        path = path[:-1] if path[-1:] == ["models"] else without_route(path)
    if path in ([], ["v1"], ["openai"], ["openai", "deployments"]):
        return azure.without_date(_at(url, ["openai", "v1"]))
    return _at(url, path)


def _encrypted(url: SplitResult) -> SplitResult:
    """The URL with https: no provider takes a key by http."""
    return url._replace(scheme="https") if url.scheme == "http" and url.port is None else url


def _of_profile(segments: list[str], base_url: SplitResult) -> list[str]:
    """The path at the host of a built-in profile: that of the profile, if it begins like the one given."""
    own = [each for each in base_url.path.split("/") if each]
    begins = own[: len(segments)] == segments or (segments == ["v1"] and bool(own))
    return own if begins and len(segments) <= len(own) else segments
