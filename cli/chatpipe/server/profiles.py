"""Profiles: the defaults of each provider, one row each. `--help` imports this module, so it stays light."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.named_tuple import NamedTuple


class AuthHeader(NamedTuple):
    """The header that carries the key. prefix precedes the key in its value."""

    name: str
    prefix: str = ""

    def header(self, key: str) -> tuple[str, str]:
        return self.name, f"{self.prefix}{key}"


BEARER = AuthHeader("Authorization", "Bearer ")


class Profile(NamedTuple):
    """The defaults of a provider.

    key_env names the variable that holds its key. needs_key is true if the provider rejects every
    request without a key. A profile that reads_openai_environment honours the `OPENAI_*` variables,
    and its base_url is then only the default behind them and behind `CHATPIPE_BASE_URL`. One that
    is in_process needs no server: it ignores the environment and has no other base URL.
    """

    name: str
    base_url: str
    key_env: str | None = None
    model: str | None = None
    auth: AuthHeader = BEARER
    needs_key: bool = False
    reads_openai_environment: bool = False
    in_process: bool = False


_ROWS = (
    Profile(
        "openai",
        "https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        needs_key=True,
        reads_openai_environment=True,
    ),
    Profile("echo", "http://echo.invalid/v1", model="echo", in_process=True),
)
PROFILES: Mapping[str, Profile] = {row.name: row for row in _ROWS}
# The profile of those who choose none.
DEFAULT = _ROWS[0]

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
