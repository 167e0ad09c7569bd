"""Tables of cases: one row a case, under the name that pytest shows for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def cases(names: str | tuple[str, ...], rows: Mapping[str, Any]) -> pytest.MarkDecorator:
    """Parametrize a test by rows: the key is the id, the value holds the arguments.

    names are the parameters, separated by commas. A value is a tuple of one item a parameter, or the
    argument itself where there is one parameter.
    """
    return pytest.mark.parametrize(names, list(rows.values()), ids=list(rows))
