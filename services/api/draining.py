"""Whether this appliance still takes new work: the one object that knows."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from shared.appliance.status import ApplianceStatus
from shared.errors import DrainingError

#: Seconds for which the monitor's findings are taken from memory.
STATUS_SECONDS = 0.25


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
