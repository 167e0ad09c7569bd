"""Options for further turns, after the files that they name have been read."""

from typing import NamedTuple

from chatpipe.options.tool_commands import Tooling
from chatpipe.request.response_format import Form


class Wanted(NamedTuple):
    """Turn options: the tools to run, the form that answers must have, and how often to ask again."""

    tooling: Tooling = Tooling()
    form: Form | None = None
    reasks: int = 0

    @property
    def is_plain(self) -> bool:
        """True if the first answer is the last, and no form is checked."""
        return self.form is None and not self.tooling.commands
