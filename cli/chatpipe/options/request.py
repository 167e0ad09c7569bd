"""Options of a request and of its server, as one bundle for every command that builds requests."""

from __future__ import annotations

from collections.abc import Iterable

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import STDERR_USE, STDIN_USE, FileUse
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import PromptOptions
from chatpipe.options.server import ServerOptions
from chatpipe.options.structured_output import SchemaOptions
from chatpipe.options.tool_commands import ToolOptions


class CheckOptions(NamedTuple):
    """The check options. strict makes warnings and unknown fields errors; off sends a request unchecked."""

    strict: bool = False
    off: bool = False


class RequestOptions(NamedTuple):
    """Everything that shapes a request. In a run it gives the defaults of every line."""

    prompt: PromptOptions = PromptOptions()
    parameters: Parameters = Parameters()
    schema: SchemaOptions = SchemaOptions()
    check: CheckOptions = CheckOptions()
    server: ServerOptions = ServerOptions()
    tools: ToolOptions = ToolOptions()

    def reads(self, files: Iterable[tuple[str, str]]) -> list[FileUse]:
        """The files that a command of requests reads, stdin and stderr. files has (option, name)."""
        inputs = (FileUse(option, name, "reads") for option, name in files)
        return [STDIN_USE, STDERR_USE, *self.server.uses, *inputs]
