"""A step that is done again and again in a thread of its own, whatever happens in it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis

from shared.errors import StorageUnavailableError
from shared.redis.connection import REDIS_AWAY, writes_refused

#: Seconds for which the same unforeseen error is not logged again.
REPEAT_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Loop:
    """Does `step` at once, then `seconds` after it last ended, or as soon as `wake` is called.

    While Redis or the object store is away the step is tried on and on, and one warning stands for the
    whole outage. Any other error is logged with its traceback, and the loop goes on.
    """

    def __init__(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        self.name = name
        self._seconds = seconds
        self._step = step
        self._wake = threading.Event()
        self._stopping = False
        self._absent: str | None = None
        self._logged: tuple[str, float] = ("", 0.0)
        # A daemon: a step that waits for a dead network must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Have the step done now, or once more if it is being done."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after the step at hand."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait until the loop has ended, at most `timeout` seconds; returns whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self.turn()
            self._wake.wait(self._seconds)

    def turn(self) -> None:
        """Do the step once; never raises an Exception."""
        try:
            self._step()
        except Exception as fault:  # noqa: BLE001  # whatever it is, it must not end the loop
            if (who := absent(fault)) is None:
                self._report(fault)
            elif self._absent is None:
                self._absent = who
                _log.warning("%s is away (%s): %s tries on", who, fault, self.name)
        else:
            if self._absent is not None:
                _log.info("%s is back: %s goes on", self._absent, self.name)
            self._absent = None

    def _report(self, fault: Exception) -> None:
        text, now = repr(fault), time.monotonic()
        if text != self._logged[0] or now - self._logged[1] >= REPEAT_SECONDS:
            self._logged = (text, now)
            _log.error("%s failed and goes on", self.name, exc_info=fault)


def absent(fault: Exception) -> str | None:
    """Return who is away if that is what the error says, else None."""
    if isinstance(fault, REDIS_AWAY):
        return "Redis"
    if isinstance(fault, redis.exceptions.ResponseError) and writes_refused(fault):
        return "Redis (for writes)"
    if isinstance(fault, StorageUnavailableError):
        return "The object store"
    return None
