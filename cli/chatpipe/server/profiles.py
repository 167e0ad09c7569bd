"""Profiles: a provider as the data file or the user's configuration describes it.

`--help` imports this module, so it stays light.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeySource
from chatpipe.server.patches import Patch
from chatpipe.system.package_data import read_package_data


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


# The url of lines for the Batch API of nearly all providers, wherever their APIs are, and those of other
# dialects. Source: the batch guides of OpenAI and Z.ai.
BATCH_URL = "/v1/chat/completions"
BATCH_URLS = {"zai": "/v4/chat/completions"}


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
    def batch_url(self) -> str:
        """The url of lines for its Batch API."""
        return BATCH_URLS.get(self.batch or "", BATCH_URL)

    @property
    def auth_header(self) -> AuthHeader | None:
        return AUTH[self.auth]


# The profile of those who choose none. It stands here and not in the data file, which a call without a
# profile does not read.
DEFAULT = Profile("openai", (ProfileServer("https://api.openai.com/v1"),), needs_key=True)
ECHO = Profile("echo", (ProfileServer("http://echo.invalid/v1"),), model="echo", in_process=True)

# What to do about a profile that there is not.
LIST_PROFILES = "chatpipe config show --profiles lists all"

# Variables in which people keep keys, besides those that key_env of a built-in profile names: of chatpipe and
# openai, and of providers that have no profile.
_MORE_KEY_VARIABLES = (
    *("CHATPIPE_API_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_CUSTOM_HEADERS", "POE_API_KEY"),
    *("CHUTES_API_KEY", "NANOGPT_API_KEY", "VENICE_AI_API_KEY", "SCW_SECRET_KEY", "PARASAIL_API_KEY"),
    *("SYNTHETIC_API_KEY", "CRUSOE_API_KEY", "DEEPINFRA_API_KEY", "SAMBANOVA_API_KEY", "MINIMAX_API_KEY"),
    *("NOVITA_API_KEY", "NEBIUS_API_KEY", "HYPERBOLIC_API_KEY", "AI_GATEWAY_API_KEY"),
    *("VERCEL_AI_GATEWAY_API_KEY", "HELICONE_API_KEY", "META_API_KEY", "MODEL_API_KEY", "TENCENT_API_KEY"),
    *("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
)


def built_in_text() -> str:
    """The data file with the built-in profiles."""
    return read_package_data(__name__, "profiles.toml").decode()


@cache
def secret_variables() -> frozenset[str]:
    """The variables in which people keep keys. No child process gets any of them, whatever the profile."""
    lines = re.findall("^key_env = (.*)$", built_in_text(), re.MULTILINE)
    return frozenset(_MORE_KEY_VARIABLES).union(*(re.findall('"([A-Z0-9_]+)"', line) for line in lines))
