"""Numbers and feature values as plots show them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shared.models.contract import Feature, Kind

type Floats = NDArray[np.float64]
type Whole = NDArray[np.int64]

#: Numbers from _LARGE on, and those below _SMALL, are shown with a power of ten.
_LARGE, _SMALL = 1e7, 1e-5
#: The same for ticks, which must differ: dates such as 20260131 and seconds since 1970 are shown in full.
_LONG = 1e10


def plain(value: float, decimals: int = 2) -> str:
    """Return a number with this many decimals, or more for a small number."""
    if math.isnan(value):
        return "missing"
    value += 0.0  # no minus before a zero
    size = abs(value)
    if size >= _LARGE or 0 < size < _SMALL:
        return _typeset(f"{value:.2e}")
    small = 0 if size >= 1 or size == 0 else 1 - math.floor(math.log10(size))
    return _typeset(f"{value:.{max(decimals, small)}f}".rstrip("0").rstrip("."))


def told_apart(value: float, step: float) -> str:
    """Return a number with enough digits to differ from others that are `step` away."""
    size = max(abs(value), step)
    if not (math.isfinite(size) and step > 0):
        return plain(value)
    place = math.floor(math.log10(step)) - 1  # of the last digit that counts: steps of 2.5 have two
    if size < _LONG and (step >= _SMALL or size >= 1):
        text = f"{value + 0.0:.{max(0, -place)}f}"
        return _typeset(text.rstrip("0").rstrip(".") if "." in text else text)
    digits = min(max(2, math.floor(math.log10(size)) - place), 15)
    return _typeset(f"{value + 0.0:.{digits}e}" if value else "0")


def signed(value: float) -> str:
    """Return a number with its sign."""
    return plain(value) if value < 0 else f"+{plain(value)}"


def value_text(feature: Feature, value: float) -> str:
    """Return a feature's value: the label of a category's code, else the number."""
    if feature.kind is not Kind.CATEGORY or math.isnan(value):
        return plain(value, decimals=3)
    code = round(value)
    return str(feature.labels[code]) if 0 <= code < len(feature.labels) else f"code {code}"


def _typeset(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
