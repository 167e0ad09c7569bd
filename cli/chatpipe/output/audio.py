"""Format `audio`: the sound of an answer as bytes, in whatever form the request asked for.

Base64 comes whole, or in the pieces of a stream, which servers cut at any character or encode each
for itself; what leaves is the bytes alone, as they come. Of several choices the first counts.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs.values import Value
from chatpipe.output.records import audio_of, choices, content_of, messages
from chatpipe.output.sink import Sink


class Decoder:
    """Base64 that is cut anywhere -> bytes as early as they are known. Padding may stand inside.

    feed() and end() raise ValueError for what is not base64, a text that is cut short among it.
    """

    def __init__(self) -> None:
        self._held = ""  # of a group of four characters, which are three bytes

    def feed(self, text: str) -> bytes:
        text = self._held + text
        whole = len(text) & ~3
        self._held = text[whole:]
        parts = re.split("(?<==)(?=[^=])", text[:whole]) if "=" in text else [text[:whole]]
        return b"".join(a2b_base64(part, strict_mode=True) for part in parts)

    def end(self) -> bytes:
        """Nothing is ever left to give."""
        if self._held:
            raise ValueError("cut inside a group of four")
        return b""


class Audio:
    """Decodes the deltas of choice 0 as they come, or the message of the first choice.

    Where there is no sound, what was said instead goes aside: it was paid for, and may say
    why. end() raises BrokenAnswer for what is not base64; of an answer in one piece nothing is then written.
    """

    def __init__(self, out: Sink, aside: Callable[[str], None]) -> None:
        self.out = out
        self.aside = aside
        self.answer_id: Value = None
        self.wrote = False
        self._forget()

    def raw(self, data: bytes) -> None:
        """Written chunk by chunk."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        answer_id = chunk.get("id")
        if answer_id and answer_id != self.answer_id:
            self.answer_id = answer_id
            if not self.wrote:  # what is held may be of a try that failed
                self._forget()
        for choice in choices(chunk):
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._feed(choice.get("delta"))

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        if body is not None or not self.streamed:
            self._forget()
            message = next(messages(completion), {})
            data = self._decoded(audio_of(message))
            if not audio_of(message):
                self._tell(message)
        else:
            data = b""
        self._decoded("", final=True)
        if self.fault is not None:
            raise BrokenAnswer("the audio of the answer is not base64", fix="try again") from self.fault
        self.out.write(data)

    def _tell(self, message: Mapping[str, Value]) -> None:
        text = message.get("refusal") or content_of(message)
        if isinstance(text, str) and text:
            self.aside(text if text.endswith("\n") else text + "\n")

    def _forget(self) -> None:
        self.decoder = Decoder()
        self.streamed = False  # some of the audio came in a delta
        self.fault: ValueError | None = None

    def _feed(self, delta: Value) -> None:
        if isinstance(delta, dict) and (text := audio_of(delta)):
            self.streamed = True
            if data := self._decoded(text):
                self.wrote = True
                self.out.write(data)

    def _decoded(self, text: str, *, final: bool = False) -> bytes:
        """What follows the first fault has no known place in the sound, and is dropped."""
        if self.fault is None:
            try:
                return self.decoder.end() if final else self.decoder.feed(text)
            except ValueError as error:
                self.fault = error
        return b""
