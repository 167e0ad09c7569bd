"""The environment of child processes: of the commands of tools, and of the one that prints the key."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.server.profiles import secret_variables
from chatpipe.system import secrets

# Its values are headers, of which the secret ones are known.
_WITH_MORE = frozenset({"OPENAI_CUSTOM_HEADERS"})


def child_environment(environ: Mapping[str, str], key_names: frozenset[str] = frozenset()) -> dict[str, str]:
    """The environment without secrets. key_names are further variables that hold keys.

    Left out are the variables in which people keep keys, those that hold a secret of this process, in
    whatever encoding, and proxies with a user or a password. A key that this call does not use is a secret
    of this process, too.
    """
    names = secret_variables()
    for name in names.difference(_WITH_MORE):
        secrets.add(environ.get(name, "").strip())
    return {
        name: value
        for name, value in environ.items()
        if name not in names
        and name not in key_names
        and not (name.lower().endswith("_proxy") and "@" in value)
        and not secrets.is_in(value)
    }
