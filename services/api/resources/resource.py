"""The base class of the resources."""

from __future__ import annotations

from services.api.components import Components
from services.api.http.authentication import Access


class Resource:
    """Answers requests to one address, if they have the right `access`."""

    access: Access

    def __init_subclass__(cls, *, access: Access) -> None:
        cls.access = access

    def __init__(self, components: Components) -> None:
        self._components = components
