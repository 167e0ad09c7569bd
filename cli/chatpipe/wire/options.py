"""What the user asks of the wire, as records: light, as `--help` imports them too."""

from collections.abc import Mapping
from typing import NamedTuple


class Profile(NamedTuple):
    """What is known of a provider. needs_key: it answers nobody without one."""

    base_url: str | None
    key_env: str | None = None
    model: str | None = None
    needs_key: bool = False


# `openai` has no base URL of its own here, so that OPENAI_BASE_URL still counts under it.
PROFILES: Mapping[str, Profile] = {
    "openai": Profile(None, "OPENAI_API_KEY", needs_key=True),
    "echo": Profile("http://echo.invalid/v1", model="echo"),
}


class KeySource(NamedTuple):
    """The options that say where a key is; the first that is set counts."""

    file: str | None = None
    command: str | None = None
    descriptor: int | None = None


class Limits(NamedTuple):
    """How long to wait, in seconds: for a connection, between bytes, and for everything together."""

    connect_s: float = 10.0
    between_bytes_s: float = 600.0
    deadline_s: float | None = None


class Connection(NamedTuple):
    """The connection options as typed; None and empty where nothing was."""

    profile: str | None = None
    base_url: str | None = None
    headers: tuple[str, ...] = ()
    header_file: str | None = None
    key: KeySource = KeySource()
    allow_http: bool = False
    proxy: str | None = None
    cacert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    limits: Limits = Limits()

    @property
    def files(self) -> list[str]:
        """The files that are read for it. They are no part of the request, and no place for a result."""
        named = (self.header_file, self.key.file, self.cacert, self.client_cert, self.client_key)
        return [name for name in named if name]
