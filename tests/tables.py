"""Tables of cases whose keys are the ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def table(names: str | tuple[str, ...], rows: Mapping[str, Any]) -> pytest.MarkDecorator:
    """A case for each row: a tuple with a value for each name, or the value of the only name."""
    return pytest.mark.parametrize(names, list(rows.values()), ids=list(rows))
