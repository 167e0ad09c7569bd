"""Code that must raise one exception, whose line and fields are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(kind: type[BaseException], line: str | None = None, /, **fields: object) -> Iterator[None]:
    """Pass only if the block raises kind, with line as its text, and with these fields."""
    with pytest.raises(kind) as caught:
        yield
    if line is not None:
        assert str(caught.value) == line, f"{caught.value!s} is not {line}"
    for name, expected in fields.items():
        found = getattr(caught.value, name)
        assert found == expected, f"{name} is {found!r}, not {expected!r}"
