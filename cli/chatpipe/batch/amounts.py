"""Amounts of a run in few characters: its speed, its tokens, its cost and its time."""

from __future__ import annotations

_SMALLEST_COST = 0.0001


def speed_text(speed: float) -> str:
    """A speed in lines a second; a minute or an hour if that is less than one."""
    unit, count = "s", speed
    if count < 0.95:  # what is more is shown as 1.0
        unit, count = "min", speed * 60
    if count < 0.95:
        unit, count = "h", speed * 3600
    return f"{count:.0f}/{unit}" if count >= 9.95 else f"{count:.1f}/{unit}"


def tokens_text(count: int) -> str:
    """A number of tokens with at most three digits: `1 token`, `999 tokens`, `21k tokens`, `1.24M tokens`."""
    if count < 1000:
        return f"{count} token{'' if count == 1 else 's'}"
    number, units = float(f"{count:.3g}"), iter("kMGTP")
    unit = ""
    while number >= 1000 and (larger := next(units, "")):
        number, unit = number / 1000, larger
    return f"{number:.3g}{unit} tokens"


def cost_text(cost: float, currency: str) -> str:
    """A cost: `12.30 USD`, `0.012 USD`, `<0.0001 USD`."""
    if 0 < cost < _SMALLEST_COST:
        return f"<{_SMALLEST_COST} {currency}"
    return f"{cost:.2f} {currency}" if cost >= 1 else f"{cost:.2g} {currency}"


def duration_text(seconds: float) -> str:
    """A time: `0.4 s`, `22 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
