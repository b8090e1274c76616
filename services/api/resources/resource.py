"""What the resources have in common."""

from __future__ import annotations

from services.api.components import Components


class Resource:
    """Answers requests to one address. Its attribute `access` is the right that they need."""

    def __init__(self, components: Components) -> None:
        self._components = components
