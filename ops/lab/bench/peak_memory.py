"""The peak memory of a service at work: the PSS of all of its processes together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: Seconds between two looks: each takes some ms of a core.
LOOK_SECONDS = 0.25


@dataclass(slots=True)
class Peak:
    """Bytes: the most that was seen."""

    highest: int = 0


@contextmanager
def peak_of(pss_bytes: Callable[[], int]) -> Iterator[Peak]:
    """Look again and again while the block runs, and once more at its end."""
    peak, stop = Peak(), threading.Event()

    def look() -> None:
        peak.highest = max(peak.highest, pss_bytes())

    def watch() -> None:
        while not stop.wait(LOOK_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        look()
