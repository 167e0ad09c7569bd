"""The trial of a server: request its list of models, and a word from one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from chatpipe.errors import BadConfiguration, ChatpipeError, TryLater, quantity
from chatpipe.models.catalog import likely_name, open_catalog
from chatpipe.models.connections import Connections
from chatpipe.server import redact
from chatpipe.server.base_url import MODEL
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.hosts import is_same_server
from chatpipe.server.origins import source_phrase
from chatpipe.server.profiles import DEFAULT
from chatpipe.server.server import Server

# Enough for a word. A model that reasons may need more and be cut off, but then it has answered, too.
_MOST_TOKENS = 64
_QUESTION = "Reply with the word OK."
# Refusals that may be about the name of the model.
_OF_MODEL = frozenset({400, 403, 404, 422})


class Trial:
    """The trial of one server after another. write gets a line for everything that works."""

    def __init__(self, connections: Connections, model: str | None, write: Callable[[str], None]) -> None:
        self._connections = connections
        self._model = model
        self._write = write

    def run(self, endpoint: Endpoint) -> None:
        """Ask for the models, then for a word. Raises the fault of the request that failed."""
        try:
            self._run(endpoint)
        except TryLater as fault:
            fault.fix = "try again later"  # --retries is for requests that are wanted
            raise

    def _run(self, endpoint: Endpoint) -> None:
        model = self._model or endpoint.model
        names = self._list_models(endpoint, model)
        if model is None:
            self._write("model: none: name one with -m, CHATPIPE_MODEL or model in the profile")
        else:
            self._ask(endpoint, model, names)

    def _list_models(self, endpoint: Endpoint, model: str | None) -> list[str]:
        """The names of the models; empty if the server has no list."""
        shown = endpoint.profile.name if endpoint.in_process else redact.url(endpoint.url("", model or MODEL))
        try:
            with open_catalog(self._connections, endpoint) as catalog:
                names = catalog.names()
        except BadConfiguration as fault:
            if fault.http_status is None and endpoint.profile.models_path:
                raise  # the fault is not about the list
            self._write(f"server: {shown}: no list of models")
            return []
        self._write(f"server: {shown}: {quantity(len(names), 'model')}")
        return names

    def _ask(self, endpoint: Endpoint, model: str, names: list[str]) -> None:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            _limit_field(endpoint): _MOST_TOKENS,
        }
        with self._connections.open(endpoint) as connection:
            answer, took_s = connection.complete(body)
        if answer.fault is not None:
            raise _with_likely_model(answer.fault, model, names, connection.command("models"))
        if (key := _key_text(connection.server)) is not None:
            self._write(f"key: {key}: accepted")
        self._write(f"model: {model}: answered in {took_s:.2f} s")


def _limit_field(endpoint: Endpoint) -> str:
    """The name of the limit of tokens. OpenAI's newer models refuse max_tokens."""
    openai = urlsplit(DEFAULT.servers[0].base_url)
    return "max_completion_tokens" if is_same_server(urlsplit(endpoint.base_url), openai) else "max_tokens"


def _key_text(server: Server) -> str | None:
    if server.key_header is None or server.key is None:
        return None
    return f"from {source_phrase(server.key.source)}"


def _with_likely_model(
    fault: ChatpipeError, model: str, names: list[str], list_command: str
) -> ChatpipeError:
    """The fault. It names the model that was meant if the list does not have the one that was asked for."""
    if names and model not in names and fault.refusal_status in _OF_MODEL:
        near = likely_name(model, names)
        fault.fix = f"did you mean -m {near}?" if near else f"{list_command} lists all"
    return fault
