"""The scripts and files that the manual has for those who run jobs on many machines."""

from __future__ import annotations

import re

from manual import pages


def recipe(beginning: str) -> str:
    """The display of chatpipe-batch(1) that begins with a line."""
    page = pages.plain(pages.source("chatpipe-batch"))
    found = re.findall(rf"^\.Bd .*\n({re.escape(beginning)}(?:.*\n)*?)\.Ed$", page, re.MULTILINE)
    assert len(found) == 1, f"{len(found)} displays begin with {beginning}"
    return str(found[0])
