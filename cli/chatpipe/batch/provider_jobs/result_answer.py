"""A result of a job -> the answer to its request, or the reason why there is none.

The line decides the outcome, never the file in which it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from chatpipe.batch.result import PlainAnswers
from chatpipe.errors import SomeFailed, Status, TryLater
from chatpipe.exchange import run_without_loop
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.options.engines import JOB_ENGINE
from chatpipe.response.assemble import within_limits
from chatpipe.response.body_form import is_usual
from chatpipe.response.completion import is_plain_text
from chatpipe.system import secrets
from chatpipe.wire.answer import Answer, NullReceiver
from chatpipe.wire.key_filter import answer_without_secrets, may_need_filter, read_without_secrets

# The names in the results of most providers, in their order.
_RESULT = ("id", "custom_id", "response", "error")
_RESPONSE = ("status_code", "request_id", "body")
_NO_ERROR = frozenset((b"null}\n", b" null}\n"))  # the end of a line, behind the last name


def answer_of(record: Mapping[str, Any], line: bytes, request: httpx.Request, at: str) -> Answer | None:
    """The answer of a result, read as the reply of a server is. None for a line that says nothing.

    line has the text of the record. request is that of any line, for messages. at is the time of the answer.
    """
    response: Any = record.get("response")
    body: Any = response.get("body") if isinstance(response, dict) else None
    if body is not None and response.get("status_code") == 200 and _is_usual(body):
        answer = Answer(body, None, None, _request_id(response), engine=JOB_ENGINE, at=at)
        return answer_without_secrets(answer)[0] if may_need_filter(body, line) else answer
    status = None if body is None else response.get("status_code")
    if not isinstance(status, int) or not 100 <= status <= 599:
        text = _error_text(record.get("error"))
        return unsent(text) if text else None
    request_id = _request_id(response)
    headers = {"content-type": "application/json"}
    headers |= {} if request_id is None else {"x-request-id": request_id}
    content = httpx.ByteStream(values.dumps(body))
    reply = httpx.Response(status, headers=headers, stream=content, request=request)
    answer, _, _ = run_without_loop(read_without_secrets(reply, headers, request, NullReceiver()))
    if isinstance(answer.fault, TryLater):
        answer.fault.fix = "run the same command again"  # the rate of this run does not matter
    return answer._replace(engine=JOB_ENGINE, at=at)


def plain_answers(
    lines: Sequence[bytes], fingerprints: Sequence[str], latency_s: float, at: str
) -> PlainAnswers | None:
    """The answers of the results in these lines, to requests with these fingerprints.

    None if one of them is not as nearly all are: answer_of() reads any.
    """
    try:
        ids, custom_ids, responses, _ = _columns([*map(orjson.loads, lines)], _RESULT)
        statuses, request_ids, completions = _columns(responses, _RESPONSE)
        have_ids = {*map(type, ids)} == {str} and "".join(request_ids).isascii()
        is_good = {*statuses} == {200} and all(map(is_plain_text, completions))
    except (TypeError, ValueError):
        return None
    if not have_ids or not is_good or [*custom_ids] != fingerprints:
        return None
    # The id is a text, in which quotes are escaped: it cannot hold this name.
    parts = [line.partition(b'"response":')[2].rpartition(b'"error":') for line in lines]
    texts = [text.rstrip(b", ") for text, _, rest in parts if rest in _NO_ERROR]
    if len(texts) < len(lines) or any(map(may_need_filter, completions, lines)):
        return None
    return PlainAnswers(completions, texts, latency_s, at)


def _columns(records: Sequence[Any], names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The values of each name, in the objects. Raises ValueError or TypeError if one has other names."""
    if {*map(tuple, records)} != {names}:
        raise ValueError(names)
    return zip(*map(dict.values, records), strict=True)


def _is_usual(body: Any) -> bool:
    """Return True for a completion that needs no reading as a reply, as nearly all are."""
    if not is_usual(body):
        return False
    choices = body["choices"]
    is_small = len(choices) == 1 and "tool_calls" not in choices[0]["message"]
    return is_small or not within_limits(body, 1)[1]


def _request_id(response: Mapping[str, Value]) -> str | None:
    request_id = response.get("request_id")
    return request_id if isinstance(request_id, str) and request_id.isascii() else None


def unsent(why: str, fix: str = "") -> Answer:
    """The answer to a request that a job has not answered."""
    return Answer(None, None, SomeFailed(why, Status.SOME_FAILED, fix=fix), attempts=0)


def is_unsent(answer: Answer) -> bool:
    """Return True for what unsent() makes."""
    return not answer.attempts


def _error_text(error: Value) -> str:
    """The reason in an error, which may be a text."""
    if isinstance(error, dict):
        error = ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))
    return secrets.hide(error) if isinstance(error, str) else ""
