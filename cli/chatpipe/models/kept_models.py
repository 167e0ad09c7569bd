"""Names of models that `models --save` kept, for the completion of `-m`: one file a server.

The file is `$XDG_DATA_HOME/chatpipe/models/SERVER`, one name a line. SERVER is the host, port and path
of the base URL, percent-encoded. Source: XDG Base Directory Specification 0.8.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from chatpipe.errors import BadConfiguration
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.identity import comparable_name, recorded_name
from chatpipe.system.atomic import replace_whole
from chatpipe.system.descriptor import cannot_write
from chatpipe.system.user_folders import user_folder

_NAME_BYTES = 200  # of a file system's 255, which a temporary file beside it has to fit into, too
_MAX_BYTES = 4_000_000  # the shell waits while this is read


def kept_path(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """The path of the names of a server. Raises BadConfiguration if there is no home."""
    folder = user_folder(environ, "XDG_DATA_HOME", ".local/share")
    name = quote(comparable_name(recorded_name(endpoint)), safe="")
    if len(name) > _NAME_BYTES:
        from hashlib import sha256  # no usual base URL is as long

        name = name[: _NAME_BYTES - 64] + sha256(name.encode()).hexdigest()
    return os.path.join(folder, "chatpipe", "models", name)


def keep(names: Iterable[str], endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Replace the names of a server, and return the path. Names with a line end are left out.

    Raises CannotWrite, and like kept_path().
    """
    path = kept_path(endpoint, environ)
    lines = [f"{name}\n" for name in names if name.splitlines() == [name]]
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_whole(path, 0o600, ["".join(lines).encode("utf-8", "replace")])
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def kept_names(endpoint: Endpoint, environ: Mapping[str, str]) -> list[str]:
    """The names of a server, empty if none are kept. Never raises."""
    try:
        with open(kept_path(endpoint, environ), "rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except (OSError, BadConfiguration):
        return []
