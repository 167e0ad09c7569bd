"""The environment of child processes: of the commands of tools, and of the one that prints the key."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.server.profiles import SECRET_VARIABLES
from chatpipe.system import secrets


def child_environment(environ: Mapping[str, str], key_env: str | None = None) -> dict[str, str]:
    """The environment without secrets. key_env is a further variable that holds a key.

    Left out are the variables in which people keep keys, those that hold a secret of this process, in
    whatever encoding, and proxies with a user or a password.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in SECRET_VARIABLES
        and name != key_env
        and not (name.lower().endswith("_proxy") and "@" in value)
        and not secrets.is_in(value)
    }
