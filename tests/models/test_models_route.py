"""The URL of the list of models: below the base URL, beside deployments, or where the profile says."""

from __future__ import annotations

import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.models.models_route import model_url, models_endpoint, page_url
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.headers import OWN_HEADERS
from chatpipe.server.keys import ENVIRONMENT
from chatpipe.server.profiles import Profile
from support.parametrize import cases

KEY = KeySource(ENVIRONMENT, "KEY")
ENVIRON = {"HOST": "dbx.example", "BARE": "https://api.example/"}


@cases(
    "base_url, route, url",
    {
        "below": ("https://a.example/v1", "/models", "https://a.example/v1/models"),
        "with its query": ("https://a.example/v1?v=1", "/models", "https://a.example/v1/models?v=1"),
        "beside deployments": (
            "https://a.example/openai/deployments/{model}?api-version=1",
            "/models",
            "https://a.example/openai/models?api-version=1",
        ),
        "URL": ("https://a.example/inference", "https://a.example/catalog", "https://a.example/catalog"),
        "URL with both queries": (
            "https://a.example/x?v=1",
            "https://a.example/c?all=1",
            "https://a.example/c?all=1&v=1",
        ),
        "URL of a variable": (
            "https://dbx.example/serving-endpoints",
            "https://{HOST}/api/2.0/serving-endpoints",
            "https://dbx.example/api/2.0/serving-endpoints",
        ),
        "variable first": ("https://api.example/v1", "{BARE}/list", "https://api.example/list"),
        "variable that is not set": ("https://a.example/v1", "{NONE}/list", "https://a.example/v1/models"),
    },
)
def test_the_list_is_asked_for_below_the_base_url(base_url: str, route: str, url: str) -> None:
    (endpoint,) = resolve_endpoints(
        ServerOptions(base_urls=(base_url,), headers=("X-A: b",), keys=(KEY,)), {}
    )
    endpoint = endpoint._replace(profile=Profile("p", models_path=route))
    asked = models_endpoint(endpoint, ENVIRON)
    assert asked.base_url == url
    assert (asked.headers, asked.keys) == (endpoint.headers, endpoint.keys)
    assert asked.server_url == base_url


def test_list_at_another_server_gets_no_key() -> None:
    options = ServerOptions(base_urls=("https://a.example/v1",), headers=("X-A: b",), keys=(KEY,))
    (endpoint,) = resolve_endpoints(options, {})
    profile = Profile("p", models_path="https://b.example/models", needs_key=True)
    asked = models_endpoint(endpoint._replace(profile=profile, needs_key=True), {})
    assert asked.base_url == "https://b.example/models"
    assert (asked.headers, asked.keys, asked.needs_key) == (OWN_HEADERS, (), False)


@pytest.mark.parametrize("route", ["", None])
def test_no_list(route: str | None) -> None:
    (endpoint,) = resolve_endpoints(ServerOptions(base_urls=("https://a.example/v1",)), {})
    with pytest.raises(BadConfiguration, match="profile 'p' has no list of models"):
        models_endpoint(endpoint._replace(profile=Profile("p", models_path=route)), {})


def test_list_of_a_profile_belongs_to_its_server() -> None:
    """Another server beside -p has its own list, below its base URL."""
    environ = {"AZURE_OPENAI_ENDPOINT": "https://me.azure.example", "AZURE_OPENAI_API_KEY": "k" * 20}
    (endpoint,) = resolve_endpoints(
        ServerOptions(profile="azure", base_urls=("https://gateway.example/v1",)), environ
    )
    assert models_endpoint(endpoint, environ).base_url == "https://gateway.example/v1/models"


def test_one_model_and_the_next_page() -> None:
    assert (
        model_url("https://a/v1/models?v=1", "o/m:free é") == "https://a/v1/models/o%2Fm%3Afree%20%C3%A9?v=1"
    )
    assert page_url("https://a/v1/models", "x&y") == "https://a/v1/models?after_id=x%26y"
    assert page_url("https://a/v1/models?v=1", "x") == "https://a/v1/models?v=1&after_id=x"
