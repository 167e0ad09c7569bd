"""One attempt of a client: a request for a completion, and how its reply ended. Pure: times are passed in.

Attempts of one body belong together, because a client that tries again sends the same body again.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal

import orjson

from chatpipe.inputs.values import Value
from chatpipe.local.chat_body import ChatBody
from chatpipe.response.delays import delay_until, parse_number

# How a reply ended.
#   running    it has not ended
#   answered   a good answer, sent whole
#   spoiled    sent whole, but a fault changed it: who asks again has a reason
#   cut        it began, and its end is missing
#   refused    a status of 400 or more
#   lost       nothing of it was sent
#   left       the client closed the connection before the end
#   stopped    the server was stopped before the end
Outcome = Literal["running", "answered", "spoiled", "cut", "refused", "lost", "left", "stopped"]

Headers = tuple[tuple[str, str], ...]

KEY_BYTES = 12
_MOST_KEPT = 1024  # bytes of a body that is its own key
_TEXT_CHARS = 60
_BEGINNING = 4 * _TEXT_CHARS
# Refusals that another attempt may change. 425 is `Too Early` of RFC 8470.
_PASSING = frozenset({408, 409, 425, 429})
_NEW_KEY_MAY_HELP = frozenset({401, 403})
_BUSY = frozenset({429, 503, 529})


class Attempt:
    """An attempt. Times are monotonic seconds; ended is the beginning as long as it is running.

    wait_s are the seconds that a refusal asks the client to wait, None without such words. stalled_s is the
    length of the longest pause in the reply.
    """

    __slots__ = (
        "_no_retry",
        "began",
        "credential",
        "ended",
        "key",
        "outcome",
        "stalled_s",
        "status",
        "wait_s",
    )

    def __init__(self, key: bytes, began: float, credential: int) -> None:
        self.key = key
        self.began = self.ended = began
        self.credential = credential
        self.outcome: Outcome = "running"
        self.status = 0
        self.wait_s: float | None = None
        self.stalled_s = 0.0
        self._no_retry = False

    def end(self, outcome: Outcome, status: int, headers: Headers, now: float, unix_now: float) -> None:
        """Note how the reply with this status and these headers ended. now is monotonic."""
        self.outcome, self.status, self.ended = outcome, status, now
        if outcome == "refused":
            sent = dict(headers)
            self.wait_s = _named_wait_s(sent, unix_now)
            self._no_retry = sent.get("x-should-retry") == "false"

    @property
    def is_busy(self) -> bool:
        """True if the server said that it has too much to do."""
        return self.outcome == "refused" and self.status in _BUSY

    @property
    def due(self) -> float:
        """The time from which on the client may try again."""
        return self.ended + (self.wait_s or 0.0)

    def is_final_for(self, credential: int) -> bool:
        """Return True if the refusal stays the same for another attempt with this credential."""
        if self.outcome != "refused" or self.status >= 500:
            return False
        if self.status in _NEW_KEY_MAY_HELP and credential != self.credential:
            return False
        return self._no_retry or self.status not in _PASSING


def body_key(body: ChatBody) -> bytes:
    """A key that is the same for equal JSON: its text with sorted names, or the digest of a long one."""
    try:
        text = orjson.dumps(body.value, option=orjson.OPT_SORT_KEYS) if body.fault is None else body.data
    except (TypeError, ValueError, RecursionError):
        text = body.data
    return text if len(text) <= _MOST_KEPT else digest_of(text)


def digest_of(key: bytes) -> bytes:
    """A key of KEY_BYTES for one of any length."""
    return key if len(key) == KEY_BYTES else blake2b(key, digest_size=KEY_BYTES).digest()


def beginning_of(body: ChatBody) -> str:
    """The beginning of its last user message, empty if it has none. It is longer than first_words()."""
    messages = body.value.get("messages") if isinstance(body.value, dict) else None
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            return _text_of(message.get("content"))[:_BEGINNING]
    return ""


def credential_of(headers: Mapping[bytes, bytes]) -> int:
    """A number that is the same for the same key."""
    return hash((headers.get(b"authorization"), headers.get(b"api-key")))


def first_words(beginning: str) -> str:
    """The first words of a text, on one line."""
    text = " ".join(beginning.split())
    return text if len(text) <= _TEXT_CHARS else f"{text[: _TEXT_CHARS - 3]}..."


def _text_of(content: Value) -> str:
    """The content of a message, or the first text part of it."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = next((text for text in parts if isinstance(text, str)), "")
    return content if isinstance(content, str) else ""


def _named_wait_s(headers: Mapping[str, str], unix_now: float) -> float | None:
    """The shortest wait that the headers of a refusal name, in seconds."""
    milliseconds = parse_number(headers.get("retry-after-ms"))
    seconds = delay_until(headers.get("retry-after", ""), unix_now)
    waits = (None if milliseconds is None else milliseconds / 1000, seconds)
    return min((wait for wait in waits if wait is not None and wait >= 0), default=None)
