"""Text from the command line, which the operating system passes as bytes."""

from __future__ import annotations

from chatpipe.errors import BadInput


def utf8_argument(text: str, option: str) -> str:
    """Return a command-line text unchanged. Raises BadInput if its bytes are not UTF-8.

    Python decodes such bytes to lone surrogates, which would be sent as if they were text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput("not UTF-8", place=option, fix="is the terminal set to UTF-8?") from error
    return text
