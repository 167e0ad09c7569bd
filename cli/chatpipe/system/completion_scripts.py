"""Completion scripts in the folders where shells look for those of a user.

Sources: the README of bash-completion 2.11 ("Where should I install my own local completions?"), the
manual of fish 3.6 ("Where to put completions"), zshcompsys(1).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping

from chatpipe.errors import UsageFault
from chatpipe.system.atomic import replace_whole
from chatpipe.system.descriptor import cannot_write
from chatpipe.system.user_folders import user_folder

_NAMES = {"bash": "chatpipe", "zsh": "_chatpipe", "fish": "chatpipe.fish"}

_BASH_FOLDERS = ("bash-completion", "completions")
# The last one is that of Homebrew.
_DATA_DIRS = "/usr/local/share:/usr/share:/opt/homebrew/share"


def choose_shell(
    shell: str | None, known: Collection[str], environ: Mapping[str, str], *, install: bool
) -> str:
    """The shell that is named, else the login shell. Raises UsageFault if that is unknown."""
    if shell is not None:
        return shell
    login = os.path.basename(environ.get("SHELL", ""))
    if not install or login not in known:
        what = f"no completion for '{login}'" if install and login else "missing operand SHELL"
        raise UsageFault(what, fix=f"name one: {', '.join(known)}")
    return login


def install_script(shell: str, script: str, environ: Mapping[str, str]) -> str:
    """Write the script, and return what to print: the path, and what a user has to add by hand.

    Raises CannotWrite, and BadConfiguration if there is no home.
    """
    folder = _script_folder(shell, environ)
    path = os.path.join(folder, _NAMES[shell])
    try:
        os.makedirs(folder, exist_ok=True)
        replace_whole(path, 0o644, [script.encode()])
    except OSError as error:
        raise cannot_write(path, error) from error
    if shell == "bash" and not _has_bash_completion(environ):
        return (
            f"{path}\n"
            "bash finds it with the package bash-completion, which is not here. "
            "Install it, or add this line to ~/.bashrc:\n"
            "  source <(chatpipe completion bash)\n"
        )
    if shell != "zsh" or folder in environ.get("FPATH", "").split(":"):
        return f"{path}\n"
    return (
        f"{path}\n"
        "Add these two lines to ~/.zshrc, unless they are there:\n"
        f"  fpath=({shlex.quote(folder)} $fpath)\n"
        "  autoload -Uz compinit && compinit\n"
    )


def _script_folder(shell: str, environ: Mapping[str, str]) -> str:
    """The folder of a user's completion scripts. Relative values of the variables do not count."""
    if shell == "fish":
        return os.path.join(user_folder(environ, "XDG_CONFIG_HOME", ".config"), "fish", "completions")
    chosen = environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
    if shell == "bash" and os.path.isabs(chosen):
        return os.path.join(chosen, "completions")
    data = user_folder(environ, "XDG_DATA_HOME", ".local/share")
    return os.path.join(data, *(("zsh", "site-functions") if shell == "zsh" else _BASH_FOLDERS))


def _has_bash_completion(environ: Mapping[str, str]) -> bool:
    """Return True if the package that loads the scripts of a user is installed."""
    folders = environ.get("XDG_DATA_DIRS") or _DATA_DIRS
    return any(
        os.path.isfile(os.path.join(folder, "bash-completion", "bash_completion"))
        for folder in folders.split(":")
        if os.path.isabs(folder)
    )
