"""Numbers as plots show them."""

from __future__ import annotations

import math

#: Beyond this many digits before the point, and below so many behind it, powers of ten read better.
_LARGE, _SMALL = 1e7, 1e-5
#: The same for numbers that must be told apart: dates as 20260131 and seconds since 1970 stand whole.
_LONG = 1e10


def plain(value: float, decimals: int = 2) -> str:
    """Return a number with so many decimals, more for a small one, and a minus sign that is one."""
    if math.isnan(value):
        return "missing"
    value += 0.0  # no minus before a zero
    size = abs(value)
    if size >= _LARGE or 0 < size < _SMALL:
        text = f"{value:.2e}"
    else:
        small = 0 if size >= 1 or size == 0 else 1 - math.floor(math.log10(size))
        text = f"{value:.{max(decimals, small)}f}".rstrip("0").rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")


def told_apart(value: float, step: float) -> str:
    """Return a number with as many digits as tell it from others that are `step` away."""
    size = max(abs(value), step)
    if not (math.isfinite(size) and step > 0):
        return plain(value)
    place = math.floor(math.log10(step)) - 1  # of the last digit that counts: steps of 2.5 have two
    if size < _LONG and (step >= _SMALL or size >= 1):
        text = f"{value + 0.0:.{max(0, -place)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        digits = min(max(2, math.floor(math.log10(size)) - place), 15)
        text = f"{value + 0.0:.{digits}e}" if value else "0"
    return text.replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """Return the same, with a plus where it is one."""
    return plain(value) if value < 0 else f"+{plain(value)}"
