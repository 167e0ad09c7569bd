"""File names -> a rule for make that names them, for `include` in a Makefile or ninja's `depfile =`.

The quoting is what GNU make 4.3 was seen to read: its manual leaves most of it out. Ninja 1.11 reads
the same, but for names with `%` and for characters that it takes in no form, such as an apostrophe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from chatpipe.errors import UsageFault

# What no quoting brings through make, and why the user has to find another name.
_UNSAYABLE = (
    (re.compile("\n"), "it has a newline"),
    (re.compile("[\0\t\v\f\r]"), "it has a control character"),
    (re.compile(";"), "it has a ';'"),
    (re.compile(r"\\="), "it has a backslash before a '='"),
    (re.compile(r"[ \\]\Z"), "it ends with a blank or a backslash"),
    (re.compile(r"\A(\./+)*~"), "it begins with a '~'"),
    (re.compile(r"\A[^(]+\(.*\)\Z", re.DOTALL), "it looks like 'library(member)'"),
)


def rule(target: str, prerequisites: Sequence[str]) -> bytes:
    """`target: prerequisites`, and for each of them a rule of its own without a recipe, as `gcc -MP` does.

    Without the latter a file that was deleted or renamed would stop make, though the next run no
    longer asks for it. `-` and what is in /dev (`<(...)` in a shell) are left out: they are gone
    or different when make looks. A name with a `=` gets no rule of its own, for make would read it
    as an assignment. Raises UsageFault for a name that no makefile can hold.
    """
    names = [name for name in dict.fromkeys(prerequisites) if name != "-" and not name.startswith("/dev/")]
    for name in (target, *names):
        for pattern, why in _UNSAYABLE:
            if pattern.search(name):
                raise _unsayable(name, why)
    if "=" in target:
        raise _unsayable(target, "as a target it may have no '='")
    # `target: a=b c` sets a variable, but `target: c a=b` does not; nor does a reference to nothing
    words = [_prerequisite(name) for name in sorted(names, key=lambda name: "=" in name)]
    if words and "=" in words[0]:
        words.insert(0, "$()")
    rules = [" \\\n  ".join((f"{_target(target)}:", *words))]
    rules += [f"{_target(name)}:" for name in names if "=" not in name]
    return os.fsencode("\n\n".join(rules) + "\n")


def _unsayable(name: str, why: str) -> UsageFault:
    return UsageFault(f"make cannot read the name '{name}'", place="--depfile", fix=why)


def _target(name: str) -> str:
    # `a&:` would be the target of a grouped rule, from make 4.3 on
    return _quoted(name, " #:%") + (" " if name.endswith("&") else "")


def _prerequisite(name: str) -> str:
    # `target: word =b` is an assignment again; make and ninja both drop the `./`
    return ("./" if name.startswith("=") else "") + _quoted(name, " #:|")


def _quoted(name: str, special: str) -> str:
    """A backslash before what is special, and before backslashes that would then quote one another."""
    doubled = re.sub(rf"(\\+)(?=[{special}])", r"\1\1", name)
    return re.sub(f"([{special}])", r"\\\1", doubled).replace("$", "$$")
