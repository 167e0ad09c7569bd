"""The models of several servers, read when a run begins: a server with other models gets no lines.

    first line -> GET /models of each server -> its names -> other servers have the model of a line, and it
                                                             has not -> the line goes to the others

Some servers answer any request with the one model that they have, whatever name is asked for (llama.cpp,
LM Studio), so no refusal shows a wrong one. Only servers of the user's own are asked: the lists of
providers are long, leave out aliases, and a provider refuses a model that it does not have. A list that does
not come, or is not conclusive, excludes no server, and neither does a name that is in no list.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence

from chatpipe import exchange
from chatpipe.batch.fleet.member import Member
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.models import model_list
from chatpipe.options.server import ExchangeLimits, RetryPolicy
from chatpipe.system.escape import shorten
from chatpipe.wire import server_requests

# The run begins after the slowest reply. A server that takes longer counts as one without a list.
_TIMEOUT_S = 1.0
_ROUTE = "/models"
# A longer list is that of a gateway, whose names have aliases.
_MOST_NAMES = 32
_NAME_CHARS = 60
_NONE: frozenset[int] = frozenset()


class ModelLists:
    """The names of the models of each server, read when the first line asks for them.

    note prints, once for each server, that it has another model. are_known: every server has been asked.
    """

    def __init__(self, members: Sequence[Member], waits: RunWaits, note: Callable[[str], None]) -> None:
        self._members = members
        self._waits = waits
        self._note = note
        self.are_known = False
        self._reading: asyncio.Task[None] | None = None
        self._names: dict[int, tuple[str, ...]] = {}  # by the index of the server
        self._lacking: dict[str, frozenset[int]] = {}  # by the model

    async def read(self) -> None:
        """Wait until every server has been asked. The first call asks them."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if not self._reading.done():
            with self._waits.until_stop():
                await asyncio.wait([self._reading])
        self._reading.result()
        self.are_known = True

    def lacking(self, model: Value) -> frozenset[int]:
        """The indices of the servers that do not have this model although others have it. See read()."""
        if not isinstance(model, str) or not self._names:
            return _NONE
        found = self._lacking.get(model)
        if found is None:
            found = self._lacking[model] = self._compare(model)
        return found

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        near = [each for each in self._members if each.server.endpoint.is_near]
        await asyncio.gather(*map(self._read_list, near))

    async def _read_list(self, member: Member) -> None:
        request = server_requests.get_request(member.server, member.server.endpoint.url(_ROUTE))
        limits = ExchangeLimits(_TIMEOUT_S, _TIMEOUT_S, _TIMEOUT_S)
        answer = await exchange.fetch(request, member.pacer.context, limits, RetryPolicy(retries=0))
        if answer.fault is None and answer.body is not None:
            names = names_in(values.loads(answer.body))
            if names:
                self._names[member.index] = names

    def _compare(self, model: str) -> frozenset[int]:
        lacking = {index for index, names in self._names.items() if not is_among(model, names)}
        if len(lacking) == len(self._names):
            return _NONE
        for index in sorted(lacking):
            member = self._members[index]
            if member.is_first_time("lacks"):
                member.lacks_model = True
                self._note(_text(member.name, model, self._names[index]))
        return frozenset(lacking)


def names_in(value: Value) -> tuple[str, ...]:
    """The names in a list of models; none if it has further pages, or names that stand for others."""
    page = model_list.model_page(value)
    if page is None or page.unnamed or page.after is not None or len(page.models) > _MOST_NAMES:
        return ()
    names = tuple(map(model_list.name_of, page.models))
    return () if any("*" in name for name in names) else names


def is_among(model: str, names: Iterable[str]) -> bool:
    """True if a server with these names has the model: `qwen3` is `qwen3:latest` and `/models/Qwen3.gguf`."""
    wanted = _forms(model)
    return any(wanted & _forms(name) for name in names)


def _forms(name: str) -> set[str]:
    """The forms of a name that mean the same: in lower case, without a tag, without the path before it."""
    whole = re.sub(r"(:latest|\.gguf)$", "", name.lower())
    return {whole, whole.rpartition("/")[2]}


def _text(server: str, model: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    has = f"'{shorten(names[0], _NAME_CHARS)}'{more}"
    return f"'{server}' gets no line for '{shorten(model, _NAME_CHARS)}': it has {has}"
