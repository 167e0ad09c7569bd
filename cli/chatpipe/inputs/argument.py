"""Text from the command line, which is bytes to the system."""

from __future__ import annotations

from chatpipe.errors import BadInput


def argument(text: str, option: str) -> str:
    """A text from the command line, as it is. Raises BadInput for bytes that are not UTF-8.

    Python hands those over as lone surrogates, which would be sent as if they were text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput("not UTF-8", place=option, fix="is the terminal set to UTF-8?") from error
    return text
