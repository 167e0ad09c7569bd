"""Options of `models`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple

# Formats of a list of models.
MODEL_FORMATS = ("text", "json", "tsv")


class ModelsOptions(NamedTuple):
    """The form of the list. format is None if it was not chosen. save keeps the names instead."""

    format: str | None = None
    save: bool = False
