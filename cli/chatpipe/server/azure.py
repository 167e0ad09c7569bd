"""The URLs of Azure: two forms of one API, and what people copy from its portal.

    /openai/v1                        takes no version of the API, or one that is no date, such as preview
    /openai/deployments/NAME          needs a version, a date; NAME decides on the model
    /models                           of Foundry: needs a version, too

The query `api-version` holds the version. Source: Microsoft's pages about the versions of the API, 2026-11.
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from chatpipe.errors import BadConfiguration
from chatpipe.named_tuple import NamedTuple
from chatpipe.server import redact

# Patterns would take longer to compile than a call spends here.
_HOSTS = (
    *(".openai.azure.com", ".openai.azure.us", ".openai.azure.cn"),
    *(".cognitiveservices.azure.com", ".cognitiveservices.azure.us", ".cognitiveservices.azure.cn"),
    *(".services.ai.azure.com", ".services.ai.azure.us", ".services.ai.azure.cn"),
    *(".api.cognitive.microsoft.com", ".api.cognitive.azure.us", ".api.cognitive.azure.cn"),
)
DEPLOYMENTS = "/deployments/"


class Pasted(NamedTuple):
    """The parts of a URL after its server. is_v1: its path has the form that takes no version."""

    version: str | None = None
    deployment: str | None = None
    is_v1: bool = False


def is_azure(host: str) -> bool:
    """True for a resource of Azure under one of Microsoft's own names."""
    return host.rstrip(".").endswith(_HOSTS)


def pasted(text: str) -> Pasted:
    """The parts of a URL that a person copied. All are absent if the text is no URL."""
    try:
        url = urlsplit(text if "://" in text else f"//{text}")
    except ValueError:
        return Pasted()
    version = next(iter(parse_qs(url.query).get("api-version", ())), None)
    if url.path.startswith("/models"):  # its versions are others
        version = None
    return Pasted(version, deployment_of(url), _is_v1(url))


def _is_v1(url: SplitResult) -> bool:
    return "v1" in url.path.split("/")


def deployment_of(url: SplitResult) -> str | None:
    """The deployment that a URL names."""
    name = url.path.partition(DEPLOYMENTS)[2].partition("/")[0]
    return unquote(name) if name and "{" not in name else None


def is_dated(version: str | None) -> bool:
    """True for a version of the API that is a date: one for the path of a deployment."""
    return bool(version) and str(version)[0].isdigit()


def dated_form(text: str, version: str | None, *, is_resource: bool = False) -> str:
    """The text of a base URL. A resource without a path gets the path for a version that is a date.

    is_resource is True for a server that is known to be a resource of Azure, whatever its name.
    """
    address, mark, query = text.strip().partition("?")
    try:
        url = urlsplit(address if "://" in address else f"//{address}")
    except ValueError:  # brackets around something else than an IPv6 address: refused by parse_base_url()
        return text
    is_alone = url.path.strip("/") in ("", "openai")
    if not (is_dated(version) and is_alone and (is_resource or is_azure(url.hostname or ""))):
        return text
    return f"{address.rstrip('/').removesuffix('/openai')}/openai{DEPLOYMENTS}{{model}}{mark}{query}"


def with_version(url: SplitResult, version: str | None) -> SplitResult:
    """The URL with the version in its query, unless it has one or takes none."""
    if not version or "api-version=" in url.query or (is_dated(version) and _is_v1(url)):
        return url
    query = f"api-version={quote(version, safe='')}"
    return url._replace(query=f"{url.query}&{query}" if url.query else query)


def without_date(url: SplitResult) -> SplitResult:
    """The URL without a version that is a date."""
    return url._replace(query="&".join(each for each in url.query.split("&") if not _is_date(each)))


def _is_date(pair: str) -> bool:
    name, _, value = pair.partition("=")
    return name == "api-version" and is_dated(value)


def refuse_missing_version(url: SplitResult, place: str) -> None:
    """Raise BadConfiguration for a deployment, or a model of Foundry, without the version of the API."""
    host = url.hostname or ""
    parts = url.path.split("/")
    needs_one = is_azure(host) and ("deployments" in parts or parts[1:2] == ["models"])
    if needs_one and "api-version=" not in url.query:
        what = f"'{redact.url(url.geturl())}' lacks the version of the API"
        fix = f"append ?api-version=2024-10-21, or use 'https://{host.rstrip('.')}/openai/v1'"
        raise BadConfiguration(what, place=place, fix=fix)
