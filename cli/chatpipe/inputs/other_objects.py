"""JSON objects that are no request, or no message -> what they are, and the command that takes them.

People give them to -r, --messages, --transcript, `batch` and `check`. They are recognized by their members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.inputs.stdin import STDIN, STDIN_NAME
from chatpipe.inputs.text_decoder import with_name
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

_SHOW, _SHOW_MESSAGE = "chatpipe show FILE prints it", "get the message with chatpipe show -f message FILE"
_BATCH = "send it with chatpipe batch FILE"


class OtherObject(NamedTuple):
    """A kind of object, by its members. what names it, fix is the advice for a FILE and may be empty."""

    members: tuple[str, ...]
    what: str
    fix: str

    def fix_for(self, name: str) -> str:
        """The advice for an input of this name."""
        if name == STDIN_NAME:
            return self.fix.replace("jq .body FILE", "jq .body").replace("FILE", STDIN)
        return with_name(self.fix, name)


_RECORDS = (
    OtherObject(("chatpipe_journal",), "the head of a journal", "chatpipe show FILE prints its answers"),
    OtherObject(
        ("request", "response"), "a recorded exchange", "chatpipe ask --replay FILE answers its request"
    ),
    OtherObject(("outcomes", "requests_per_s"), "the report of a run", ""),
)
_LINES = (
    OtherObject(
        ("body",),
        "a Batch line",
        f"{_BATCH}, or get the request with jq .body FILE",
    ),
    OtherObject(("prompt",), "a row with a prompt", _BATCH),
)
_NO_REQUESTS = (
    *_RECORDS,
    OtherObject(("custom_id", "response"), "a result of a run", _SHOW),
    OtherObject(("choices",), "an answer", _SHOW),
    OtherObject(("role",), "a message", "send it with chatpipe ask --messages FILE"),
)
_NO_MESSAGES = (
    OtherObject(("messages",), "a request", "send it with -r FILE"),
    OtherObject(("body",), "a Batch line", _BATCH),
    OtherObject(("prompt",), "a row with a prompt", _BATCH),
    *_RECORDS,
    OtherObject(("custom_id", "response"), "a result of a run", _SHOW_MESSAGE),
    OtherObject(("choices",), "an answer", _SHOW_MESSAGE),
)


def no_request(value: Mapping[str, Value], *, may_be_line: bool) -> OtherObject | None:
    """The kind of an object without messages; None if it is not known. may_be_line: the input has lines."""
    return _first(value, _NO_REQUESTS if may_be_line else (*_LINES, *_NO_REQUESTS))


def no_message(value: Mapping[str, Value]) -> OtherObject | None:
    """The kind of an object without a role; None if it is not known."""
    return _first(value, _NO_MESSAGES)


def _first(value: Mapping[str, Value], kinds: Sequence[OtherObject]) -> OtherObject | None:
    return next((kind for kind in kinds if all(name in value for name in kind.members)), None)
