"""Format `text`: the content as it arrives, choice by choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chatpipe.inputs.values import Value
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import RunWriter
from chatpipe.response.completion import (
    choices,
    content_of,
    first_message,
    messages,
    reasoning_of,
    refusal_of,
)
from chatpipe.system.descriptor import Sink


class TextWriter(RunWriter):
    """Choice 0 is streamed; the others are written in order at the end.

    A newline ends each choice, unless the choice has one; with `--null` a NUL does. Reasoning goes where
    `--reasoning` says: `drop`, `stderr` or `only`. The text of a refusal goes to stderr.
    """

    writes_reasoning = True

    def __init__(self, out: Sink, options: FormatOptions, stderr: Callable[[str], None]) -> None:
        super().__init__(out, options, stderr)
        self.reasoning = options.reasoning
        self.last = ""  # the last piece written of the current choice: is a newline missing?
        self.half = ""  # the first half of a surrogate pair that was cut
        self.streamed = False
        self.thought = ""  # the last piece of reasoning on stderr, until its line has ended
        self._held: list[bytes] = []  # pieces that the end follows at once
        self._write: Callable[[bytes], None] = out.write  # bound once: this is called for each chunk

    def chunk(self, payload: bytes, chunk: Mapping[str, Any]) -> None:
        for choice in choices(chunk):
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            self.streamed = True
            text = content_of(delta)
            if self.reasoning != "drop":
                self._write_reasoning(reasoning_of(delta), is_end=bool(text))
            if text and self.reasoning != "only":
                self._write(self._encode(text))

    def expect_end(self) -> None:
        self._write = self._held.append

    @property
    def is_holding(self) -> bool:
        return bool(self._held)

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        several = len(choices(completion)) > 1
        streamed = self.streamed and body is None  # an earlier attempt may have begun to stream
        rest = self._held  # written together: do not wake a reader for a single newline
        for number, message in enumerate(messages(completion)):
            if not (number == 0 and streamed):
                self.last = ""
                rest.append(self._whole(message))
            rest.append(self._encode("", final=True))
            if self.last or several:
                rest.append(self._terminator())
            if refusal := refusal_of(message):
                self.stderr_line(refusal)
        self._write_reasoning("", is_end=True)
        self.out.write(b"".join(rest))

    def _whole(self, message: Mapping[str, Value]) -> bytes:
        reasoning = reasoning_of(message) if self.reasoning != "drop" else ""
        if self.reasoning == "only":
            return self._encode(reasoning)
        self._write_reasoning(reasoning, is_end=True)
        return self._encode(content_of(message) or "")

    def _write_reasoning(self, text: str, *, is_end: bool) -> None:
        """Write a piece of reasoning. is_end: content follows, so a line on stderr ends here."""
        if self.reasoning == "only":
            if text:
                self._write(self._encode(text))
            return
        if text:
            self.thought = text
            self.stderr(text)
        if is_end and self.thought:
            if not self.thought.endswith("\n"):
                self.stderr("\n")
            self.thought = ""

    def _encode(self, text: str, *, final: bool = False) -> bytes:
        """The bytes of a piece of text. Half a surrogate pair at its end is buffered until the next call."""
        self.last = text or self.last
        text = self.half + text
        self.half = ""
        if not final and "\ud800" <= text[-1:] <= "\udbff":
            text, self.half = text[:-1], text[-1]
        return encode_text(text)

    def _terminator(self) -> bytes:
        return terminator(self.options, has_newline=self.last.endswith("\n"))

    @classmethod
    def record(cls, completion: Mapping[str, Value] | None, options: FormatOptions) -> bytes:
        message = {} if completion is None else first_message(completion)
        text = encode_text(content_of(message) or "")
        return text + terminator(options, has_newline=text.endswith(b"\n"))


def encode_text(text: str) -> bytes:
    """The text in UTF-8. Two halves of a surrogate pair become one character, a lone half U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def terminator(options: FormatOptions, *, has_newline: bool) -> bytes:
    """The end of a text: a newline unless it has one, or a NUL."""
    if options.null:
        return b"\0"
    return b"" if has_newline else b"\n"
