"""Whether the body of a request is read, and whether new work is accepted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.api.capacity.disk import DiskReservation, UploadDisk
from services.api.http.authentication import Access, KeyRing
from shared.appliance.status import ApplianceStatus
from shared.errors import DrainingError
from shared.settings import Settings

#: Seconds for which the monitor's findings are taken from memory.
STATUS_SECONDS = 0.25


class Admission:
    """Decides on bodies. `find_route` returns a tuple that begins with a path's resource."""

    def __init__(
        self, settings: Settings, disk: UploadDisk, find_route: Callable[[str], tuple[Any, ...] | None]
    ) -> None:
        self._keys = KeyRing(settings)
        self._disk = disk
        self._find_route = find_route

    def admit(self, request: Any) -> DiskReservation | None:
        """Reserve disk for a request's body; None if the application answers without it.

        Raises UnauthorizedError, ForbiddenError, UnsupportedMediaTypeError, BodyTooLargeError and StorageFullError.
        """
        resource = (self._find_route("/" + request.path.lstrip("/")) or (None,))[0]  # as waitress names it
        if not hasattr(resource, f"on_{request.command.lower()}") or resource.access is Access.OPEN:
            return None
        self._keys.require(resource.access, request.headers.get("AUTHORIZATION"), request.path)
        check = getattr(resource, "check_content_type", None)
        if check and request.command == "POST":
            check(request.headers.get("CONTENT_TYPE"))
        return self._disk.reserve(None if request.chunked else request.content_length)


class StatusFile:
    """The monitor's findings, read from their file a few times a second at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1.0
        self._status: ApplianceStatus | None = None

    def read(self) -> ApplianceStatus | None:
        """Return what the monitor wrote last; None if it has written nothing."""
        now = time.monotonic()
        if self._read_at < 0 or now - self._read_at > STATUS_SECONDS:
            self._status, self._read_at = ApplianceStatus.read(self._path), now
        return self._status


class Draining:
    """Active as soon as this process, or the whole appliance, is stopping."""

    def __init__(self, status: StatusFile) -> None:
        self._status = status
        #: Set when this process is told to stop.
        self.stopping = threading.Event()

    @property
    def active(self) -> bool:
        """Whether new work is refused."""
        status = self._status.read()
        return self.stopping.is_set() or (status is not None and status.draining)

    def begin(self) -> None:
        """Refuse new work from now on."""
        self.stopping.set()

    def require_open(self) -> None:
        """Raise DrainingError if new work is refused."""
        if self.active:
            raise DrainingError("The appliance is stopping. Send the request again in a few seconds.")
