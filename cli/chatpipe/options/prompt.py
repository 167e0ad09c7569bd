"""The conversation as given on the command line, before any file is read.

The module is light because `--help` imports it, too.
"""

from typing import Literal, NamedTuple

MediaKind = Literal["image", "audio", "file", "file-id"]


class Attachment(NamedTuple):
    """One `--image`, `--audio-file`, `--file` or `--file-id`, as typed. option names it in errors."""

    kind: MediaKind
    value: str
    option: str


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
