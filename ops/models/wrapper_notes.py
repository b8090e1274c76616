"""Reads the notes of XGBoost 1.x's scikit-learn wrappers in a model file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def noted_missing(attributes: Mapping[str, str]) -> tuple[float, ...]:
    """Return the number that the file says means "missing", if it says so and that is not NaN."""
    try:
        noted = json.loads(attributes.get("scikit_learn", "{}")).get("missing")
    except (ValueError, AttributeError):
        return ()
    if isinstance(noted, bool) or not isinstance(noted, int | float) or not math.isfinite(noted):
        return ()
    return (float(noted),)
