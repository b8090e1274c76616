"""Duties that are repeated in the background while requests are served."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger("shapbox.background")


class Background(threading.Thread):
    """Calls `duty` at once and every so many seconds. A duty that fails is tried again."""

    def __init__(self, name: str, seconds: float, duty: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._seconds = seconds
        self._duty = duty
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End, waiting a second at most for a call in progress."""
        self._stopping.set()
        self.join(1.0)

    def run(self) -> None:
        """Work until it is stopped."""
        failing = False
        while True:  # once at least, though it is stopped at once: the last counts
            try:
                self._duty()
                failing = False
            except Exception as fault:  # noqa: BLE001  # the thread must survive any fault of a duty
                if not failing:
                    _log.warning("%s fails and is tried again: %s", self.name, fault)
                failing = True
            if self._stopping.wait(self._seconds):
                return
