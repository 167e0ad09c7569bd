"""Options for further turns, after the files that they name have been read."""

from typing import NamedTuple

from chatpipe.options.tool_commands import ToolOptions
from chatpipe.request.response_format import ResponseFormat


class TurnOptions(NamedTuple):
    """Turn options: the tools to run, the form that answers must have, and how often to ask again."""

    tools: ToolOptions = ToolOptions()
    response_format: ResponseFormat | None = None
    reasks: int = 0

    @property
    def is_single_turn(self) -> bool:
        """True if the first answer is the last, and no form is checked."""
        return self.response_format is None and not self.tools.commands
