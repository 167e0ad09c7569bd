"""Names of servers in records and fingerprints: which of them are one, and when they stand for the model."""

from __future__ import annotations

from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.identity import comparable_name, model_scope, path_names_model, recorded_name
from support.parametrize import cases


def endpoint(base_url: str | None = None, profile: str | None = None) -> Endpoint:
    return resolve_endpoints(
        ServerOptions(profile=profile, base_urls=() if base_url is None else (base_url,)), {}
    )[0]


@cases(
    "base_url, name",
    {
        "plain": ("https://a.example/v1/", "https://a.example/v1"),
        "with the route": ("https://a.example/v1/chat/completions", "https://a.example/v1"),
        "query": ("https://a.example/d?key=s3cret", "https://a.example/d"),
    },
)
def test_a_record_names_the_base_url_without_its_query(base_url: str, name: str) -> None:
    assert recorded_name(endpoint(base_url)) == name


def test_a_record_holds_no_user_and_no_password() -> None:
    """No option gives one today, and a record would show it to everybody."""
    odd = endpoint("https://a.example/v1")._replace(base_url="https://me:s3cret@a.example/v1")
    assert recorded_name(odd) == "https://a.example/v1"


def test_the_built_in_model_has_a_name_of_its_own() -> None:
    echo = endpoint(profile="echo")
    assert (recorded_name(echo), model_scope(echo)) == ("echo", "echo")


@cases(
    "name, same",
    {
        "names of loopback": (
            "http://localhost:8000/v1",
            [
                *("http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://127.1.2.3:8000/v1"),
                *("http://LOCALHOST:8000/v1", "http://localhost.:8000/v1", "http://app.localhost:8000/v1"),
                *("http://0.0.0.0:8000/v1", "http://[::]:8000/v1", "http://[0:0:0:0:0:0:0:1]:8000/v1"),
                *("http://[::ffff:127.0.0.1]:8000/v1", "http://localhost.localdomain:8000/v1"),
            ],
        ),
        "http and https": (
            "https://a.example/v1",
            ["http://a.example/v1", "http://a.example:80/v1", "https://A.example.:443/v1/"],
        ),
        "a query": ("https://a.example/v1", ["https://a.example/v1?key=1"]),
    },
)
def test_spellings_of_one_server(name: str, same: list[str]) -> None:
    assert {comparable_name(each) for each in same} == {comparable_name(name)}


@cases(
    "names",
    {
        "host": ("https://a.example/v1", "https://b.example/v1"),
        "port": ("http://localhost:8000/v1", "http://localhost:8001/v1"),
        "path": ("https://a.example/v1", "https://a.example/v2"),
        "loopback and the net": ("http://127.0.0.1/v1", "http://10.0.0.1/v1"),
        "echo": ("echo", "http://echo.invalid/v1"),
        "broken": ("http://[", "http://a:b", ""),
    },
)
def test_different_servers(names: tuple[str, ...]) -> None:
    assert len({comparable_name(each) for each in names}) == len(names)


@cases(
    "base_url, scope",
    {
        "a name of loopback": ("http://127.0.0.1:8000/v1", "localhost:8000/v1"),
        "https": ("https://a.example/v1", "a.example/v1"),
        "a query that may choose": ("https://a.example/v1?model=a&x=", "a.example/v1?model=a&x="),
        "the version of an API": ("https://a.example/d?api-version=2024-10-21", "a.example/d"),
    },
)
def test_the_scope_of_a_request_without_a_model(base_url: str, scope: str) -> None:
    assert model_scope(endpoint(base_url)) == scope


@cases(
    "path, expected",
    {
        "plain": ("/v1", False),
        "Azure": ("/openai/deployments/gpt-4o", True),
        "Azure v1": ("/openai/v1", False),
        "Bedrock": ("/model/amazon.nova/openai/v1", True),
        "Hugging Face": ("/models/meta-llama/Llama-3.1-8B/v1", True),
        "an engine": ("/v1/engines/davinci", True),
        "a dedicated endpoint": ("/v1/projects/p/endpoints/123", True),
        "Vertex AI": ("/v1/projects/p/locations/l/endpoints/openapi", False),
        "Databricks": ("/serving-endpoints", False),
        "the word at the end": ("/v1/models", False),
    },
)
def test_a_path_names_the_model(path: str, expected: bool) -> None:
    assert path_names_model(endpoint(f"https://a.example{path}")) is expected
