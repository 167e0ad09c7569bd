"""Profiles: the defaults of each provider, one row each. `--help` imports this module, so it stays light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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

# Variables that may hold a key. No child process gets any of them, whatever the profile.
SECRET_VARIABLES = frozenset({"OPENAI_CUSTOM_HEADERS", *(row.key_env for row in _ROWS if row.key_env)})
