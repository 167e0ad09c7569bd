"""Every profile of the data file: one body through each, and rules that all of them keep."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import chatpipe.server
from chatpipe.errors import BadConfiguration, NoAccess
from chatpipe.inputs import values
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server import redact
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.keys import ENVIRONMENT, FoundKey, find_key
from chatpipe.server.patches import patched
from chatpipe.server.profile_file import built_in_names, profile_of, read_profile
from chatpipe.server.profiles import DEFAULT, Profile, secret_variables
from chatpipe.server.server import open_servers, with_key
from chatpipe.system import secrets
from chatpipe.wire.server_requests import completion_request
from support.parametrize import cases
from support.process import run

FILE = Path(*chatpipe.server.__path__) / "profiles.toml"
TABLES = tomllib.loads(FILE.read_text())
EACH = pytest.mark.parametrize("name", TABLES)
# Fields that change the meaning of a request: no patch drops one.
MEANING = {"tools", "tool_choice", "response_format", "n", "stop", "seed", "messages", "model"}
# Values for the variables that make the URLs of some profiles.
VARIABLES = {
    "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
    "DATABRICKS_HOST": "https://me.cloud.databricks.com",
    "AWS_REGION": "eu-west-1",
}
KEY = "k3y-12345"
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b"},
        {"role": "user", "content": "c"},
    ],
    "max_completion_tokens": 9,
    "seed": 7,
    "n": 2,
    "stop": ["z"],
    "logprobs": True,
    "top_logprobs": 3,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "required",
    "response_format": {"type": "json_object"},
    "stream": True,
    "stream_options": {"include_usage": True},
}
# Differences to BODY by field; None means that it is not sent.
LIMIT = {"max_completion_tokens": None, "max_tokens": 9}
SYSTEM = {
    "messages": [{**each, "role": each["role"].replace("developer", "system")} for each in BODY["messages"]]
}
USAGE = {"stream_options": None}


class Sent(NamedTuple):
    """All that is special about a request to a provider: its URL, the variable of its key, its body."""

    url: str
    variable: str | None = None
    differences: Mapping[str, Any] = {}
    key_header: tuple[str, str] = ("authorization", f"Bearer {KEY}")
    headers: Mapping[str, str] = {}


SENT = {
    "openai": Sent("https://api.openai.com/v1/chat/completions", "OPENAI_API_KEY"),
    "azure": Sent(
        "https://me.openai.azure.com/openai/v1/chat/completions",
        "AZURE_OPENAI_API_KEY",
        key_header=("api-key", KEY),
    ),
    "openrouter": Sent("https://openrouter.ai/api/v1/chat/completions", "OPENROUTER_API_KEY"),
    "groq": Sent("https://api.groq.com/openai/v1/chat/completions", "GROQ_API_KEY"),
    "mistral": Sent(
        "https://api.mistral.ai/v1/chat/completions",
        "MISTRAL_API_KEY",
        {**LIMIT, **SYSTEM, **USAGE, "seed": None, "random_seed": 7},
    ),
    "deepseek": Sent("https://api.deepseek.com/chat/completions", "DEEPSEEK_API_KEY", {**LIMIT, **SYSTEM}),
    "gemini": Sent(
        "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "GOOGLE_API_KEY"
    ),
    "together": Sent(
        "https://api.together.xyz/v1/chat/completions",
        "TOGETHER_API_KEY",
        {**LIMIT, "logprobs": 3, "top_logprobs": None},
    ),
    "fireworks": Sent(
        "https://api.fireworks.ai/inference/v1/chat/completions",
        "FIREWORKS_API_KEY",
        {**LIMIT, **USAGE, "tool_choice": "any"},
    ),
    "xai": Sent("https://api.x.ai/v1/chat/completions", "XAI_API_KEY", LIMIT),
    "cerebras": Sent("https://api.cerebras.ai/v1/chat/completions", "CEREBRAS_API_KEY"),
    "anthropic": Sent("https://api.anthropic.com/v1/chat/completions", "ANTHROPIC_API_KEY"),
    "moonshot": Sent("https://api.moonshot.ai/v1/chat/completions", "MOONSHOT_API_KEY", LIMIT),
    "zai": Sent("https://api.z.ai/api/paas/v4/chat/completions", "ZAI_API_KEY", {**LIMIT, **SYSTEM}),
    "dashscope": Sent(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions", "DASHSCOPE_API_KEY"
    ),
    "perplexity": Sent(
        "https://api.perplexity.ai/chat/completions", "PERPLEXITY_API_KEY", {**SYSTEM, **USAGE}
    ),
    "databricks": Sent(
        "https://me.cloud.databricks.com/serving-endpoints/chat/completions", "DATABRICKS_TOKEN", USAGE
    ),
    "bedrock": Sent(
        "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1/chat/completions",
        "AWS_BEARER_TOKEN_BEDROCK",
    ),
    "github": Sent(
        "https://models.github.ai/inference/chat/completions",
        "GITHUB_TOKEN",
        LIMIT,
        headers={"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"},
    ),
    "huggingface": Sent("https://router.huggingface.co/v1/chat/completions", "HF_TOKEN"),
    "ollama": Sent("http://localhost:11434/v1/chat/completions", None, {**LIMIT, **SYSTEM}),
    "llamacpp": Sent("http://localhost:8080/v1/chat/completions", "LLAMA_API_KEY", SYSTEM),
    "vllm": Sent("http://localhost:8000/v1/chat/completions", "VLLM_API_KEY"),
    "sglang": Sent("http://localhost:30000/v1/chat/completions"),
    "lmstudio": Sent("http://localhost:1234/v1/chat/completions", "LM_STUDIO_API_KEY", SYSTEM),
    "tgi": Sent("http://localhost:8080/v1/chat/completions", None, {**LIMIT, **SYSTEM}),
    "litellm": Sent("http://localhost:4000/v1/chat/completions", "LITELLM_PROXY_API_KEY"),
}


def profile(name: str) -> Profile:
    found = read_profile(name)
    assert found is not None
    return found


def endpoint(name: str) -> Endpoint:
    return resolve_endpoints(ServerOptions(name), VARIABLES)[0]


def key(text: str = KEY) -> FoundKey:
    return FoundKey(text, KeySource(ENVIRONMENT, "KEY"))


def test_names_are_those_of_the_file() -> None:
    assert built_in_names() == [*TABLES, "echo"]
    assert read_profile("nobody") is None


@pytest.mark.parametrize("name", sorted(TABLES.keys() | SENT.keys()))
def test_one_body_through_each(name: str) -> None:
    sent, options = SENT[name], ServerOptions(name)
    environ = {**VARIABLES, sent.variable: KEY} if sent.variable else VARIABLES
    server, *_ = open_servers(resolve_endpoints(options, environ)[:1], options, environ)
    request = completion_request(server, BODY)
    wanted = {field: value for field, value in {**BODY, **sent.differences}.items() if value is not None}
    assert str(request.url) == sent.url
    assert values.loads(request.content) == wanted
    with_a_key = [pair for pair in request.headers.items() if KEY in pair[1]]
    assert with_a_key == ([sent.key_header] if sent.variable else [])
    usual = {"host", "content-type", "content-length", "user-agent", "accept-encoding"}
    others = {each: value for each, value in request.headers.items() if each not in usual}
    assert others == {**dict(with_a_key), **sent.headers}


# profile, variables, base URL
@pytest.mark.parametrize(
    ("name", "environ", "base_url"),
    [
        ("openai", {"OPENAI_BASE_URL": "https://proxy.example/v1"}, "https://proxy.example/v1"),
        ("groq", {"GROQ_BASE_URL": "https://groq.example"}, "https://groq.example/openai/v1"),
        ("cerebras", {"CEREBRAS_BASE_URL": "https://c.example/"}, "https://c.example/v1"),
        ("mistral", {"MISTRAL_API_BASE": "https://m.example/v1/"}, "https://m.example/v1"),
        ("moonshot", {"MOONSHOT_API_BASE": "https://api.moonshot.cn/v1"}, "https://api.moonshot.cn/v1"),
        (
            "zai",
            {"ZAI_BASE_URL": "https://open.bigmodel.cn/api/paas/v4"},
            "https://open.bigmodel.cn/api/paas/v4",
        ),
        ("litellm", {"LITELLM_PROXY_API_BASE": "http://127.0.0.1:4001"}, "http://127.0.0.1:4001/v1"),
        (
            "bedrock",
            {"AWS_DEFAULT_REGION": "us-west-2"},
            "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1",
        ),
        (
            "bedrock",
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1",
        ),
        (
            "bedrock",
            {"AWS_BEDROCK_BASE_URL": "https://bedrock-mantle.eu-west-1.api.aws/v1", "AWS_REGION": "x"},
            "https://bedrock-mantle.eu-west-1.api.aws/v1",
        ),
        (
            "bedrock",
            {"AWS_BEDROCK_BASE_URL": "https://bedrock-mantle.eu-west-1.api.aws/v1"},
            "https://bedrock-mantle.eu-west-1.api.aws/v1",
        ),
        ("databricks", {"DATABRICKS_HOST": "a.databricks.com"}, "https://a.databricks.com/serving-endpoints"),
        (
            "databricks",
            {"DATABRICKS_HOST": "https://a.databricks.com/"},
            "https://a.databricks.com/serving-endpoints",
        ),
        (
            "databricks",
            {"DATABRICKS_HOST": "https://a.databricks.com/serving-endpoints"},
            "https://a.databricks.com/serving-endpoints",
        ),
        (
            "databricks",
            {"DATABRICKS_HOST": "https://a.azuredatabricks.net/?o=123#job"},
            "https://a.azuredatabricks.net/serving-endpoints",
        ),
        ("ollama", {"OLLAMA_HOST": "127.0.0.1"}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "127.0.0.1:99"}, "http://127.0.0.1:99/v1"),
        ("ollama", {"OLLAMA_HOST": ":99"}, "http://localhost:99/v1"),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0"}, "http://localhost:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0:99"}, "http://localhost:99/v1"),
        ("ollama", {"OLLAMA_HOST": "http://0.0.0.0:99/"}, "http://localhost:99/v1"),
        ("ollama", {"OLLAMA_HOST": "[::]:99"}, "http://localhost:99/v1"),
        ("ollama", {"OLLAMA_HOST": "::1"}, "http://[::1]:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "[::1]"}, "http://[::1]:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "[::1]:99"}, "http://[::1]:99/v1"),
        ("ollama", {"OLLAMA_HOST": "http://[::1]:99"}, "http://[::1]:99/v1"),
        ("ollama", {"OLLAMA_HOST": "http://me"}, "http://me/v1"),  # its own rule: 80 with a scheme
        ("ollama", {"OLLAMA_HOST": "https://me"}, "https://me/v1"),
        ("ollama", {"OLLAMA_HOST": "https://me/v1"}, "https://me/v1"),
        ("ollama", {"OLLAMA_HOST": " me "}, "http://me:11434/v1"),
        ("ollama", {"OLLAMA_HOST": ""}, "http://localhost:11434/v1"),
    ],
)
def test_base_url_of_variables(name: str, environ: dict[str, str], base_url: str) -> None:
    assert resolve_endpoints(ServerOptions(name), environ)[0].base_url == base_url


# profile, variables, the place of the message
@pytest.mark.parametrize(
    ("name", "environ", "place"),
    [
        ("bedrock", {"AWS_REGION": "x/@evil.example#"}, "AWS_REGION"),
        ("bedrock", {"AWS_DEFAULT_REGION": "https://eu-west-1"}, "AWS_DEFAULT_REGION"),
        ("ollama", {"OLLAMA_HOST": "me:port"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "11434"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "me:99999"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "[::1"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "http://me:secret@host"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "me:secret@host"}, "OLLAMA_HOST"),
        ("ollama", {"OLLAMA_HOST": "unix:///run/ollama.sock"}, "OLLAMA_HOST"),
        ("groq", {"GROQ_BASE_URL": "ftp://groq.example"}, "GROQ_BASE_URL"),
        ("bedrock", {}, "--profile"),
        ("databricks", {}, "--profile"),
        ("azure", {}, "--profile"),
    ],
)
def test_variable_that_makes_no_base_url_is_named(name: str, environ: dict[str, str], place: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        resolve_endpoints(ServerOptions(name), environ)
    assert raised.value.place == place
    assert "secret" not in str(raised.value)


@EACH
def test_key_in_any_of_its_variables_is_sent(name: str) -> None:
    for source in profile(name).keys:
        if source.variable is not None:
            environ = {**VARIABLES, source.variable: KEY}
            server, *_ = open_servers(
                resolve_endpoints(ServerOptions(name), environ)[:1], ServerOptions(name), environ
            )
            assert server.key_header is not None
            assert KEY in server.key_header[1]


@EACH
def test_missing_key_is_77_where_one_is_needed(name: str) -> None:
    found = endpoint(name)
    if profile(name).needs_key:
        with pytest.raises(NoAccess, match=f"set {SENT[name].variable}, pass --key-file FILE"):
            with_key(found, ServerOptions(), VARIABLES, None)
    else:
        assert with_key(found, ServerOptions(), VARIABLES, None).headers == found.headers


@cases(
    "environ, files, used",
    {
        "no file": ({"HOME": "home"}, [], None),
        "in the cache": ({"HOME": "home"}, ["home/.cache/huggingface/token"], 0),
        "in another cache": ({"HOME": "home", "XDG_CACHE_HOME": "c"}, ["c/huggingface/token"], 0),
        "in a folder": ({"HOME": "home", "HF_HOME": "hf"}, ["home/.cache/huggingface/token", "hf/token"], 1),
        "named": ({"HF_TOKEN_PATH": "my token", "HF_HOME": "hf"}, ["hf/token", "my token"], 1),
        "named and not there": ({"HF_TOKEN_PATH": "other", "HF_HOME": "hf"}, ["hf/token"], None),
        "a folder of its name": ({"HF_TOKEN_PATH": "home"}, ["home/token"], None),
        "beside a variable": ({"HF_TOKEN_PATH": "t", "HF_TOKEN": KEY}, ["t"], None),
    },
)
def test_token_file_is_the_last_way(
    environ: dict[str, str], files: list[str], used: int | None, tmp_path: Path
) -> None:
    keys = [f"hf_{number}234567" for number in range(len(files))]
    for name, text in zip(files, keys, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    placed = {name: value if value == KEY else str(tmp_path / value) for name, value in environ.items()}
    found = find_key(resolve_endpoints(ServerOptions("huggingface"), placed)[0].keys, placed)
    assert (found and found.text) == (environ.get("HF_TOKEN") if used is None else keys[used])


def test_token_file_does_not_go_to_another_server(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(KEY)
    options = ServerOptions("huggingface", base_urls=("https://elsewhere.example/v1",))
    assert resolve_endpoints(options, {"HF_TOKEN_PATH": str(tmp_path / "t")})[0].keys == ()


GOOGLE = "--profile: GOOGLE_API_KEY is the key; GEMINI_API_KEY is another one and is not used"


@cases(
    "name, environ, keys, notes",
    {
        "two keys": ("gemini", {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, (), [GOOGLE]),
        "one key twice": ("gemini", {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "a\n"}, (), []),
        "one": ("gemini", {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": ""}, (), []),
        "an option": (
            "gemini",
            {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"},
            (KeySource(ENVIRONMENT, "X"),),
            [],
        ),
        "a token of another form": (
            "azure",
            {**VARIABLES, "AZURE_OPENAI_AD_TOKEN": "a", "AZURE_OPENAI_API_KEY": "b"},
            (),
            [],
        ),
    },
)
def test_second_key_that_is_not_used_is_named(
    name: str, environ: dict[str, str], keys: tuple[KeySource, ...], notes: list[str]
) -> None:
    said: list[str] = []
    resolve_endpoints(ServerOptions(name, keys=keys), environ, note=said.append)
    assert said == notes


def test_profile_without_a_list_of_models() -> None:
    assert profile_of("p", {"models_path": ""}).models_path is None
    assert profile_of("p", {}).models_path == "/models"


def test_nothing_is_sent_without_a_needed_key() -> None:
    assert run("ask", "-p", "groq", "-m", "m", "hi", env={"OPENAI_API_KEY": "sk-other"}).status == 77


def test_default_is_the_first_profile_of_the_file() -> None:
    """A call without a profile does not read the file."""
    named = profile("openai")
    assert (named.name, named.servers, named.needs_key) == (DEFAULT.name, DEFAULT.servers, DEFAULT.needs_key)
    assert (named.path, named.models_path, named.auth) == (DEFAULT.path, DEFAULT.models_path, DEFAULT.auth)


@EACH
def test_header_that_the_user_removes_is_not_sent(name: str) -> None:
    auth = profile(name).auth_header
    assert auth is not None
    found = resolve_endpoints(ServerOptions(name, headers=(f"{auth.name}:",)), VARIABLES)[0]
    assert KEY not in str(with_key(found, ServerOptions(), VARIABLES, key()).headers)


@EACH
def test_no_child_gets_a_key(name: str) -> None:
    assert {each.value for each in profile(name).keys if each.variable} <= secret_variables()


@EACH
def test_patches_never_drop_what_changes_the_meaning(name: str) -> None:
    for patch in profile(name).patches:
        assert MEANING.isdisjoint(patch.drop)
        assert MEANING.isdisjoint(patch.set)


@EACH
@pytest.mark.parametrize("model", ["m", "gpt-5", "o3", "openai/o3", "gpt-oss:20b"])
def test_patched_body_is_not_patched_again(name: str, model: str) -> None:
    once = patched({**BODY, "model": model, "max_tokens": 9}, profile(name).patches)
    assert patched(once.body, profile(name).patches).changes == ()


@EACH
def test_the_header_of_its_key_is_never_shown(name: str) -> None:
    auth = profile(name).auth_header
    assert auth is not None
    header, value = auth.header("sk-secret")
    assert "sk-secret" not in redact.header(header, value)
    redact.hide_headers([(header, value)])
    assert secrets.hide("sk-secret") == "***"


# profile, model of the request, the name of the limit that is sent
@pytest.mark.parametrize(
    ("name", "model", "limit"),
    [
        ("openai", "gpt-4o", "max_tokens"),
        ("openai", "o3-mini", "max_completion_tokens"),
        ("openai", "gpt-5-nano", "max_completion_tokens"),
        ("azure", "o1", "max_completion_tokens"),
        ("azure", "prod-chat", "max_tokens"),
    ],
)
def test_limit_of_reasoning_models(name: str, model: str, limit: str) -> None:
    body = {"model": model, "max_tokens": 9}
    assert patched(body, profile(name).patches).body == {"model": model, limit: 9}
