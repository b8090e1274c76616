"""Whether the server reads the body of a request, decided by its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.api.capacity.disk import DiskReservation, UploadDisk
from services.api.http.authentication import Access, KeyRing
from shared.settings import Settings


class Admission:
    """Decides on bodies. `find_route` returns None, or a tuple that begins with the resource of a path."""

    def __init__(
        self, settings: Settings, disk: UploadDisk, find_route: Callable[[str], tuple[Any, ...] | None]
    ) -> None:
        self._keys = KeyRing.of(settings)
        self._disk = disk
        self._find_route = find_route

    def admit(self, request: Any, length: int | None) -> DiskReservation | None:
        """Reserve disk for the body of a waitress request; None if the application answers without the body.

        `length` is None if it is not known. Raises UnauthorizedError, ForbiddenError, UnsupportedMediaTypeError,
        BodyTooLargeError and StorageFullError.
        """
        resource = (self._find_route(request.path) or (None,))[0]
        if not hasattr(resource, f"on_{request.command.lower()}") or resource.access is Access.OPEN:
            return None
        self._keys.require(resource.access, request.headers.get("AUTHORIZATION"), request.path)
        if check := getattr(resource, "check_content_type", None):
            check(request.headers.get("CONTENT_TYPE"))
        return self._disk.reserve(length)
