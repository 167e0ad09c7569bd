"""`chatpipe man`: a page of the manual, wherever the package is installed."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from chatpipe.errors import MissingInput, UsageFault
from chatpipe.flags.command import Command
from chatpipe.flags.types import Word


class _PageName(Word):
    """The name of a page. Completion offers those that are installed."""

    name = "page"

    def known(self, ctx: click.Context) -> Iterable[str]:
        from chatpipe.system.manual_pages import page_names

        return page_names()


@click.command(cls=Command)
@click.argument("page", metavar="[PAGE]", default="chatpipe", type=_PageName())
def man(page: str) -> int:
    """Show a page of the manual, also where man does not find it.

    PAGE is a command, or a subject such as options, providers, formats, cookbook or testing. A
    terminal gets the page through man and its pager, a pipe gets plain text.

    \b
    chatpipe man ask
    chatpipe man options | grep -A 5 -e --schema-fields
    """
    from chatpipe.flags.help_layout import page_width
    from chatpipe.output.target import write_stdout
    from chatpipe.server.children import child_environment
    from chatpipe.system import manual_pages
    from chatpipe.system.terminal import is_terminal

    pages = manual_pages.find_pages()
    if not pages:
        raise MissingInput("the manual is not installed", fix="install chatpipe again")
    path = pages.get(manual_pages.page_name(page))
    if path is None:
        raise _no_page(page, list(pages))
    environ = child_environment(os.environ)
    width = manual_pages.named_width(environ) or page_width()
    if is_terminal():
        manual_pages.show_page(path, width, environ)
    text = manual_pages.formatted_page(path, width, environ)
    if text is None:
        from chatpipe.output.mdoc import render  # for few systems, and narrow pages

        text = render(path.read_text(encoding="utf-8"), width)
    write_stdout(text.encode(), escape=False)
    return 0


def _no_page(word: str, names: list[str]) -> UsageFault:
    from chatpipe.inputs.names import did_you_mean

    return UsageFault(
        f"no page '{word}' in the manual",
        fix=did_you_mean(word, names, f"use one of {', '.join(names)}"),
    )
