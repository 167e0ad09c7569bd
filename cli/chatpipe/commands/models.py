"""`chatpipe models`: the models that servers offer."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import models as model_flags
from chatpipe.flags import retries as retry_flags
from chatpipe.flags import server as server_flags
from chatpipe.flags.command import Command
from chatpipe.flags.model_name import MODEL_NAME
from chatpipe.options.models import ModelsOptions
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.server import RetryPolicy, ServerOptions


@click.command(cls=Command)
@click.argument("model", required=False, metavar="[ID]", type=MODEL_NAME)
@model_flags.options
@server_flags.options
@retry_flags.options
@console_flags.options
def models(
    model: str | None,
    listing: ModelsOptions,
    server: ServerOptions,
    retry: RetryPolicy,
    console: ConsoleOptions,
) -> int:
    """List the models that the server offers, one name per line, or show the model ID.

    \b
    chatpipe models -p echo
    chatpipe models -p openrouter -f tsv | sort -t "$(printf '\\t')" -k 5 -g
    """
    # The stages import httpx, which --help and completion must not wait for.
    from chatpipe.models.connections import Connections
    from chatpipe.models.inquiry import Inquiry
    from chatpipe.system.console import Console

    output = Console(console)
    return Inquiry(model, listing, Connections(server, retry, output, os.environ), output).run(os.environ)
