"""Text and bytes from outside -> the same, safe to show on a terminal.

A server's answer may contain sequences that move the cursor, rename the window, fill the clipboard
or display a line in a different order than it is stored. Each such character is written as the escape a
programmer would type: `\\x1b` for a character below U+0080, `\\u009b` for one above, `\\xff` for a
byte that is not UTF-8. Backslashes are not escaped: the result is meant for people, not for decoding.
"""

from __future__ import annotations

import codecs
import re

from chatpipe.system import secrets

# C0, DEL and C1; the characters that change the writing direction (UAX #9, revision 50, section 2);
# and surrogates, which cannot be sent to a terminal and which Python uses for bytes that are not
# UTF-8 (PEP 383).
_CONTROLS = "\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
# Patterns stay text: `re` compiles and caches them on first use. Most runs need neither, and
# compiling both takes 0.6 ms, while Python itself starts in 8.
_UNSAFE = f"[\x00-\x08{_CONTROLS}]"
# str.splitlines, and so a program that reads error lines, may break lines at U+2028 and U+2029
_UNSAFE_IN_LINE = f"[\x00-\x0a{_CONTROLS}\u2028\u2029]"

_SERVER_WORDS = 500  # characters of the server's own words that an error line shows

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def escape_controls(text: str) -> str:
    """The text with every control character except newline and tab escaped."""
    return text if text.isascii() and text.isprintable() else re.sub(_UNSAFE, _escape, text)


def escape_in_line(text: str) -> str:
    """The text as one line, with newlines and tabs escaped too. Characters that look alike stay."""
    return text if text.isascii() and text.isprintable() else re.sub(_UNSAFE_IN_LINE, _escape, text)


def one_line(text: str) -> str:
    """The same for error lines and file names.

    Characters that make a name look like another one are escaped as well.
    """
    if text.isascii() and text.isprintable():
        return text
    from chatpipe.inputs.names import show_lookalikes  # few lines need it

    return show_lookalikes(escape_in_line(text))


def shorten(text: str, characters: int = _SERVER_WORDS, *, is_ours: bool = False) -> str:
    """Text for an error line: secrets are hidden, white space is collapsed, a long text ends in `...`.

    is_ours: the text is the user's or ours. All other text is from a server, which may repeat a key.
    """
    line = " ".join(secrets.hide(text, words=not is_ours).split())
    return line if len(line) <= characters else line[: characters - 3] + "..."


def escape_json(text: str) -> str:
    """JSON text with the characters that one_line() escapes as JSON escapes. Its value is unchanged."""
    return re.sub(_UNSAFE_IN_LINE, lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # one byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


class ByteEscaper:
    """escape_controls() for a byte stream that arrives in pieces, cut anywhere.

    The joined result does not depend on the cuts. An incomplete character is buffered, at most three
    bytes, until the next feed() or end().
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> bytes:
        return escape_controls(self._decoder.decode(data)).encode()

    def end(self) -> bytes:
        """Flush the buffer, which can only hold an incomplete character."""
        return escape_controls(self._decoder.decode(b"", final=True)).encode()
