"""A text that holds an API key -> the key: its first line that is not blank, without white space around it.

    "sk-1\\nlogin: me\\n"         sk-1, as entries of pass have it; of a variable it is refused
    "sk-1\\nsk-2...\\n"           sk-1, and a note: another line may be the key
    {"accessToken": "ey..."}     refused, as every JSON: a part of it is the key
    "sk-1", OPENAI_API_KEY=sk-1  refused: what people copy with the key
    Bearer sk-1                  refused: the server would get the word twice

Errors and notes never contain a part of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from chatpipe.errors import NoAccess
from chatpipe.options.server import KeySource
from chatpipe.system import secrets

ONE_LINE = "give one line of printable ASCII"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_QUOTED = re.compile(r"(?P<quote>[\"'`]).+(?P=quote)")
# The names of such variables end so. After base64 a sign of equality is the last character or stands twice.
_ASSIGNMENT = re.compile(r"(?:(?:export|set)\s+)?\w*(?:KEY|TOKEN|SECRET)\s*=\s*[^=\s]", re.IGNORECASE)
_HEADER = re.compile(r"(?:(?:proxy-)?authorization|x-api-key|api-key)\s*:|bearer\s", re.IGNORECASE)
# What follows the password in an entry of pass has a label, blanks, or a URL.
_LIKE_A_KEY = re.compile(r"[\w.+/=-]{16,}", re.ASCII)
_REFERENCE = re.compile(r"\$\{?\w+\}?|\$\(.*\)|<.*>|%\w+%")
# Members that hold the key in the output of common commands.
_MEMBERS = (
    "accessToken",
    "access_token",
    "token",
    "key1",
    "SecretString",
    "api_key",
    "apiKey",
    "key",
    "value",
)


def key_in(text: str, source: KeySource, note: Callable[[str], None]) -> str:
    """The key in the text of a source; from now on it is hidden.

    note gets a line if another one may be the key: the first is blank, or a later one looks like a key.
    Raises NoAccess for a text that is no key, with the source as place.
    """
    text = text.removeprefix("\ufeff")
    is_first_blank = not _LINE_ENDS.split(text, maxsplit=1)[0].strip()
    text = text.strip()
    lines = [each for line in _LINE_ENDS.split(text) if (each := line.strip())]
    key = lines[0] if lines else ""
    secrets.add(key)
    if why := _refusal(text, key, source):
        what, fix = why
        raise NoAccess(what, place=source.place, fix=fix)
    if len(lines) > 1:
        if source.variable is not None:
            raise NoAccess("the key has several lines", place=source.place, fix="set the first line alone")
        if is_first_blank or any(map(_LIKE_A_KEY.fullmatch, lines[1:])):
            note(f"{source.place}: the first of {len(lines)} lines is taken as the key")
    return key


def _refusal(text: str, key: str, source: KeySource) -> tuple[str, str] | None:
    """The reason why a text holds no key, and what to do; None if it holds one."""
    if not key:
        return "the key is empty", ""
    if text[0] in "{[":
        return "the text is JSON, not the key alone", _json_fix(text, source)
    if _QUOTED.fullmatch(key):
        return "the key is in quotes", _quote_fix(key, source)
    if _ASSIGNMENT.match(key):
        return "the text is an assignment, not the key alone", "leave out all up to the key"
    if _HEADER.match(key):
        return "the text is a header, not the key alone", "leave out all up to the key, or use --header-file"
    if _REFERENCE.fullmatch(key):
        return "the text is a placeholder, not a key", "give the key itself"
    if " " in key and key.isprintable():
        return "the first line has more than the key", "give the key alone, without a comment or a name"
    if not (key.isascii() and key.isprintable()):
        return "the key has characters that no key has", ONE_LINE
    return None


def _json_fix(text: str, source: KeySource) -> str:
    member = next((each for each in _MEMBERS if re.search(rf'"{each}"\s*:\s*"', text)), None)
    if source.way.names != "command":
        return "give the key alone, without the JSON around it"
    if _runs("az", source.value):
        return f"append --query {member or 'accessToken'} -o tsv"
    return f"print the key alone, as by: jq -r .{member or 'FIELD'}"


def _quote_fix(key: str, source: KeySource) -> str:
    if source.way.names != "command":
        return "leave them out"
    if _runs("az", source.value):
        return "append -o tsv"
    return "print it without them" + (", as by: jq -r ." if key[0] == '"' else "")


def _runs(program: str, command: str) -> bool:
    """True if a command runs a program, itself or by a shell."""
    return re.search(rf"(?:^|[\s/;|&'\"(]){program}(?=\s|$)", command) is not None
