"""Format `audio`: the audio of an answer as bytes, in the encoding that the request asked for.

Base64 arrives whole or in the pieces of a stream. Servers cut it at any character, or encode each
piece separately. Only the decoded bytes are written, as they arrive. Of several choices the first counts.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs.values import Value
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import FormatWriter
from chatpipe.response.completion import audio_of, choices, content_of, first_message, refusal_of
from chatpipe.system.descriptor import Sink


class Base64Decoder:
    """Base64 cut anywhere -> bytes, as early as they are known. Padding may occur inside.

    feed() and end() raise ValueError for text that is not base64, or is cut short.
    """

    def __init__(self) -> None:
        self._partial = ""  # part of a group of four characters, which encode three bytes

    def feed(self, text: str) -> bytes:
        text = self._partial + text
        whole = len(text) & ~3
        self._partial = text[whole:]
        parts = re.split("(?<==)(?=[^=])", text[:whole]) if "=" in text else [text[:whole]]
        return b"".join(a2b_base64(part, strict_mode=True) for part in parts)

    def end(self) -> bytes:
        """Check that the base64 is complete. Returns no bytes: feed() has returned them all."""
        if self._partial:
            raise ValueError("cut inside a group of four")
        return b""


class AudioWriter(FormatWriter):
    """A writer that decodes the deltas of choice 0 as they come, or the message of the first choice.

    If there is no audio, the text sent instead goes to stderr: it was paid for, and may give the reason.
    end() raises BrokenAnswer for audio that is not base64. An answer in one piece is then not written.
    """

    def __init__(self, out: Sink, options: FormatOptions, stderr: Callable[[str], None]) -> None:
        super().__init__(out, options, stderr)
        self.answer_id: Value = None
        self.wrote = False
        self._reset()

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        answer_id = chunk.get("id")
        if answer_id and answer_id != self.answer_id:
            self.answer_id = answer_id
            if not self.wrote:  # the decoder may hold characters of an attempt that failed
                self._reset()
        for choice in choices(chunk):
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._feed(choice.get("delta"))

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        if body is not None or not self.streamed:
            self._reset()
            message = first_message(completion)
            data = self._decode(audio_of(message))
            if not audio_of(message):
                self._print_text(message)
        else:
            data = b""
        self._decode("", final=True)
        if self.fault is not None:
            raise BrokenAnswer("the audio of the answer is not base64", fix="try again") from self.fault
        self.out.write(data)

    def _print_text(self, message: Mapping[str, Value]) -> None:
        if text := refusal_of(message) or content_of(message):
            self.stderr_line(text)

    def _reset(self) -> None:
        self.decoder = Base64Decoder()
        self.streamed = False  # some of the audio came in a delta
        self.fault: ValueError | None = None

    def _feed(self, delta: Value) -> None:
        if isinstance(delta, dict) and (text := audio_of(delta)):
            self.streamed = True
            if data := self._decode(text):
                self.wrote = True
                self.out.write(data)

    def _decode(self, text: str, *, final: bool = False) -> bytes:
        """Decode text. Whatever follows the first fault has no known position in the audio; it is dropped."""
        if self.fault is None:
            try:
                return self.decoder.end() if final else self.decoder.feed(text)
            except ValueError as error:
                self.fault = error
        return b""
