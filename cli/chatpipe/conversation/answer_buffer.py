"""A buffer for the pieces of an answer, until it is known to be the one that is written."""

from collections.abc import Mapping
from typing import Literal

from chatpipe.conversation.loop import Conversation, converse
from chatpipe.conversation.turns import TurnRules
from chatpipe.exchange import Hooks, SendRequest
from chatpipe.inputs.values import Value
from chatpipe.system.signals import release_signals
from chatpipe.wire.answer import Receiver


class AnswerBuffer(Hooks):
    """A receiver that buffers. Nothing has been written yet, so an interrupted attempt can be repeated."""

    started = False
    takes: Literal["bytes"] = "bytes"

    def __init__(self) -> None:
        self._pieces: list[bytes | tuple[bytes, Mapping[str, Value]]] = []

    def before_attempt(self) -> None:
        """Discard the buffer. Another attempt or the next turn replaces what came before."""
        release_signals()  # held since the last turn
        self._pieces.clear()

    def raw(self, data: bytes) -> None:
        self._pieces.append(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        self._pieces.append((payload, chunk))

    def expect_end(self) -> None:
        """Do nothing: every chunk waits."""

    def replay(self, receiver: Receiver) -> None:
        """Pass everything to receiver, in the order of arrival. The end must follow."""
        receiver.expect_end()
        for piece in self._pieces:
            if isinstance(piece, bytes):
                receiver.raw(piece)
            else:
                receiver.chunk(*piece)


async def converse_buffered(
    body: dict[str, Value], send: SendRequest, rules: TurnRules, buffer: AnswerBuffer
) -> Conversation:
    """Ask until an answer is final. buffer holds the pieces of the last attempt of the last turn."""
    return await converse(body, lambda turn: send(turn, buffer, buffer), rules)
