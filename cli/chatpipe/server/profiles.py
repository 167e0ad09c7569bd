"""Profiles: a provider as the data file or the user's configuration describes it.

`--help` imports this module, so it stays light.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeySource
from chatpipe.server.patches import Patch


class AuthHeader(NamedTuple):
    """The header that carries the key. prefix precedes the key in its value."""

    name: str
    prefix: str = ""

    def header(self, key: str) -> tuple[str, str]:
        return self.name, f"{self.prefix}{key}"


BEARER = AuthHeader("Authorization", "Bearer ")
# The forms of `auth`. None sends no key.
AUTH: Mapping[str, AuthHeader | None] = {"bearer": BEARER, "api-key": AuthHeader("api-key"), "none": None}


class ProfileServer(NamedTuple):
    """One server of a profile: its base URL, a template of base_url.expand(), and what it alone gets."""

    base_url: str
    keys: tuple[KeySource, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class Profile(NamedTuple):
    """The defaults of a provider.

    servers are tried in this order by a single call, and share a run. base_url_env are variables that
    name another base URL, model_env and api_version_env the like; the first that is set counts.
    dated_base_url replaces base_url where the version of the API is a date. keys are the ways to the
    key in order, each optional unless the user's configuration names it. token_files are templates of
    token_files.py for the file behind them. needs_key is true if the provider rejects every request
    without a key. headers, keys, token_files and patches are for the servers of the profile only.

    path is the route of completions, models_path that of the list of models, None if there is none; one
    that begins with a scheme or a variable is a URL. batch names the dialect of its Batch API. One that
    is in_process needs no server: it ignores the environment and has no base URL.
    """

    name: str
    servers: tuple[ProfileServer, ...] = ()
    base_url_env: tuple[str, ...] = ()
    dated_base_url: str | None = None
    api_version: str | None = None
    api_version_env: tuple[str, ...] = ()
    path: str = "/chat/completions"
    models_path: str | None = "/models"
    model: str | None = None
    model_env: tuple[str, ...] = ()
    keys: tuple[KeySource, ...] = ()
    token_files: tuple[str, ...] = ()
    auth: str = "bearer"
    needs_key: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    patches: tuple[Patch, ...] = ()
    prices: str | None = None
    allow_http: bool = False
    batch: str | None = None
    in_process: bool = False

    @property
    def auth_header(self) -> AuthHeader | None:
        return AUTH[self.auth]


# The profile of those who choose none. It stands here and not in the data file, which a call without a
# profile does not read.
DEFAULT = Profile("openai", (ProfileServer("https://api.openai.com/v1"),), needs_key=True)
ECHO = Profile("echo", (ProfileServer("http://echo.invalid/v1"),), model="echo", in_process=True)

# The variables in which people keep keys, by provider: of the vendor's own SDK, and of other clients.
KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "chatpipe": ("CHATPIPE_API_KEY",),
    "openai": ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_CUSTOM_HEADERS"),
    "azure": ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "AZURE_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "together": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "zai": ("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "perplexity": ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
    "databricks": ("DATABRICKS_TOKEN", "DATABRICKS_API_KEY"),
    "bedrock": ("AWS_BEARER_TOKEN_BEDROCK",),
    "github": ("GITHUB_TOKEN",),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "llamacpp": ("LLAMA_API_KEY",),
    "vllm": ("VLLM_API_KEY",),
    "lmstudio": ("LM_STUDIO_API_KEY",),
    "litellm": ("LITELLM_PROXY_API_KEY",),
    "poe": ("POE_API_KEY",),
    "chutes": ("CHUTES_API_KEY",),
    "nano-gpt": ("NANOGPT_API_KEY",),
    "venice": ("VENICE_AI_API_KEY",),
    "scaleway": ("SCW_SECRET_KEY",),
    "parasail": ("PARASAIL_API_KEY",),
    "synthetic": ("SYNTHETIC_API_KEY",),
    "crusoe": ("CRUSOE_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "minimax": ("MINIMAX_API_KEY",),
    "novita": ("NOVITA_API_KEY",),
    "nebius": ("NEBIUS_API_KEY",),
    "hyperbolic": ("HYPERBOLIC_API_KEY",),
    "vercel": ("AI_GATEWAY_API_KEY", "VERCEL_AI_GATEWAY_API_KEY"),
    "helicone": ("HELICONE_API_KEY",),
    "meta": ("META_API_KEY", "MODEL_API_KEY"),
    "tencent": ("TENCENT_API_KEY",),
    "nvidia": ("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
}
# No child process gets any of them, whatever the profile.
SECRET_VARIABLES = frozenset(name for names in KEY_VARIABLES.values() for name in names)
