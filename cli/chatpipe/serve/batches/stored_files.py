"""The files of the local server, and the pages in which files and batches are listed."""

from __future__ import annotations

from collections.abc import Iterable

from chatpipe.inputs import values
from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.draws import draw
from chatpipe.system.spool import Room, Spool

_Object = dict[str, values.Value]


class StoredFile(NamedTuple):
    """A file, and its metadata as the API shows it. Times are Unix time; expires_at None is never."""

    id: str
    name: str
    purpose: str
    created_at: int
    expires_at: int | None
    spool: Spool

    @property
    def kind(self) -> str:
        """The same for files of the same bytes, for all but one pair in four billion."""
        return f"{self.spool.size}-{self.spool.checksum()}"

    def shown(self) -> _Object:
        """The file object of the API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.spool.size,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """The files by their ids, the oldest first. limit is the bytes of all together."""

    def __init__(self, limit: int) -> None:
        self._room = Room(limit)
        self._files: dict[str, StoredFile] = {}
        self._ids = 0

    def new_id(self, prefix: str, now: float) -> str:
        """An id that no other server has, so that a client does not take one of its files for one of ours."""
        self._ids += 1
        return f"{prefix}{int(draw('id', now, self._ids) * (1 << 48)):012x}{self._ids:012x}"

    def open_spool(self) -> Spool:
        return Spool(self._room)

    def add(self, name: str, purpose: str, spool: Spool, created_at: int, life_s: int | None) -> StoredFile:
        """Keep a file for life_s seconds, or with None until the server ends."""
        expires_at = None if life_s is None else created_at + life_s
        file = StoredFile(self.new_id("file-", created_at), name, purpose, created_at, expires_at, spool)
        self._files[file.id] = file
        return file

    def get(self, id_: str, now: float) -> StoredFile | None:
        """A file; None if there is none, or no longer."""
        file = self._files.get(id_)
        if file is not None and file.expires_at is not None and file.expires_at <= now:
            self.remove(file)
            return None
        return file

    def remove(self, file: StoredFile) -> None:
        del self._files[file.id]
        file.spool.close()

    def all(self, now: float) -> list[StoredFile]:
        return [file for id_ in list(self._files) if (file := self.get(id_, now)) is not None]


class BadQuery(ValueError):
    """A query that the API refuses. param is the parameter."""

    def __init__(self, message: str, param: str) -> None:
        self.param = param
        super().__init__(message)


class PageQuery(NamedTuple):
    """The part of a list that a client asks for: at most limit items that follow the id `after`."""

    limit: int
    after: str | None
    newest_first: bool = True


def page_query(query: dict[str, str], *, default: int, most: int) -> PageQuery:
    """Raises BadQuery."""
    text = query.get("limit", str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= most):
        raise BadQuery(f"Invalid 'limit': expected an integer from 1 to {most}, but got '{text}'.", "limit")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadQuery(f"Invalid 'order': expected asc or desc, but got '{order}'.", "order")
    return PageQuery(int(text), query.get("after") or None, order == "desc")


def page_of_ids(ids: Iterable[str], query: PageQuery) -> tuple[list[str], bool]:
    """The ids on the page, and True if there are more. ids are the oldest first. Raises BadQuery."""
    every = list(ids)
    if query.newest_first:
        every.reverse()
    begin = 0
    if query.after is not None:
        if query.after not in every:
            raise BadQuery(f"Invalid 'after': there is nothing with the id '{query.after}'.", "after")
        begin = every.index(query.after) + 1
    end = begin + query.limit
    return every[begin:end], end < len(every)


def list_object(items: list[_Object], *, has_more: bool) -> _Object:
    """A page as the API shows it."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": has_more}
