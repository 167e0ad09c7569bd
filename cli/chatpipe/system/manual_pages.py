"""Pages of the manual: where they are installed, and the programs that show them.

`man` finds those of a package only if its prefix is one that it knows, or has its `bin` in PATH. pipx links
them into such a one, uv does not.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_PAGE = re.compile(r"(chatpipe(?:-([a-z-]+))?)\.([1-8])")
_ABOVE = 6  # folders above the package that may have the pages: lib/python3.11/site-packages in a prefix
# Below some 45 columns, groff 1.22.4 never ends with some of the pages.
_LEAST_COLUMNS = 60
_OVERSTRIKE = re.compile("(?s).\b")


def find_pages() -> dict[str, Path]:
    """The pages by their short names, `ask` or `options`; that of the program is `chatpipe`.

    They are in share/man of the prefix that the package is installed in, or in man/ of a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in list(package.parents)[:_ABOVE]:
        for pages in (folder / "share" / "man", folder / "man"):
            found = {
                match[2] or match[1]: path
                for path in sorted((*pages.glob("man[1-8]/chatpipe*"), *pages.glob("chatpipe*.[1-8]")))
                if (match := _PAGE.fullmatch(path.name))
            }
            if found:
                return found
    return {}


def named_width(environ: Mapping[str, str]) -> int:
    """The width that MANWIDTH names; 0 if it names none, as `tty` does."""
    named = environ.get("MANWIDTH", "")
    return int(named[:5]) if named.isdecimal() else 0


def show_page(path: Path, width: int, environ: Mapping[str, str]) -> None:
    """Become the program that shows the page on a terminal, with its pager. Return if there is none.

    On a narrow terminal the pager breaks the lines.
    """
    if width < _LEAST_COLUMNS:
        environ = {**environ, "MANWIDTH": str(_LEAST_COLUMNS)}
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and programs inherit that
    for command in (["man", str(path)], ["mandoc", "-a", str(path)]):
        try:
            os.execvpe(command[0], command, dict(environ))  # noqa: S606 - no shell is wanted
        except OSError:
            continue


def formatted_page(path: Path, width: int, environ: Mapping[str, str]) -> str | None:
    """The text of the page without bold type and underlines, None if no program makes it in this width."""
    if width < _LEAST_COLUMNS:
        return None
    for command in (["man", str(path)], ["mandoc", str(path)]):
        text = _OVERSTRIKE.sub("", _output(command, environ))
        if "NAME" in text:  # systems without manuals have a `man` that says so
            return text
    return None


def _output(command: list[str], environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def page_name(word: str) -> str:
    """The short name of a page: `chatpipe-ask(1)`, `chatpipe-ask.1`, `chatpipe-ask` and `ask` are one."""
    name = re.sub(r"\.[1-8]$|\([1-8]\)$", "", word.strip())
    return name.removeprefix("chatpipe-")


def page_names() -> Iterator[str]:
    """The short names of all pages, that of the program first."""
    yield from sorted(find_pages(), key=lambda name: (name != "chatpipe", name))
