"""A name that is no file -> the advice for what it is. Imported for errors only."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from chatpipe.inputs.text_decoder import quoted

_PATTERN = frozenset("*?[")


def advice(name: str, option: str) -> str:
    """The remedy for a name that is JSON, a URL or a pattern; "" for any other."""
    if name.lstrip().startswith(("{", "[")):
        is_schema = option == "--schema"
        return "give JSON itself by --schema-json" if is_schema else "pipe JSON in, with '-' for the file"
    scheme, separator, _ = name.partition("://")
    if separator and scheme.isalnum():
        return _advice_for_url(name, scheme.lower())
    return "" if _PATTERN.isdisjoint(name) else "patterns are for the shell: name each file"


def _advice_for_url(url: str, scheme: str) -> str:
    if scheme == "file":
        try:
            path = unquote(urlsplit(url).path)
        except ValueError:  # such as an unclosed bracket
            path = ""
        return f"write {quoted(path)}" if path else "write the path"
    if scheme in ("http", "https"):
        return "URLs are not fetched: pipe it in from curl, with '-' for the file"
    return "URLs are not fetched: save it in a file first"
