"""A format of another command, or of none, after `-f` -> the way to it. Loaded after a wrong word only."""

from __future__ import annotations

from collections.abc import Mapping

_TABLES = {
    "map": "write --to {word}",
    "": "chatpipe map reads and writes tables: --to {word}",
}
_IN_ROWS = {"map": "for the answers alone write --to jsonl | jq -r .answer"}
_OF_SHOW = {"": "chatpipe show -f {word} reads answers that are saved"}
_OF_BUILD = {"": "chatpipe build -f {word}"}
_OF_CHECK = {"": "chatpipe check -f {word}"}
_OF_BATCH = {"": "chatpipe batch -f {word}"}
_IN_PROMPT = {"": "-f is the form of the output: ask for {word} in the prompt"}

# The word -> its remedy by the command, "" for any other.
_REMEDIES: Mapping[str, Mapping[str, str]] = {
    "csv": _TABLES,
    "tsv": _TABLES,
    "jsonl": {"map": _TABLES["map"]},
    **dict.fromkeys(("text", "string", "json", "message"), _IN_ROWS),
    "table": _OF_SHOW,
    "body": _OF_BUILD,
    "curl": _OF_BUILD,
    "problems": _OF_CHECK,
    "results": _OF_BATCH,
    "requests": _OF_BATCH,
    **dict.fromkeys(("yaml", "yml", "xml", "html", "toml", "latex"), _IN_PROMPT),
}


def format_remedy(word: str, command: str) -> str:
    """The way to a word that is no format of a command; empty if none is known."""
    by_command = _REMEDIES.get(word.lower(), {})
    return by_command.get(command, by_command.get("", "")).format(word=word.lower())
