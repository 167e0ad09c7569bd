"""The conversation as the command line gives it, nothing read yet: light, as `--help` imports it too."""

from typing import Literal, NamedTuple

MediaKind = Literal["image", "audio", "file", "file-id"]


class Attachment(NamedTuple):
    """One `--image`, `--audio-file`, `--file` or `--file-id`, as typed. option names it in errors."""

    kind: MediaKind
    value: str
    option: str


class Typed(NamedTuple):
    """One role option as typed. value is the text, or the name of the file that has it."""

    option: str
    role: str
    value: str
    is_file: bool
    tool_call_id: str | None = None


class Prompt(NamedTuple):
    """The conversation as the command line gives it, nothing read yet."""

    words: tuple[str, ...] = ()
    request: str | None = None
    messages: str | None = None
    typed: tuple[Typed, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    image_detail: str | None = None
    read_stdin: bool = True
    transcript: str | None = None
