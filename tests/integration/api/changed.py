"""The application's components with some of them replaced."""

from __future__ import annotations

import copy
from typing import Any

from services.api.components import Components


def changed(components: Components, **replaced: Any) -> Components:
    """Return a copy of the components with other attributes."""
    other = copy.copy(components)
    for name in ("submission", "responses"):  # made of the others
        vars(other).pop(name, None)
    vars(other).update(replaced)
    return other
