"""Duties that are repeated in the background while requests are served."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger("shapbox.background")


class Background:
    """Calls `duty` every so many seconds, in its own thread. A duty that fails is tried again."""

    def __init__(self, name: str, seconds: float, duty: Callable[[], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._duty = duty
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with the first call at once."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End, waiting `timeout` seconds at most for a call in progress."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self._duty()
                failing = False
            except Exception as fault:  # noqa: BLE001  # the thread must survive any fault of a duty
                if not failing:
                    _log.warning("%s fails and is tried again: %s", self._name, fault)
                failing = True
            self._stopping.wait(self._seconds)
