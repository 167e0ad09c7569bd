"""The files that a command uses, by the options that name them."""

from __future__ import annotations

from typing import Literal

from chatpipe.named_tuple import NamedTuple

# What a command does with a file. system/file_uses.py has the table of those that may be one file.
#   reads    an input, a key, a certificate
#   reuses   recorded answers
#   prints   stdout of a command that reads all its input first
#   notes    stderr
#   results  OUT or its journal; stdout of a run
#   writes   a side file, or a file that is appended to
#   records  recordings that are appended to
#   replays  recordings that answer requests
#   locks    a file that belongs to no single process
Role = Literal["reads", "reuses", "prints", "notes", "results", "writes", "records", "replays", "locks"]


class FileUse(NamedTuple):
    """A file that a command uses.

    option is the option that names it, or `FILE` for an operand. It is empty for a standard stream, whose
    name is then part. For a file that belongs to the named one, part is its kind, such as `journal`.
    """

    option: str
    path: str
    role: Role
    part: str = "file"

    @property
    def title(self) -> str:
        """The words for the file in the report of another one."""
        if not self.option:
            return self.part
        return "the input FILE" if self.option == "FILE" else f"the {self.part} of {self.option}"

    @property
    def subject(self) -> str:
        """The words for the file after the name of its option."""
        if not self.option:
            return self.part
        return f"'{self.path}'" if self.part == "file" else f"its {self.part} '{self.path}'"


STDIN_USE = FileUse("", "/dev/fd/0", "reads", "standard input")
STDERR_USE = FileUse("", "/dev/fd/2", "notes", "standard error")


def optional_uses(*uses: tuple[str, str | None, Role]) -> list[FileUse]:
    """The uses (option, path, role) whose path is given."""
    return [FileUse(option, path, role) for option, path, role in uses if path]
