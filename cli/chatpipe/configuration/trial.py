"""The trial of a server: request its list of models and, with `--call`, one token of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from chatpipe.errors import BadConfiguration, ChatpipeError, TryLater, Unreachable, UsageFault, quantity
from chatpipe.models.catalog import NO_ROUTE, likely_name, open_catalog
from chatpipe.models.connections import Connections
from chatpipe.server import redact
from chatpipe.server.base_url import MODEL
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.hosts import is_same_server
from chatpipe.server.origins import source_phrase
from chatpipe.server.profiles import DEFAULT

_MOST_TOKENS = 1
_QUESTION = "Reply with the word OK."
# The refusal of a model that reasons, which has answered too: it had no token left for an answer. Source: the
# error of OpenAI's models, as of 2026.
_CUT_OFF = re.compile("output limit was reached", re.IGNORECASE)
_NAME_ONE = "name one with -m, CHATPIPE_MODEL or model in the profile"
# Refusals that may be about the name of the model.
_OF_MODEL = frozenset({400, 403, 404, 422})


class Trial:
    """The trial of one server after another. write gets a line for everything that works.

    calls: a model is asked, too, which costs something.
    """

    def __init__(
        self, connections: Connections, model: str | None, write: Callable[[str], None], *, calls: bool
    ) -> None:
        self._connections = connections
        self._model = model
        self._write = write
        self._calls = calls

    def run(self, endpoint: Endpoint) -> None:
        """Try the server. Raises the fault of the request that failed, and UsageFault for a missing model."""
        try:
            self._run(endpoint, self._model or endpoint.model)
        except (TryLater, Unreachable) as fault:
            if "--retries" in fault.fix:  # which is for requests that are wanted
                fault.fix = "try again later"
            raise

    def _run(self, endpoint: Endpoint, model: str | None) -> None:
        if self._calls and model is None:
            raise UsageFault("there is no model to call", place="--call", fix=_NAME_ONE)
        names = self._list_models(endpoint, model)
        if self._calls and model is not None:
            self._call(endpoint, model, names or [])
            return
        if names is not None and (key := self._key_text(endpoint)) is not None:
            self._write(f"key: {key}: not refused")
        self._write(_model_text(model, names))

    def _list_models(self, endpoint: Endpoint, model: str | None) -> list[str] | None:
        """The names of the models; None if the server has no list."""
        shown = endpoint.profile.name if endpoint.in_process else redact.url(endpoint.url("", model or MODEL))
        try:
            with open_catalog(self._connections, endpoint) as catalog:
                names = catalog.names()
        except BadConfiguration as fault:
            has_no_path = fault.http_status is None and not endpoint.profile.models_path
            if not (has_no_path or fault.http_status in NO_ROUTE):
                raise  # the fault is not about the list
            self._write(f"server: {shown}: no list of models")
            return None
        self._write(f"server: {shown}: {quantity(len(names), 'model')}")
        return names

    def _key_text(self, endpoint: Endpoint) -> str | None:
        """The origin of the key, None without one."""
        with self._connections.open(endpoint) as connection:
            server = connection.server
        return (
            None
            if server.key is None or server.key_header is None
            else f"from {source_phrase(server.key.source)}"
        )

    def _call(self, endpoint: Endpoint, model: str, names: list[str]) -> None:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            _limit_field(endpoint): _MOST_TOKENS,
        }
        with self._connections.open(endpoint) as connection:
            answer, took_s = connection.complete(body)
        if answer.fault is not None and not _CUT_OFF.search(answer.fault.what):
            raise _with_likely_model(answer.fault, model, names, connection.command("models"))
        if (key := self._key_text(endpoint)) is not None:
            self._write(f"key: {key}: accepted")
        self._write(f"model: {model}: answered in {took_s:.2f} s")


def _model_text(model: str | None, names: list[str] | None) -> str:
    """The line about a model that is not called."""
    if model is None:
        return f"model: none: {_NAME_ONE}"
    # Some servers take a name without what their list puts around it.
    if names is not None and not {model, f"models/{model}", f"{model}:latest"}.isdisjoint(names):
        return f"model: {model}: in the list"
    near = likely_name(model, names or [])
    doubt = "" if names is None else f"not in the list{f', did you mean {near}?' if near else ''}: "
    return f"model: {model}: {doubt}--call tries it"


def _limit_field(endpoint: Endpoint) -> str:
    """The name of the limit of tokens. OpenAI's newer models refuse max_tokens."""
    openai = urlsplit(DEFAULT.servers[0].base_url)
    return "max_completion_tokens" if is_same_server(urlsplit(endpoint.base_url), openai) else "max_tokens"


def _with_likely_model(
    fault: ChatpipeError, model: str, names: list[str], list_command: str
) -> ChatpipeError:
    """The fault. It names the model that was meant if the list does not have the one that was asked for."""
    if names and model not in names and fault.refusal_status in _OF_MODEL:
        near = likely_name(model, names)
        fault.fix = f"did you mean -m {near}?" if near else f"{list_command} lists all"
    return fault
