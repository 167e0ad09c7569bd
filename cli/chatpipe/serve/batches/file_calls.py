"""The calls of `/v1/files`: a request -> its reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from chatpipe.inputs import values
from chatpipe.local.model import Reply
from chatpipe.serve.batches.api_route import ApiRoute, api_route
from chatpipe.serve.batches.multipart import FormFile, FormReader, boundary_of
from chatpipe.serve.batches.stored_files import (
    BadQuery,
    FileStore,
    StoredFile,
    list_object,
    page_of_ids,
    page_query,
)
from chatpipe.serve.reply_steps import ReplyPlan, plan_of
from chatpipe.serve.router import error_reply, json_reply
from chatpipe.serve.served_request import ServedRequest

_MOST_UPLOAD = 512_000_000
_FORM_BYTES = 1_000_000  # what a form may have besides its file
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_BATCH_LIFE_S = 30 * 86_400
SHORTEST_LIFE_S, LONGEST_LIFE_S = 3600, 2_592_000
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BYTES = ("content-type", "application/octet-stream")


class FileCalls:
    """Answers the calls for files. now is Unix time."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._calls: Mapping[str, Callable[[ServedRequest, ApiRoute, float], ReplyPlan]] = {
            "upload": self._upload,
            "files": self._list,
            "file": self._show,
            "delete": self._delete,
            "content": self._content,
        }

    def open_form(self, request: ServedRequest) -> FormReader | None:
        """The reader of the upload that begins with this head, None for another request."""
        boundary = boundary_of(request.headers.get("content-type", ""))
        route = api_route(request) if boundary else None
        if boundary is None or route is None or route.name != "upload":
            return None
        return FormReader(boundary, self._store.open_spool, _MOST_UPLOAD + _FORM_BYTES)

    def plan(self, request: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        return self._calls[route.name](request, route, now)

    def _upload(self, request: ServedRequest, _: ApiRoute, now: float) -> ReplyPlan:
        form = request.form
        if form is None:
            what = "Invalid Content-Type: an upload is multipart/form-data, with its boundary"
            return plan_of(error_reply(400, what))
        refusal = _refusal(form)
        if refusal is not None or form.file is None:
            form.close()
            return plan_of(refusal or error_reply(400, "Missing required parameter: 'file'."))
        purpose = form.fields["purpose"].decode("utf-8", "replace")
        seconds = form.fields.get("expires_after[seconds]")
        life_s = int(seconds) if seconds else _BATCH_LIFE_S if purpose == "batch" else None
        file = self._store.add(form.file.name, purpose, form.file.spool, int(now), life_s)
        form.file = None  # it is the store's now
        return plan_of(json_reply(200, file.shown()))

    def _list(self, _: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        purpose = route.query.get("purpose")
        files = {
            file.id: file.shown() for file in self._store.all(now) if purpose in (None, "", file.purpose)
        }
        try:
            ids, has_more = page_of_ids(files, page_query(route.query, default=10_000, most=10_000))
        except BadQuery as error:
            return plan_of(bad_query(error))
        return plan_of(json_reply(200, list_object([files[id_] for id_ in ids], has_more=has_more)))

    def _show(self, _: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        file = self._store.get(route.id, now)
        return plan_of(_no_file(route.id) if file is None else json_reply(200, file.shown()))

    def _delete(self, _: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        file = self._store.get(route.id, now)
        if file is None:
            return plan_of(_no_file(route.id))
        self._store.remove(file)
        return plan_of(json_reply(200, {"id": file.id, "object": "file", "deleted": True}))

    def _content(self, request: ServedRequest, route: ApiRoute, now: float) -> ReplyPlan:
        file = self._store.get(route.id, now)
        if file is None:
            return plan_of(_no_file(route.id))
        plan = _content_plan(file, request.headers.get("range", ""))
        if request.method == "HEAD":
            plan.pieces = ()
        return plan


def _content_plan(file: StoredFile, range_: str) -> ReplyPlan:
    """The bytes of a file, or the part of them that the header Range asks for."""
    size = file.spool.size
    found = _RANGE.fullmatch(range_.strip())
    if found is None or not (found[1] or found[2]):
        return _sized(200, ("accept-ranges", "bytes"), file, 0, size)
    if found[1]:
        begin, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    else:
        begin, end = max(0, size - int(found[2])), size
    if begin >= end:
        reply = error_reply(416, f"The range '{range_}' is not in the file of {size} bytes")
        return ReplyPlan(416, (*reply.headers, ("content-range", f"bytes */{size}")), reply.pieces)
    part = ("content-range", f"bytes {begin}-{end - 1}/{size}")
    return _sized(206, part, file, begin, end)


def _sized(status: int, header: tuple[str, str], file: StoredFile, begin: int, end: int) -> ReplyPlan:
    """The plan of a body that is read as it is sent."""
    headers = (_BYTES, header, ("content-length", str(end - begin)))
    return ReplyPlan(status, headers, file.spool.pieces(begin, end), framing="length")


def _refusal(form: FormReader) -> Reply | None:
    """The refusal of an upload, None if it is good."""
    form.end()
    if form.fault is not None:
        return error_reply(*form.fault)
    purpose = form.fields.get("purpose", b"").decode("utf-8", "replace")
    if not purpose:
        return error_reply(400, "Missing required parameter: 'purpose'.", param="purpose")
    if purpose not in _PURPOSES:
        what = f"Invalid value: '{purpose}'. Supported values are: {_quoted(_PURPOSES)}."
        return error_reply(400, what, param="purpose")
    if form.file is None:
        return error_reply(400, "Missing required parameter: 'file'.", param="file")
    if form.file.spool.size == 0:
        return error_reply(400, "File is empty.", param="file")
    return _form_refusal(purpose, form.file, form.fields)


def _form_refusal(purpose: str, file: FormFile, fields: Mapping[str, bytes]) -> Reply | None:
    if purpose == "batch" and not file.name.endswith(".jsonl"):
        return error_reply(400, "Invalid file format for Batch API. Must be .jsonl", param="file")
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != b"created_at":
        return error_reply(400, "Invalid 'expires_after': its anchor is 'created_at'.", param="expires_after")
    if seconds is None or not seconds.isdigit() or not is_life(int(seconds[:20])):
        return error_reply(400, f"Invalid 'expires_after': {LIFE}.", param="expires_after")
    return None


LIFE = f"its seconds are an integer from {SHORTEST_LIFE_S} to {LONGEST_LIFE_S}"


def is_life(seconds: values.Value) -> bool:
    """Return True for a number of seconds for which a file may be kept."""
    is_integer = isinstance(seconds, int) and not isinstance(seconds, bool)
    return is_integer and SHORTEST_LIFE_S <= seconds <= LONGEST_LIFE_S


def _no_file(id_: str) -> Reply:
    return error_reply(404, f"No such File object: {id_}", param="id")


def bad_query(error: BadQuery) -> Reply:
    return error_reply(400, str(error), param=error.param, code="invalid_value")


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
