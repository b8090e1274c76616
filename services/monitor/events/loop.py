"""A step that is repeated in a thread, even after exceptions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from services.monitor.events.programs import SupervisorAwayError
from shared.errors import StorageUnavailableError
from shared.redis.connection import REDIS_AWAY, writes_refused

#: Seconds for which the same unexpected error is not logged again.
REPEAT_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Loop(threading.Thread):
    """Runs `step` at once, then `seconds` after it last ended, or as soon as `wake` is called.

    While Redis, the object store or supervisord is away the step is repeated, and only one warning is logged. Any other
    error is logged with its traceback, and the loop continues.
    """

    def __init__(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        # A daemon: a step that waits for a dead network must not hold up the end of the process.
        super().__init__(name=name, daemon=True)
        self._seconds = seconds
        self._step = step
        self._wake = threading.Event()
        self._stopping = False
        self._absent: str | None = None
        self._logged: tuple[str, float] = ("", 0.0)

    def wake(self) -> None:
        """Run the step now, or once more if it is running."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after the current step."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Repeat the step until `stop` is called."""
        while not self._stopping:
            self._wake.clear()
            self.turn()
            self._wake.wait(self._seconds)

    def turn(self) -> None:
        """Run the step once; never raises an Exception."""
        try:
            self._step()
        except Exception as fault:  # noqa: BLE001  # no error may end the loop
            if (service := absent(fault)) is None:
                self._report(fault)
            elif self._absent is None:
                self._absent = service
                _log.warning("%s is away (%s): %s keeps trying", service, fault, self.name)
        else:
            if self._absent is not None:
                _log.info("%s is back: %s continues", self._absent, self.name)
            self._absent = None

    def _report(self, fault: Exception) -> None:
        text, now = repr(fault), time.monotonic()
        if text != self._logged[0] or now - self._logged[1] >= REPEAT_SECONDS:
            self._logged = (text, now)
            _log.error("%s failed and continues", self.name, exc_info=fault)


def absent(fault: Exception) -> str | None:
    """Return the service whose outage caused the error; None for other errors."""
    if isinstance(fault, REDIS_AWAY):
        return "Redis"
    if writes_refused(fault):
        return "Redis (for writes)"
    if isinstance(fault, StorageUnavailableError):
        return "The object store"
    return "supervisord" if isinstance(fault, SupervisorAwayError) else None
