"""Options of the conversation: roles in the order typed, files, images, stdin."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.command import in_order
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import FILE, JSON, JSONL, OneOf, Word
from chatpipe.inputs.stdin import is_stdin
from chatpipe.options.prompt import Attachment, MediaKind, PromptOptions, RoleOption, utf8_argument

option = under("Messages")

_ROLES = {
    "system": ("s", "System message: instructions for the model"),
    "developer": (None, "Developer message: the system message of newer models"),
    "user": ("u", "User message; -u Q1 -a A1 -u Q2 makes an example and a question"),
    "assistant": ("a", "Assistant message, as an example of an answer"),
}
_ATTACHMENTS: dict[str, tuple[MediaKind, str, str]] = {
    "image": ("image", "PATH|URL", "Image for the last user message"),
    "audio_file": ("audio", "PATH", "WAV or MP3 file for the last user message"),
    "file": ("file", "PATH|URL", "PDF, office or text file for the last user message"),
    "file_id": ("file-id", "ID", "Uploaded file for the last user message"),
}


def _role_options() -> list[Any]:
    options = []
    for role, (letter, text) in _ROLES.items():
        names = [f"--{role}"] + ([f"-{letter}"] if letter else [])
        options.append(
            option(
                *names,
                role,
                multiple=True,
                metavar="TEXT",
                daily=role == "system",
                may_be_empty=True,  # request/gather.py judges the texts of messages, wherever they come from
                help=text,
            )
        )
        options.append(
            option(
                f"--{role}-file",
                multiple=True,
                type=FILE,
                help=f"{role.title()} message from FILE, or from stdin (-)",
            )
        )
    options.append(
        option("--tool-result", multiple=True, metavar="ID=TEXT", help="Result of the tool call with this ID")
    )
    options.append(
        option(
            "--tool-result-file",
            multiple=True,
            metavar="ID=FILE",
            help="Result of the tool call with this ID, from FILE",
        )
    )
    return options


def _attachment_options() -> list[Any]:
    return [
        option(
            f"--{name.replace('_', '-')}",
            name,
            multiple=True,
            metavar=metavar,
            type=Word() if kind == "file-id" else FILE,
            daily=("ask", "build") if name in ("image", "file") else False,
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
    if transcript is not None and is_stdin(transcript):
        raise UsageFault("stdin cannot be appended to", place="--transcript", fix="name a file")
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
    return RoleOption(option, "tool", result, is_file, utf8_argument(call_id, option))


_CONVERSATION = [
    *_role_options(),
    option("--request", "-r", type=JSON, help="Request body to start from, or stdin (-)"),
    option("--messages", type=JSONL, help="Messages to start from: a JSON array or JSONL"),
    *_attachment_options(),
    option(
        "--file-as",
        type=OneOf(["auto", "file"]),
        default_text="auto",
        help="Send a text document as a text part, or as a file",
    ),
    option(
        "--image-detail",
        metavar="LEVEL",
        type=Word(("auto", "low", "high")),
        help="Detail in which the model views images: auto, low or high",
    ),
]

options = option_group(
    "prompt",
    [
        click.argument("words", nargs=-1, metavar="[PROMPT]..."),
        *_CONVERSATION,
        option(
            "--transcript", type=JSONL, daily=True, help="Continue the conversation in FILE and append to it"
        ),
        option("--no-stdin", is_flag=True, help="Do not read stdin; for loops, cron and ssh"),
    ],
    _read,
)

# Defaults for every line of a run. The prompts are in its input.
defaults = option_group("prompt", _CONVERSATION, _read)

# Defaults for rows, which may name images themselves.
row_defaults = option_group("prompt", _CONVERSATION, _prompt_of)
