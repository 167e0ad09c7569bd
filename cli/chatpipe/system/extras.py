"""The extras of the package: libraries that few users need."""

from __future__ import annotations


def installation(extra: str) -> str:
    """The fix for a library that is missing.

    No command of one installer works for the others, so the manual has them all.
    """
    return f"install the extra '{extra}', see EXTRAS in chatpipe(1)"
