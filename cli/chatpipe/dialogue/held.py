"""The pieces of an answer, held back until it is known whether it is the one that is written."""

from collections.abc import Mapping

from chatpipe.dialogue.converse import Rules, Talk, converse
from chatpipe.exchange import Ask, Receiver, World
from chatpipe.inputs.values import Value


class Held:
    """A receiver that keeps what it is told. Nothing of it has left, so a try that broke off is repeated."""

    started = False

    def __init__(self) -> None:
        self._pieces: list[bytes | tuple[bytes, Mapping[str, Value]]] = []

    async def begin(self) -> None:
        """Another try, or the next turn: what came before is not the answer."""
        self._pieces.clear()

    def raw(self, data: bytes) -> None:
        self._pieces.append(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        self._pieces.append((payload, chunk))

    def play(self, receiver: Receiver) -> None:
        """Hand everything on, in the order in which it came."""
        for piece in self._pieces:
            if isinstance(piece, bytes):
                receiver.raw(piece)
            else:
                receiver.chunk(*piece)


async def follow(body: dict[str, Value], world: World, ask: Ask, rules: Rules) -> tuple[Talk, Held]:
    """Ask until an answer is final. The pieces are those of the last try of the last turn."""
    held = Held()
    before = world.before

    async def begin() -> None:
        await held.begin()
        if before is not None:
            await before()

    holding = world._replace(before=begin)
    return await converse(body, lambda turn: ask(turn, holding, held), rules), held
