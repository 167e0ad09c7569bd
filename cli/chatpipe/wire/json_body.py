"""A reply that is no completion -> its JSON.

An error status, an error inside HTTP 200, a page and any other text are faults, as for a completion.
A key in the JSON is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import httpx

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response.key_pieces import without_keys
from chatpipe.response.key_spans import may_hold
from chatpipe.response.server_error import error_of
from chatpipe.system import secrets
from chatpipe.wire.answer import Answer, AttemptResult, answer_from_error, answer_from_refusal
from chatpipe.wire.key_filter import CleanResult, read_without_secrets
from chatpipe.wire.reply_body import ReplyBody
from chatpipe.wire.retry import FailedAttempt
from chatpipe.wire.whole_answer import collect_body, not_json_answer

# An object with one of these is what was asked for, although it may have a `message` or a `status`, too.
_CONTENT = ("id", "name", "data", "models", "endpoints")


class JsonBodyReceiver:
    """The receiver of a reply that is no completion: it takes nothing before the end."""

    takes: Literal["body"] = "body"
    started = False

    def raw(self, data: bytes) -> None:
        """Ignore bytes of a stream."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Ignore a chunk."""

    def expect_end(self) -> None:
        """Ignore the end of a stream."""


async def read_json_body(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> CleanResult:
    """Like read_without_secrets, for a reply that is no completion. Answer.body is its JSON."""
    if not response.is_success:
        return await read_without_secrets(response, headers, request, JsonBodyReceiver())
    answer, failure = await _read(response, headers, request)
    if answer.fault is not None:
        answer.fault.request_id = answer.fault.request_id or headers.get("x-request-id")
        if answer.fault.body is not None:
            answer.fault.body = secrets.hide_body(answer.fault.body)
        return answer._replace(body=None), failure, False
    keys = secrets.in_content()
    if not keys or answer.body is None or not may_hold(keys, answer.body):
        return answer, failure, False
    value = values.loads(answer.body)
    clean = without_keys(value, keys)
    return answer._replace(body=values.dumps(clean)), failure, clean != value


async def _read(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> AttemptResult:
    pieces = ReplyBody(response, headers, request)
    try:
        body, broken = await collect_body(b"", pieces)
    finally:
        pieces.close()
    if broken is not None:
        return answer_from_error(broken, request)
    if not body.strip():
        return Answer(None, None, BrokenAnswer("the answer is empty", fix="try again")), FailedAttempt()
    try:
        value = values.loads(body)
    except NotJSON as error:
        fault, failure = not_json_answer(body, error)
        return Answer(None, None, fault), failure
    if error_of(value) is not None and not _is_content(value):
        return answer_from_refusal(response.status_code, headers, request, body)
    return Answer(None, body), None


def _is_content(value: Value) -> bool:
    return not isinstance(value, dict) or any(value.get(name) for name in _CONTENT)
