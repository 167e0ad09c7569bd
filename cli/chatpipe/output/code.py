"""Format `code`: the first fenced code block of each choice."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value
from chatpipe.options.output import FormatOptions
from chatpipe.output.formats import RunWriter
from chatpipe.output.text import encode_text, terminator
from chatpipe.response.code_block import first_code_block
from chatpipe.response.completion import choices, content_of, first_message, messages, refusal_of


class CodeWriter(RunWriter):
    """Nothing is written before the end. Of a choice without a code block the whole text is.

    Whoever calls decides where the text then goes, because it is a mismatch. Each choice ends as in the
    format `text`, and the text of a refusal goes to stderr.
    """

    def end(self, completion: Mapping[str, Value], body: bytes | None) -> None:
        several = len(choices(completion)) > 1
        codes: list[bytes] = []
        for message in messages(completion):
            code = _code(message)
            codes.append(code)
            if code or several:
                codes.append(terminator(self.options, has_newline=code.endswith(b"\n")))
            if refusal := refusal_of(message):
                self.stderr_line(refusal)
        self.out.write(b"".join(codes))

    @classmethod
    def record(cls, completion: Mapping[str, Value] | None, options: FormatOptions) -> bytes:
        code = _code({} if completion is None else first_message(completion))
        return code + terminator(options, has_newline=code.endswith(b"\n"))


def _code(message: Mapping[str, Value]) -> bytes:
    text = content_of(message) or ""
    code = first_code_block(text)
    return encode_text(text if code is None else code)
