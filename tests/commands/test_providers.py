"""One line a command, by `-p NAME` alone, against providers as they are on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.parametrize import cases
from support.process import Done, run
from support.servers.provider_servers import (
    LISTED,
    PROVIDERS,
    Azure,
    AzureDeployment,
    Gemini,
    Groq,
    LlamaCpp,
    Mistral,
    Ollama,
    OpenRouter,
    Place,
    Provider,
    providers,
)

EACH = pytest.mark.parametrize("kind", PROVIDERS, ids=lambda kind: kind.__name__)
# Parameters under the names of OpenAI. Some providers have others.
PARAMETERS = (
    "--developer",
    "Be kind.",
    "--max-completion-tokens",
    "50",
    "--seed",
    "7",
    "--temperature",
    "0.5",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with providers(tmp_path_factory.mktemp("providers")) as found:
        yield found


def call(place: Place, provider: Provider, command: str, *arguments: str, stdin: bytes | None = None) -> Done:
    named = () if command == "models" else ("-m", provider.model)
    action = ("check",) if command == "config" else ()
    env = place.put(provider)
    return run(command, *action, "-p", provider.profile, *named, *arguments, stdin=stdin, env=env)


@EACH
@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_ask_answers_at_each_provider(place: Place, kind: type[Provider], stream: str) -> None:
    done = call(place, kind(), "ask", stream, "-q", "--usage", *PARAMETERS, "Hello")
    assert (done.status, done.stdout) == (0, f"{kind.says}\n".encode())
    assert json.loads(done.stderr)["total_tokens"] == 7


@EACH
def test_batch_answers_at_each_provider(place: Place, kind: type[Provider]) -> None:
    options = ("--lines", "-f", "string", "-q", *PARAMETERS)
    done = call(place, kind(), "batch", *options, stdin=b"Hello\nGood day\nHi\n")
    assert done == (0, f'"{kind.says}"\n'.encode() * 3, b"")


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: kind.__name__)
def test_lists_of_other_shapes(place: Place, kind: type[Provider]) -> None:
    assert call(place, kind(), "models") == (0, f"{kind.model}\n".encode(), b"")


@EACH
def test_models_lists_those_of_each_provider(place: Place, kind: type[Provider]) -> None:
    done = call(place, kind(), "models")
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.decode().strip().removeprefix("models/") in (kind.model, "gpt-4o-2024-08-06")


@EACH
def test_settings_are_good(place: Place, kind: type[Provider]) -> None:
    """Also where the list of models has no deployments, or has them under longer names."""
    done = call(place, kind(), "config", "--call")
    assert (done.status, done.stderr) == (0, b"")
    assert f"model: {kind.model}: answered" in done.stdout.decode()


@pytest.mark.parametrize(
    "kind", [each for each in PROVIDERS if each.key_header], ids=lambda kind: kind.__name__
)
def test_wrong_key(place: Place, kind: type[Provider]) -> None:
    assert kind.key_header is not None
    provider = kind()
    provider.key_header = (kind.key_header[0], "another")  # type: ignore[misc]
    for command in (("ask", "-q", "Hello"), ("models",)):
        done = call(place, provider, *command)
        assert (done.status, done.stdout) == (77, b"")
        assert done.stderr.count(b"\n") == 1
        assert b"check the key" in done.stderr
    assert len(provider.requests) == 2


# The end of "filter", of "broken" with --no-stream and with --stream: status, and words of the message.
_FILTERED = (65, "change the prompt: a filter of the provider held it back")
_OVERLOADED = "the server is overloaded or starting, try later"
_CUT_OFF = "raise --max-completion-tokens or --max-tokens"
ENDS: dict[type[Provider], tuple[tuple[int, str], tuple[int, str], tuple[int, str]]] = {
    Azure: (_FILTERED, (4, "finish_reason 'content_filter'"), (4, "finish_reason 'content_filter'")),
    AzureDeployment: (_FILTERED, (4, "content_filter"), (4, "content_filter")),
    OpenRouter: (
        (65, f"Your input was flagged (violence): {_FILTERED[1]}"),
        (69, "Provider returned error: upstream failed: try later"),
        (69, "Provider disconnected: try later"),
    ),
    Groq: (
        (76, "Failed to call a function. Please adjust your prompt: try again"),
        (69, _OVERLOADED),
        (76, "over capacity: try again"),
    ),
    Mistral: (
        (3, "(finish_reason 'model_length'): shorten the messages"),
        (69, "502 Bad Gateway: try later"),
        (69, f"Service unavailable: {_OVERLOADED}"),
    ),
    Gemini: ((4, "content_filter: PROHIBITED_CONTENT"), (69, _OVERLOADED), (69, _OVERLOADED)),
    Ollama: ((3, _CUT_OFF), (69, "2: free memory of the server"), (76, "unexpectedly stopped: try again")),
    LlamaCpp: ((65, "shorten the messages"), (69, "try later"), (76, "failed to decode: try again")),
}
STREAMS = {"filter": "--stream", "broken": "--no-stream", "broken stream": "--stream"}


@EACH
@pytest.mark.parametrize("case", STREAMS)
def test_each_way_an_answer_ends_has_its_status(place: Place, kind: type[Provider], case: str) -> None:
    status, words = ENDS[kind][list(STREAMS).index(case)]
    options = (STREAMS[case], "-q", "--retries", "0", "--max-completion-tokens", "50")
    done = call(place, kind(), "ask", *options, case.partition(" ")[0])
    assert (done.status, done.stderr.count(b"\n")) == (status, 1)
    assert words in done.stderr.decode()


@pytest.mark.parametrize(
    "kind", [each for each in PROVIDERS if each.wait_s < 1], ids=lambda kind: kind.__name__
)
def test_busy_provider_is_asked_again_when_it_says(place: Place, kind: type[Provider]) -> None:
    provider = kind()
    assert call(place, provider, "ask", "-q", "busy") == (0, f"{kind.says}\n".encode(), b"")
    first, second = provider.requests
    assert second.at - first.at >= kind.wait_s - 0.01


@EACH
def test_run_waits_as_long_as_a_busy_provider_says(place: Place, kind: type[Provider]) -> None:
    """A run learns the pause from the headers and bodies of each."""
    provider = kind()
    done = call(place, provider, "batch", "--lines", "-q", "-j", "1", "-f", "string", stdin=b"busy\nHello\n")
    assert done == (0, f'"{kind.says}"\n'.encode() * 2, b"")
    first, second, *_ = provider.requests
    assert second.at - first.at >= kind.wait_s - 0.01


SCHEMA = '{"enum":["glad"]}'


@pytest.mark.parametrize("arguments", [(), ("--stream", "--usage"), ("--raw",)], ids=" ".join)
def test_groq_has_no_stream_of_an_answer_to_a_schema(place: Place, arguments: tuple[str, ...]) -> None:
    done = call(place, Groq(), "ask", "-q", *arguments, "--schema-json", SCHEMA, "Hello")
    assert (done.status, b"does not fit the schema" in done.stderr) == (5, True)


@cases(
    "kind, arguments, status, words",
    {
        "Mistral, unknown field": (
            Mistral,
            ("--set", "foo=1"),
            65,
            "body.foo: Extra inputs are not permitted",
        ),
        "Mistral, logit_bias": (Mistral, ("--set", "logit_bias.7:=1"), 65, "body.logit_bias"),
        "Azure, unknown field": (Azure, ("--set", "foo=1"), 65, "argument supplied: foo"),
        "Groq, several choices": (Groq, ("-n", "2"), 65, "number must be at most 1"),
        "Groq, logprobs": (Groq, ("--logprobs",), 65, "property 'logprobs' is unsupported"),
        "Gemini, unknown field": (Gemini, ("--set", "foo=1"), 65, 'Unknown name "foo"'),
        "Azure, no deployment": (Azure, ("-m", "nope"), 65, "The API deployment for this resource does not"),
        "Mistral, no model": (Mistral, ("-m", "nope"), 65, "Invalid model: nope"),
        "Gemini, no model": (Gemini, ("-m", "nope"), 65, "is the model one that the server offers?"),
        "Ollama, no model": (Ollama, ("-m", "nope"), 65, "try pulling it first"),
    },
)
def test_refused(
    place: Place, kind: type[Provider], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """What changes the meaning is sent, and the provider says that it has it not."""
    done = call(place, kind(), "ask", "-q", *arguments, "Hello")
    assert (done.status, done.stdout, done.stderr.count(b"\n")) == (status, b"", 1)
    assert words in done.stderr.decode()


def test_own_server_needs_no_key(place: Place) -> None:
    """llama.cpp without --api-key."""
    provider = LlamaCpp()
    provider.key_header, provider.environ = None, {}  # type: ignore[misc]
    assert call(place, provider, "ask", "-q", "Hello").status == 0
