"""The file in which a provider's own tool keeps a token, as `hf auth login` does.

A template is the name of a file that begins with a variable, `{HF_HOME}/token`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from chatpipe.options.server import KeySource
from chatpipe.server.keys import KEY_WAYS
from chatpipe.server.profiles import Profile
from chatpipe.server.variables import variable

_VARIABLE = re.compile(r"\{(\w+)\}")
_FILE = next(way for way in KEY_WAYS if way.names == "file")


def token_source(profile: Profile, environ: Mapping[str, str]) -> list[KeySource]:
    """The source of a profile's token; empty if there is no file, because nobody has logged in.

    The first template whose variable is set names the file.
    """
    path = next(_paths(profile.token_files, environ), None)
    if path is None or not os.path.isfile(path):
        return []
    return [KeySource(_FILE, path, f"profile '{profile.name}'")]


def _paths(templates: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[str]:
    for template in templates:
        match = _VARIABLE.match(template)
        value = variable(environ, match[1]) if match is not None else None
        if match is not None and value:
            yield value + template[match.end() :]
