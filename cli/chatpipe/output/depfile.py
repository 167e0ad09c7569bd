"""File names -> a make rule that lists them, for `include` in a Makefile or ninja's `depfile =`.

The quoting follows what GNU make 4.3 reads in experiments, because its manual leaves most of it out.
Ninja 1.11 reads the same, except for names with `%` or `[` and for characters that it accepts in no form,
such as an apostrophe or a `*`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from chatpipe.errors import UsageFault

# Names that no quoting carries through make, and the reason given to the user.
_UNQUOTABLE = (
    (re.compile("\n"), "it has a newline"),
    (re.compile("[\0\t\v\f\r]"), "it has a control character"),
    (re.compile(";"), "it has a ';'"),
    (re.compile(r"\\="), "it has a backslash before a '='"),
    (re.compile(r"[ \\]\Z"), "it ends with a blank or a backslash"),
    (re.compile(r"\A(\./+)*~"), "it begins with a '~'"),
    (re.compile(r"\A[^(]+\(.*\)\Z", re.DOTALL), "it looks like 'library(member)'"),
)


def rule(target: str, prerequisites: Sequence[str]) -> bytes:
    """`target: prerequisites`, and an empty rule for each prerequisite, as `gcc -MP` writes.

    Without the empty rules, a file that was deleted or renamed would stop make, even if the next run
    no longer needs it. `-` and files in /dev (`<(...)` in a shell) are omitted, because they are gone
    or different when make looks. A name with a `=` gets no empty rule, because make would read it as
    an assignment. Raises UsageFault for a name that no makefile can contain.
    """
    names = [name for name in dict.fromkeys(prerequisites) if name != "-" and not name.startswith("/dev/")]
    for name in (target, *names):
        for pattern, reason in _UNQUOTABLE:
            if pattern.search(name):
                raise _unquotable(name, reason)
    if "=" in target:
        raise _unquotable(target, "as a target it may have no '='")
    # `target: a=b c` sets a variable, but `target: c a=b` does not, and neither does `target: $() a=b`
    words = [_prerequisite(name) for name in sorted(names, key=lambda name: "=" in name)]
    if words and "=" in words[0]:
        words.insert(0, "$()")
    rules = [" \\\n  ".join((f"{_target(target)}:", *words))]
    rules += [f"{_target(name)}:" for name in names if "=" not in name]
    return os.fsencode("\n\n".join(rules) + "\n")


def _unquotable(name: str, reason: str) -> UsageFault:
    return UsageFault(f"make cannot read the name '{name}'", place="--depfile", fix=reason)


def _target(name: str) -> str:
    # since make 4.3, `a&:` is the target of a grouped rule
    return _quoted(name, " #:%") + (" " if name.endswith("&") else "")


def _prerequisite(name: str) -> str:
    # `target: word =b` is an assignment, too; both make and ninja drop the `./`
    return ("./" if name.startswith("=") else "") + _quoted(name, " #:|")


def _quoted(name: str, special: str) -> str:
    """The name with special characters escaped, and the backslashes in front of them doubled.

    make expands a name with `*`, `?` or `[` as a pattern, in which every backslash escapes.
    """
    literal = re.sub(r"([*?[\\])", r"\\\1", name) if re.search("[*?[]", name) else name
    doubled = re.sub(rf"(\\+)(?=[{special}])", r"\1\1", literal)
    return re.sub(f"([{special}])", r"\\\1", doubled).replace("$", "$$")
