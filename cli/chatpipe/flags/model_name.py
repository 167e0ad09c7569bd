"""The type of the name of a model: completed from the names that `models --save` kept."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from chatpipe.errors import ChatpipeError
from chatpipe.flags.types import Word


class ModelName(Word):
    """The name of a model. It is completed from the kept names of the servers that the command line chooses.

    No server is asked, and whatever is wrong with the command line or the file, there are just no words.
    """

    def known(self, ctx: click.Context) -> Iterable[str]:
        from chatpipe.models.kept_models import kept_names
        from chatpipe.options.server import ServerOptions
        from chatpipe.server.endpoints import resolve_endpoints

        options = ServerOptions(ctx.params.get("profile"), ctx.params.get("base_url") or ())
        try:
            servers = resolve_endpoints(options, os.environ)
        except ChatpipeError:
            return ()
        return dict.fromkeys(name for each in servers for name in kept_names(each, os.environ))


MODEL_NAME = ModelName()
