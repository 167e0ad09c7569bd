"""Refuse a command that uses one file twice, if one use would destroy what the other one needs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from chatpipe.errors import UsageFault
from chatpipe.options.files import FileUse, Role
from chatpipe.system.same_file import identify

# The pairs of roles that may have one file. Every other pair is refused.
_MAY_SHARE: frozenset[frozenset[Role]] = frozenset(
    frozenset(pair)
    for pair in (
        ("reads", "reads"),
        ("reads", "reuses"),
        ("reuses", "reuses"),
        ("reuses", "results"),  # OUT and its journal are read for answers anyway
        ("reads", "prints"),  # `ask < notes >> notes`: all is read before the first byte is written
        ("reads", "notes"),
        ("reads", "replays"),
        ("replays", "records"),  # use and add
    )
)
_READERS = ("reads", "reuses", "replays")


def refuse_shared_files(uses: Iterable[FileUse]) -> None:
    """Raise UsageFault for two uses of one file that _MAY_SHARE does not have. The later one is the place."""
    taken: dict[Hashable, list[tuple[FileUse, int | None]]] = {}
    for use in uses:
        key, descriptor = identify(use.path)
        if descriptor is not None and use.role not in _READERS:
            _take(taken, ("descriptor", descriptor), use, descriptor)
        if key is not None:
            _take(taken, key, use, descriptor)


def _take(
    taken: dict[Hashable, list[tuple[FileUse, int | None]]],
    key: Hashable,
    use: FileUse,
    descriptor: int | None,
) -> None:
    others = taken.setdefault(key, [])
    for other, its_descriptor in others:
        if frozenset((use.role, other.role)) in _MAY_SHARE:
            continue
        if descriptor is not None and its_descriptor is not None and _may_mix(use, other, key):
            continue
        raise UsageFault(
            f"{use.subject} is {other.title}, too", place=use.option, fix="write to another file"
        )
    others.append((use, descriptor))


def _may_mix(use: FileUse, other: FileUse, key: Hashable) -> bool:
    """Return True if two uses write through descriptors, which the shell gave one file: `>log 2>&1`.

    One descriptor cannot have two uses, except stderr.
    """
    if use.role in _READERS or other.role in _READERS:
        return False
    return "notes" in (use.role, other.role) or not (isinstance(key, tuple) and key[0] == "descriptor")
