"""A connection -> the models that the server offers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from chatpipe.errors import BadConfiguration, BadInput, BrokenAnswer, ChatpipeError, ReplyTooLong
from chatpipe.inputs import values
from chatpipe.inputs.names import nearest
from chatpipe.inputs.values import Value
from chatpipe.models import model_list, models_route
from chatpipe.models.connections import Connection, Connections
from chatpipe.server.endpoints import Endpoint
from chatpipe.system.escape import shorten

# Statuses of a server without a list of models, or without a GET of one model.
NO_ROUTE = frozenset({404, 405, 501})
_NO_SUCH_MODEL = NO_ROUTE | {400, 422}
_MOST_PAGES = 100  # the longest list of 2026 has some hundred models, and a page of it at least twenty


@contextmanager
def open_catalog(connections: Connections, endpoint: Endpoint) -> Iterator[Catalog]:
    """The catalog of a server. Raises what opening the server raises, and BadConfiguration."""
    with connections.open(models_route.models_endpoint(endpoint, connections.environ)) as connection:
        yield Catalog(connection)


class Catalog:
    """The models of one server, each the object that the server sends.

    All its requests together have one deadline, and one limit of the bytes that come.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._url = connection.server.endpoint.base_url
        self._deadline: float | None = None
        self._bytes = 0

    def names(self) -> list[str]:
        """The names of all models. Raises what models() raises."""
        return list(map(model_list.name_of, self.models()))

    def models(self) -> list[dict[str, Value]]:
        """All models, in the order of the server.

        Raises BadConfiguration if the server has no list, and the fault of a request that failed.
        """
        try:
            found, unnamed = self._pages()
        except ChatpipeError as fault:
            raise _no_list(fault) if fault.http_status in NO_ROUTE else fault from None
        if unnamed:
            entries = "1 entry" if unnamed == 1 else f"{unnamed} entries"
            self._connection.console.warn_once([f"{entries} of the list of models without a name: left out"])
        return found

    def model(self, name: str) -> dict[str, Value]:
        """One model: what the server says about it alone, else its entry in the list.

        Raises BadInput if the server does not have it.
        """
        if (model := self._single(name)) is not None:
            return model
        models = self.models()
        found = next((each for each in models if model_list.name_of(each) == name), None)
        if found is None:
            near = likely_name(name, map(model_list.name_of, models))
            fix = f"did you mean '{near}'?" if near else f"{self._connection.command('models')} lists all"
            raise BadInput(f"the server offers no model '{name}'", fix=fix)
        return found

    def _single(self, name: str) -> dict[str, Value] | None:
        """The reply about one model, None if the server has none: it may have a list all the same."""
        try:
            return model_list.sole_model(self._get(models_route.model_url(self._url, name)))
        except BrokenAnswer:
            return None
        except ChatpipeError as fault:
            if fault.http_status in _NO_SUCH_MODEL:
                return None
            raise

    def _pages(self) -> tuple[list[dict[str, Value]], int]:
        """The models of all pages, and how many entries have no name.

        A server that always sends the same page has no other one. Raises BrokenAnswer for a list without an
        end: its pages may be too small for the limit of bytes.
        """
        found: list[dict[str, Value]] = []
        unnamed = 0
        url = self._url
        for _ in range(_MOST_PAGES):
            value = self._get(url)
            page = model_list.model_page(value)
            if page is None:
                raise _not_a_list(value)
            known = len(found)
            found = model_list.distinct([*found, *page.models])
            unnamed += page.unnamed
            if page.after is None or len(found) == known:
                return found, unnamed
            url = models_route.page_url(self._url, page.after)
        what = f"the list of models has no end: {_MOST_PAGES} pages came, and each names another one"
        raise BrokenAnswer(what, fix="check the base URL")

    def _get(self, url: str) -> Value:
        """The JSON of a URL. Raises the fault of the request."""
        answer, self._deadline = self._connection.get(url, self._deadline)
        if answer.fault is not None or answer.body is None:
            raise answer.fault or BrokenAnswer("the answer is empty", fix="try again")
        self._bytes += len(answer.body)
        if self._bytes > self._connection.server.limits.max_reply_bytes:
            raise ReplyTooLong("the list of models has no end", fix="raise --max-reply if it has one")
        return values.loads(answer.body)


def _not_a_list(value: Value) -> BrokenAnswer:
    body = values.dumps(value)
    excerpt = shorten(body[:400].decode("utf-8", "replace"), 80)
    return BrokenAnswer(
        f"the answer is not a list of models: '{excerpt}'", fix="check the base URL", body=body
    )


def _no_list(fault: ChatpipeError) -> BadConfiguration:
    fix = "it may have no list of models, and -m NAME works without one; else check the base URL"
    return BadConfiguration(fault.what, fix=fix).with_reply_of(fault)


def likely_name(name: str, names: Iterable[str]) -> str | None:
    """The name that was meant: `models/NAME`, `NAME:latest` and the like, or a near one."""
    known = list(names)
    whole = next((each for each in known if name in re.split("[/:]", each)), None)
    whole = whole or next((each for each in known if each.endswith(f"/{name}")), None)
    return whole or nearest(name, frozenset(known), least=3)
