"""Options of the conversation: roles in the order typed, files, images, stdin."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import FILE, OneOf, in_order, option_group
from chatpipe.options.prompt import Attachment, MediaKind, PromptOptions, RoleOption

_ROLES = {
    "system": ("s", "System message; before any -u or -a it replaces the conversation's own"),
    "developer": (None, "Developer message, which takes the place of system on newer models"),
    "user": ("u", "User message; -u Q1 -a A1 -u Q2 gives examples in this order"),
    "assistant": ("a", "Assistant message, what the model is to have said"),
}
_ATTACHMENTS: dict[str, tuple[MediaKind, str, str]] = {
    "image": ("image", "PATH|URL", "Image for the last user message; a URL is handed on, never fetched"),
    "audio_file": ("audio", "PATH", "WAV or MP3 for the last user message"),
    "file": ("file", "PATH|URL", "Document (PDF, office, text, image) for the last user message"),
    "file_id": ("file-id", "ID", "File that the provider has already"),
}


def _role_options() -> list[Any]:
    options = []
    for role, (letter, text) in _ROLES.items():
        names = [f"--{role}"] + ([f"-{letter}"] if letter else [])
        options.append(click.option(*names, role, multiple=True, metavar="TEXT", help=text))
        options.append(
            click.option(
                f"--{role}-file",
                multiple=True,
                metavar="FILE",
                type=FILE,
                help="The same from a file, - for stdin",
            )
        )
    options.append(
        click.option(
            "--tool-result", multiple=True, metavar="ID=TEXT", help="Answer to the tool call with this id"
        )
    )
    options.append(
        click.option(
            "--tool-result-file", multiple=True, metavar="ID=FILE", help="The same from a file, - for stdin"
        )
    )
    return options


def _attachment_options() -> list[Any]:
    return [
        click.option(
            f"--{name.replace('_', '-')}",
            name,
            multiple=True,
            metavar=metavar,
            type=None if kind == "file-id" else FILE,
            help=text,
        )
        for name, (kind, metavar, text) in _ATTACHMENTS.items()
    ]


def _prompt_of(
    request: str | None,
    messages: str | None,
    image_detail: str | None,
    file_as: str | None,
    words: tuple[str, ...] = (),
    **others: Any,
) -> PromptOptions:
    transcript, no_stdin = others.pop("transcript", None), others.pop("no_stdin", False)
    attachments = {name: others.pop(name) for name in _ATTACHMENTS}
    if file_as is not None and not attachments["file"]:
        raise UsageFault("there is no document", place="--file-as", fix="use it with --file PATH")
    if transcript in ("", "-"):
        what = "stdin cannot be appended to" if transcript else "the name is empty"
        raise UsageFault(what, place="--transcript", fix="name a file")
    return PromptOptions(
        words=words,
        request=request,
        messages=messages,
        role_options=tuple(_typed(name, value) for name, value in in_order(others)),
        attachments=tuple(
            Attachment(_ATTACHMENTS[name][0], value, f"--{name.replace('_', '-')}", file_as == "file")
            for name, value in in_order(attachments)
        ),
        image_detail=image_detail,
        read_stdin=not no_stdin,
        transcript=transcript,
    )


def _read(**values: Any) -> PromptOptions:
    prompt = _prompt_of(**values)
    refuse_idle_detail(prompt, fix="use it with --image PATH")
    return prompt


def refuse_idle_detail(prompt: PromptOptions, *, fix: str) -> None:
    """Raise UsageFault for `--image-detail` without an image that an option names."""
    if prompt.image_detail is not None and not any(each.kind == "image" for each in prompt.attachments):
        raise UsageFault("there is no image", place="--image-detail", fix=fix)


def _typed(name: str, value: str) -> RoleOption:
    option = f"--{name.replace('_', '-')}"
    is_file = name.endswith("_file")
    role = name.removesuffix("_file")
    if role != "tool_result":
        return RoleOption(option, role, value, is_file)
    call_id, separator, result = value.partition("=")
    if not separator or not call_id:
        raise UsageFault(
            f"'{value}' has no id", place=option, fix=f"write ID={'FILE' if is_file else 'TEXT'}"
        )
    return RoleOption(option, "tool", result, is_file, call_id)


_CONVERSATION = [
    *_role_options(),
    click.option(
        "--request", "-r", metavar="FILE", type=FILE, help="Request body to start from, - for stdin"
    ),
    click.option(
        "--messages", metavar="FILE", type=FILE, help="Messages to begin with: a JSON array or JSONL"
    ),
    *_attachment_options(),
    click.option(
        "--file-as",
        type=OneOf(["auto", "file"]),
        help="Form of a document that is text: a text part, or a file  [default: auto]",
    ),
    click.option("--image-detail", metavar="LEVEL", help="How closely to look at images: auto, low or high"),
]

options = option_group(
    "prompt",
    [
        click.argument("words", nargs=-1, metavar="[PROMPT]..."),
        *_CONVERSATION,
        click.option(
            "--transcript", metavar="FILE", type=FILE, help="Go on with the conversation in this JSONL file"
        ),
        click.option("--no-stdin", is_flag=True, help="Leave stdin alone (loops, cron, ssh)"),
    ],
    _read,
)

# The same as defaults for every line of a run, whose prompts are in its input.
defaults = option_group("prompt", _CONVERSATION, _read)

# The same for rows, which may name images themselves.
row_defaults = option_group("prompt", _CONVERSATION, _prompt_of)
