"""The endpoint of completions -> the endpoint of the list of models."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from chatpipe.errors import BadConfiguration
from chatpipe.server.azure import DEPLOYMENTS
from chatpipe.server.base_url import expand
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.headers import OWN_HEADERS
from chatpipe.server.hosts import is_same_server


def models_endpoint(endpoint: Endpoint, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint whose base URL has the list of models.

    A list at another server than the endpoint's, as a profile may name one, gets neither the key nor
    headers of the user. Raises BadConfiguration if the profile has no list.
    """
    route = endpoint.profile.models_path
    if not route:
        what = f"profile '{endpoint.profile.name}' has no list of models"
        raise BadConfiguration(what, fix="name a model with -m: see the provider's documentation")
    endpoint = endpoint._replace(server_url=endpoint.base_url)
    if route.startswith("/"):
        return endpoint._replace(base_url=_below(endpoint.base_url, route))
    expanded = expand(route, environ)
    if expanded is None:  # the profile's server was given otherwise
        return endpoint._replace(base_url=_below(endpoint.base_url, "/models"))
    url, base = urlsplit(expanded), urlsplit(endpoint.base_url)
    if not is_same_server(url, base):
        return endpoint._replace(
            base_url=expanded, headers=OWN_HEADERS, keys=(), needs_key=False, server_url=None
        )
    query = "&".join(filter(None, (url.query, base.query)))
    return endpoint._replace(base_url=url._replace(query=query).geturl())


def model_url(list_url: str, model: str) -> str:
    """The URL of one model. Its id is one segment of the path, whatever characters it has."""
    url = urlsplit(list_url)
    return url._replace(path=f"{url.path}/{quote(model, safe='')}").geturl()


def page_url(list_url: str, after: str) -> str:
    """The URL of the page after the model of an id. Source: Anthropic's list of models, 2026-11."""
    url = urlsplit(list_url)
    parameter = f"after_id={quote(after, safe='')}"
    return url._replace(query=f"{url.query}&{parameter}" if url.query else parameter).geturl()


def _below(base_url: str, route: str) -> str:
    base = urlsplit(base_url)
    # The list is beside the deployments of a resource of Azure, not below each of them.
    return base._replace(path=base.path.partition(DEPLOYMENTS)[0] + route).geturl()
