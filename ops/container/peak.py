"""Watches a container's working set in the background, for its peak."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ops.container.box import Box
from ops.container.engine import DockerError

#: Seconds between two looks.
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Peak:
    """The largest working set that was seen, and the one seen last, in bytes."""

    highest: int = 0
    last: int = 0
    looks: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def highest_mb(self) -> float:
        """The peak in MB of 2**20 bytes."""
        return self.highest / 2**20

    def watch(self, box: Box) -> None:
        """Look until `stop`."""
        while not self._stopped.wait(LOOK_SECONDS):
            with contextlib.suppress(
                OSError, KeyError, DockerError, http.client.HTTPException
            ):  # it is being restarted
                self.last = box.working_set_bytes()
                self.highest = max(self.highest, self.last)
                self.looks += 1

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()


@contextmanager
def peak_of(box: Box) -> Iterator[Peak]:
    """Watch a container while the block runs."""
    peak = Peak()
    thread = threading.Thread(target=peak.watch, args=(box,), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        peak.stop()
        thread.join()
