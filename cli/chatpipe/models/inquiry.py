"""A run of `models`: ask each server in turn, and write its models or keep their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chatpipe.errors import CannotWrite, ChatpipeError, Status, UsageFault
from chatpipe.inputs.values import Value
from chatpipe.models import model_list
from chatpipe.models.catalog import open_catalog
from chatpipe.models.connections import Connections
from chatpipe.models.kept_models import keep
from chatpipe.models.printer import ModelPrinter
from chatpipe.options.models import ModelsOptions
from chatpipe.options.output import OutputOptions
from chatpipe.options.prompt import utf8_argument
from chatpipe.output.target import open_target
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.identity import recorded_name
from chatpipe.system.console import Console


def ask_each(servers: Sequence[Endpoint], ask: Callable[[Endpoint], None], console: Console) -> Status:
    """Ask each server in turn. The exit status: SOME_FAILED if only some answered.

    ask raises the fault of a server, which is printed; if none answered, the status is that of the first.
    The fault of an only server is raised, and so is that of the output.
    """
    faults: list[ChatpipeError] = []
    for server in servers:
        try:
            ask(server)
        except CannotWrite:
            raise
        except ChatpipeError as fault:
            if len(servers) == 1:
                raise
            if (name := recorded_name(server)) not in fault.what:
                fault.place = fault.place or name
            faults.append(fault)
    for each in faults:
        console.error(each)
    if len(faults) == len(servers):
        return faults[0].status
    return Status.SOME_FAILED if faults else Status.OK


class Inquiry:
    """A run of `models`, for all models or for the one of this name."""

    def __init__(self, model: str | None, options: ModelsOptions, connections: Connections, console: Console):
        self._model = model
        self._options = options
        self._connections = connections
        self._console = console

    def run(self, environ: Mapping[str, str]) -> Status:
        """Ask the servers, and write what they offer. Returns the exit status, as ask_each() does.

        Raises UsageFault, and the fault of the only server.
        """
        self._refuse_names()
        servers = self._connections.servers()
        write = self._keeper(environ) if self._options.save else self._printer(len(servers) > 1)
        with open_target(OutputOptions(), (), escape=True) as out:

            def ask(server: Endpoint) -> None:
                out.write(write(server, self._ask(server)))

            status = ask_each(servers, ask, self._console)
            out.replace()
        return status

    def _refuse_names(self) -> None:
        if self._model is None:
            return
        self._model = utf8_argument(self._model, "ID")
        if not self._model.strip():
            raise UsageFault("the name is empty", place="ID", fix="name a model, or leave it out")
        if self._options.save:
            raise UsageFault("it saves the names of all models", place="--save", fix="leave out ID")

    def _ask(self, server: Endpoint) -> list[dict[str, Value]]:
        with open_catalog(self._connections, server) as catalog:
            if self._model is not None:
                return [catalog.model(self._model)]
            models = catalog.models()
        if not models:
            self._console.note(f"'{recorded_name(server)}' lists no models")
        return models

    def _printer(self, has_several: bool) -> Callable[[Endpoint, list[dict[str, Value]]], bytes]:
        format = self._options.format or ("text" if self._model is None else "json")
        printer = ModelPrinter(format, has_several=has_several)
        return lambda server, models: printer.lines(models, recorded_name(server))

    def _keeper(self, environ: Mapping[str, str]) -> Callable[[Endpoint, list[dict[str, Value]]], bytes]:
        def write(server: Endpoint, models: list[dict[str, Value]]) -> bytes:
            names = dict.fromkeys(map(model_list.name_of, models))
            return f"{keep(names, server, environ)}\n".encode("utf-8", "surrogateescape")

        return write
