"""Features for specs of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.models.contract import Feature, Kind

if TYPE_CHECKING:
    from shared.models.contract import Label


def numbers(*names: str) -> tuple[Feature, ...]:
    """Return features that are numbers."""
    return tuple(map(Feature, names))


def category(name: str, *labels: Label) -> Feature:
    """Return a category; without labels it takes codes."""
    return Feature(name, Kind.CATEGORY, labels)
