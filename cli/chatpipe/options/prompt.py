"""The conversation as given on the command line, before any file is read.

The module is light because `--help` imports it, too.
"""

from __future__ import annotations

import os
from typing import Literal

from chatpipe.errors import BadInput
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import FileUse, optional_uses

MediaKind = Literal["image", "audio", "file", "file-id"]


class Attachment(NamedTuple):
    """One `--image`, `--audio-file`, `--file` or `--file-id`, as typed. option names it in errors.

    as_file, for --file-as file: a document that is text is sent as a file, too.
    """

    kind: MediaKind
    value: str
    option: str
    as_file: bool = False


class RoleOption(NamedTuple):
    """One role option as typed. value is the text, or the name of the file that holds it."""

    option: str
    role: str
    value: str
    is_file: bool
    tool_call_id: str | None = None


class PromptOptions(NamedTuple):
    """The conversation as given on the command line, before any file is read."""

    words: tuple[str, ...] = ()
    request: str | None = None
    messages: str | None = None
    role_options: tuple[RoleOption, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    image_detail: str | None = None
    read_stdin: bool = True
    transcript: str | None = None

    @property
    def uses(self) -> list[FileUse]:
        """The file that a call appends to."""
        return optional_uses(("--transcript", self.transcript, "writes"))


def blankness(text: object) -> Literal["", "empty", "blank"]:
    """The word for a text without anything to ask; "" for other texts, and for what is no text."""
    if not isinstance(text, str) or text.strip():
        return ""
    return "blank" if text else "empty"


def utf8_argument(text: str, option: str) -> str:
    """The text of an argument whose bytes are UTF-8, whatever the locale is. Raises BadInput for others.

    Python decodes bytes that its encoding does not have to lone surrogates, which would be sent as if they
    were text. With PYTHONUTF8=0 and the locale C, that is every letter beyond ASCII.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode()
        except UnicodeError as error:
            raise BadInput("not UTF-8", place=option, fix="set the terminal to UTF-8") from error
    return text
