"""A built request -> the messages that a transcript stores: those from the command line."""

from chatpipe.errors import UsageFault
from chatpipe.inputs.values import Value
from chatpipe.request.build import HEAD_ROLES, BuiltRequest


def new_messages(built: BuiltRequest, *, is_new_transcript: bool) -> list[Value]:
    """The messages of options and the prompt as they are sent, with content parts and `--set` applied.

    Messages read from files are left out. System and developer messages at the head are included only
    for a new transcript, as its first lines; in later calls they apply to that call alone.
    """
    messages = built.body.get("messages")
    if not isinstance(messages, list):
        return []
    typed = [isinstance(built.origins.get(f"/messages/{index}"), str) for index in range(len(messages))]
    head = next((i for i, message in enumerate(messages) if not _is_head(message)), len(messages))
    after_read = max((index + 1 for index, is_typed in enumerate(typed) if not is_typed), default=0)
    first = [messages[index] for index in range(head) if typed[index]] if is_new_transcript else []
    return first + messages[max(head, after_read) :]


def refuse_unstorable(built: BuiltRequest) -> None:
    """Raise UsageFault for requests that a transcript cannot store: several choices, or all messages set."""
    choices = built.body.get("n")
    if choices is not None and choices != 1:
        raise UsageFault(
            f"a transcript goes on with one answer, not {choices}",
            place=built.place("/n"),
            fix="leave out --n, or --transcript",
        )
    if "/messages" in built.origins:
        raise UsageFault(
            "'messages' as a whole cannot be set beside --transcript",
            place=built.place("/messages"),
            fix="use --messages, or leave out --transcript",
        )


def _is_head(message: Value) -> bool:
    return isinstance(message, dict) and message.get("role") in HEAD_ROLES
