"""Tests of limits of time that pass on a machine of any speed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import pytest

_FACTORS = (1, 4, 16)

P = ParamSpec("P")


def at_any_speed(test: Callable[Concatenate[int, P], None]) -> Callable[P, None]:
    """A test of a limit of time, whose first argument is a factor for all its times.

    The factor is 1. A machine that is slow at that moment can make such a test fail, and so it is tried
    again with 4, and then with 16. A fault of the program makes it fail each time.
    """

    @functools.wraps(test)
    def tried(*arguments: P.args, **named: P.kwargs) -> None:
        for factor in _FACTORS[:-1]:
            try:
                return test(factor, *arguments, **named)
            except (Exception, pytest.fail.Exception):
                continue
        return test(_FACTORS[-1], *arguments, **named)

    signature = inspect.signature(test)
    parameters = list(signature.parameters.values())[1:]
    tried.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return tried
