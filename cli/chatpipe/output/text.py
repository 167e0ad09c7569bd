"""Format `text`: the content as it comes, choice by choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chatpipe.inputs.values import Value
from chatpipe.output.records import choices, content_of, messages, reasoning_of
from chatpipe.output.sink import Sink


class Text:
    """Choice 0 streams; the others wait for their turn, held here, and follow in order.

    Each choice is ended by a newline unless it has one, or by a NUL. reasoning is `drop`, `stderr`
    or `only`; a refusal's text goes aside.
    """

    def __init__(self, out: Sink, null: bool, reasoning: str, aside: Callable[[str], None]) -> None:
        self.out = out
        self.null = null
        self.reasoning = reasoning
        self.aside = aside
        self.last = ""  # the last piece of choice 0 that was written, to know whether a newline is wanting
        self.half = ""  # the first half of a character that came in two
        self.streamed = False
        self.has_reasoned = False

    def raw(self, data: bytes) -> None:
        """Written chunk by chunk."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Any]) -> None:
        for choice in choices(chunk):
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            self.streamed = True
            if self.reasoning != "drop":
                self._reason(reasoning_of(delta))
            if self.reasoning != "only" and (text := content_of(delta)):
                self.out.write(self._encoded(text))

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        several = len(choices(completion)) > 1
        streamed = self.streamed and body is None  # a try before this answer may have begun to stream
        rest = b""  # written at once: a reader is not woken for a newline alone
        for number, message in enumerate(messages(completion)):
            if not (number == 0 and streamed):
                self.last = ""
                rest += self._whole(message)
            rest += self._encoded("", final=True)
            if self.last or several:
                rest += self._terminator()
            if isinstance(refusal := message.get("refusal"), str) and refusal:
                self.aside(refusal if refusal.endswith("\n") else refusal + "\n")
        self.out.write(rest)
        if self.has_reasoned:
            self.aside("\n")

    def _whole(self, message: Mapping[str, Value]) -> bytes:
        reasoning = reasoning_of(message) if self.reasoning != "drop" else ""
        if self.reasoning == "only":
            return self._encoded(reasoning)
        self._reason(reasoning)
        return self._encoded(content_of(message) or "")

    def _reason(self, text: str) -> None:
        if text and self.reasoning == "only":
            self.out.write(self._encoded(text))
        elif text:
            self.has_reasoned = True
            self.aside(text)

    def _encoded(self, text: str, *, final: bool = False) -> bytes:
        """The bytes of a piece of text. Half a surrogate pair at its end waits for the other half."""
        self.last = text or self.last
        text = self.half + text
        self.half = ""
        if not final and "\ud800" <= text[-1:] <= "\udbff":
            text, self.half = text[:-1], text[-1]
        try:
            return text.encode()
        except UnicodeEncodeError:  # halves that came apart are one character; one alone has no bytes
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return whole.encode()

    def _terminator(self) -> bytes:
        if self.null:
            return b"\0"
        return b"" if self.last.endswith("\n") else b"\n"
