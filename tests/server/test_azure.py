"""Azure: the two paths of its API, from every form in which people have the address of a resource."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.models.models_route import models_endpoint
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.keys import KEY_WAYS
from chatpipe.server.server import open_servers
from support.parametrize import cases
from support.refusals import refused

ME = "https://me.openai.azure.com"
KEY, TOKEN = "k3y-12345", "eyJhbGciOi.eyJhdWQiOi.c2lnbmF0dXJl"
DATED, OLDER = "2024-10-21", "2024-06-01"
V1 = f"{ME}/openai/v1/chat/completions", f"{ME}/openai/v1/models"
FOUNDRY = "https://me.services.ai.azure.com"


def classic(server: str = ME, deployment: str = "m", version: str = DATED) -> tuple[str, str]:
    """The URLs of completions and of the list of models."""
    query = f"?api-version={version}"
    route = f"{server}/openai/deployments/{deployment}/chat/completions{query}"
    return route, f"{server}/openai/models{query}"


def v1(server: str, query: str = "") -> tuple[str, str]:
    return f"{server}/openai/v1/chat/completions{query}", f"{server}/openai/v1/models{query}"


def urls(options: ServerOptions, environ: Mapping[str, str], model: str | None = "m") -> tuple[str, str]:
    (endpoint,) = resolve_endpoints(options, environ)
    route = endpoint.url(endpoint.profile.path, model or endpoint.model)
    return route, models_endpoint(endpoint, environ).base_url


@cases(
    ("endpoint", "plain", "dated"),
    {
        "plain": (ME, V1, classic()),
        "final slash": (f"{ME}/", V1, classic()),
        "no scheme": ("me.openai.azure.com", V1, classic()),
        "white space and quotes": (f' "{ME}/"\r\n', V1, classic()),
        "half a path": (f"{ME}/openai", V1, classic()),
        "half a path and a slash": (f"{ME}/openai/", V1, classic()),
        "v1": (f"{ME}/openai/v1", V1, V1),
        "v1 and a slash": (f"{ME}/openai/v1/", V1, V1),
        "route of v1": (f"{ME}/openai/v1/chat/completions", V1, V1),
        "a version": (f"{ME}/?api-version={OLDER}", classic(version=OLDER), classic(version=OLDER)),
        "a deployment": (f"{ME}/openai/deployments/prod", V1, classic()),
        "of the portal": (
            f"{ME}/openai/deployments/prod/chat/completions?api-version={OLDER}",
            classic(version=OLDER),
            classic(version=OLDER),
        ),
        "of another API": (f"{ME}/openai/responses", V1, classic()),
        "Foundry": (f"{FOUNDRY}/", v1(FOUNDRY), classic(FOUNDRY)),
        "models of Foundry": (f"{FOUNDRY}/models", v1(FOUNDRY), classic(FOUNDRY)),
        "route of Foundry": (
            f"{FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview",
            v1(FOUNDRY),
            classic(FOUNDRY),
        ),
        "a region": (
            "https://eastus.api.cognitive.microsoft.com/",
            v1("https://eastus.api.cognitive.microsoft.com"),
            classic("https://eastus.api.cognitive.microsoft.com"),
        ),
        "a gateway": ("https://gw.example/a", v1("https://gw.example/a"), classic("https://gw.example/a")),
        "a gateway of deployments": (
            f"https://gw.example/a/openai/deployments/prod?api-version={OLDER}",
            classic("https://gw.example/a", version=OLDER),
            classic("https://gw.example/a", version=OLDER),
        ),
        "this machine": ("http://127.0.0.1:9", v1("http://127.0.0.1:9"), classic("http://127.0.0.1:9")),
    },
)
def test_endpoint_as_people_have_it(endpoint: str, plain: tuple[str, str], dated: tuple[str, str]) -> None:
    """Without a version of the API, and with one that is a date."""
    environ = {"AZURE_OPENAI_ENDPOINT": endpoint}
    assert urls(ServerOptions("azure"), environ) == plain
    assert urls(ServerOptions("azure"), {**environ, "OPENAI_API_VERSION": DATED}) == dated


@pytest.mark.parametrize("version", ["preview", "latest"])
def test_version_without_a_date_is_of_v1(version: str) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": ME, "OPENAI_API_VERSION": version}
    assert urls(ServerOptions("azure"), environ) == v1(ME, f"?api-version={version}")


@cases(
    ("base_url", "expected"),
    {
        "its resource": (ME, classic()),
        "another one": ("https://you.openai.azure.com", classic("https://you.openai.azure.com")),
        "v1": (f"{ME}/openai/v1", V1),
        "a deployment": (f"{ME}/openai/deployments/prod", classic(deployment="prod")),
        "its route": (f"{ME}/openai/deployments/prod/chat/completions", classic(deployment="prod")),
        "its version": (
            f"{ME}/openai/deployments/prod?api-version={OLDER}",
            classic(deployment="prod", version=OLDER),
        ),
        "of a gateway": (
            "https://gw.example/openai/deployments/prod",
            classic("https://gw.example", deployment="prod"),
        ),
        "another server": (
            "http://127.0.0.1:9/v1",
            ("http://127.0.0.1:9/v1/chat/completions", "http://127.0.0.1:9/v1/models"),
        ),
    },
)
@pytest.mark.parametrize("by", ["--base-url", "CHATPIPE_BASE_URL"])
def test_base_url_beside_the_profile_gets_the_version(
    by: str, base_url: str, expected: tuple[str, str]
) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": ME, "OPENAI_API_VERSION": DATED}
    if by == "--base-url":
        assert urls(ServerOptions("azure", (base_url,)), environ) == expected
    elif base_url.startswith(f"{ME}/"):
        chosen = {**environ, "CHATPIPE_PROFILE": "azure", by: base_url}
        assert urls(ServerOptions(), chosen) == expected


@pytest.mark.parametrize("endpoint", ["https://[your-resource].openai.azure.com", "http://[::1", "[", "a]b"])
def test_endpoint_that_is_no_url_is_78(endpoint: str) -> None:
    """The first is a placeholder of a page. Python refuses to parse such brackets."""
    environ = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": endpoint, "OPENAI_API_VERSION": DATED}
    with pytest.raises(BadConfiguration, match="is not an http or https URL"):
        urls(ServerOptions("azure"), environ)


@pytest.mark.parametrize("profile", ["azure", None])
def test_deployment_without_a_version_is_78(profile: str | None) -> None:
    url = f"{ME}/openai/deployments/prod"
    fix = f"append ?api-version=2024-10-21, or use '{ME}/openai/v1'"
    with refused(BadConfiguration, place="--base-url", what=f"'{url}' lacks the version of the API", fix=fix):
        resolve_endpoints(ServerOptions(profile, (url,)), {"AZURE_OPENAI_ENDPOINT": ME})


@cases(
    ("environ", "base_urls", "model"),
    {
        "a variable": ({"AZURE_OPENAI_DEPLOYMENT": "d"}, (), "d"),
        "of the endpoint": ({"AZURE_OPENAI_ENDPOINT": f"{ME}/openai/deployments/my%20gpt"}, (), "my gpt"),
        "of the base URL": ({}, (f"{ME}/openai/deployments/prod?api-version=1",), "prod"),
        "nowhere": ({}, (), None),
    },
)
def test_deployment_is_the_model(
    environ: dict[str, str], base_urls: tuple[str, ...], model: str | None
) -> None:
    given = {"AZURE_OPENAI_ENDPOINT": ME, **environ}
    (endpoint,) = resolve_endpoints(ServerOptions("azure", base_urls), given)
    assert endpoint.model == model


@cases(
    ("environ", "options", "header"),
    {
        "a key": ({"AZURE_OPENAI_API_KEY": KEY}, (), ("api-key", KEY)),
        "the other name": ({"AZURE_API_KEY": KEY}, (), ("api-key", KEY)),
        "a token wins": (
            {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_AD_TOKEN": TOKEN},
            (),
            ("Authorization", f"Bearer {TOKEN}"),
        ),
        "a token in any form": (
            {"AZURE_OPENAI_AD_TOKEN": "opaque-1"},
            (),
            ("Authorization", "Bearer opaque-1"),
        ),
        "a command prints a token": (
            {"AZURE_OPENAI_API_KEY": KEY},
            ("--key-command", f"echo {TOKEN}"),
            ("Authorization", f"Bearer {TOKEN}"),
        ),
        "a command prints a key": (
            {"AZURE_OPENAI_AD_TOKEN": TOKEN},
            ("--key-command", f"echo {KEY}"),
            ("api-key", KEY),
        ),
        "another variable": ({"MINE": TOKEN}, ("--key-env", "MINE"), ("Authorization", f"Bearer {TOKEN}")),
    },
)
@pytest.mark.parametrize("version", [None, DATED])
def test_key_and_token_each_in_its_header(
    version: str | None, environ: dict[str, str], options: tuple[str, ...], header: tuple[str, str]
) -> None:
    ways = {way.option: way for way in KEY_WAYS}
    keys = (KeySource(ways[options[0]], options[1]),) if options else ()
    given = {"AZURE_OPENAI_ENDPOINT": ME, **environ, **({"OPENAI_API_VERSION": version} if version else {})}
    server, *_ = open_servers(
        resolve_endpoints(ServerOptions("azure", keys=keys), given)[:1], ServerOptions(), given
    )
    assert server.key_header == header
    assert {name.lower() for name, _ in server.headers} & {"api-key", "authorization"} == {header[0].lower()}


def test_resource_of_another_person_gets_no_key() -> None:
    """Its version is no secret: it goes to every deployment."""
    environ = {"AZURE_OPENAI_ENDPOINT": ME, "AZURE_OPENAI_API_KEY": KEY, "OPENAI_API_VERSION": DATED}
    other = "https://you.openai.azure.com/openai/deployments/d"
    (endpoint,) = resolve_endpoints(ServerOptions("azure", (other,)), environ)
    assert urlsplit(endpoint.base_url).query == f"api-version={DATED}"
    assert not endpoint.key_names


@cases(
    ("base_url", "expected"),
    {
        "a resource": (ME, classic()),
        "half a path": (f"{ME}/openai/", classic()),
        "a deployment": (f"{ME}/openai/deployments/prod", classic(deployment="prod")),
        "v1": (f"{ME}/openai/v1", V1),
        "Foundry": (f"{FOUNDRY}/", classic(FOUNDRY)),
        "a gateway": (
            "http://127.0.0.1:9/v1",
            ("http://127.0.0.1:9/v1/chat/completions", "http://127.0.0.1:9/v1/models"),
        ),
    },
)
def test_version_of_a_users_profile(base_url: str, expected: tuple[str, str], folder: Path) -> None:
    settings = f'like = "azure"\nbase_url = "{base_url}"\napi_version = "{DATED}"\n'
    (folder / "config.toml").write_text(f"[profiles.mine]\n{settings}")
    notes: list[str] = []
    environ = {"CHATPIPE_CONFIG": "config.toml"}
    resolve_endpoints(ServerOptions("mine"), environ, note=notes.append)
    assert notes == []
    assert urls(ServerOptions("mine"), environ) == expected
