"""A feature's value as people know it: a category's label, not its code."""

from __future__ import annotations

import math

from services.api.results.plots.numbers import plain
from shared.models.contract import Feature, Kind


def is_category(feature: Feature) -> bool:
    """Whether the feature's values are codes."""
    return feature.kind is Kind.CATEGORY


def value_text(feature: Feature, value: float, decimals: int = 3) -> str:
    """Return a value as a plot shows it: the label of a category's code, else the number."""
    if not is_category(feature) or math.isnan(value):
        return plain(value, decimals)
    code = round(value)
    if 0 <= code < len(feature.labels):
        return str(feature.labels[code])
    return f"code {code}"  # the model knows no label for it
