"""Long requests may take only their share of the server's threads, so that short ones always find one."""

from __future__ import annotations

import threading

from shared.errors import ShapboxError

#: Threads of the server: the shares together (24 that wait for jobs, see endings), and some for all others.
THREADS = 56
#: Large results on their way out, and large bodies being read, at a time.
STREAMS, UPLOADS = 12, 8
#: Plots and summaries being made at a time, most of which wait for a job's digest.
PLOTS = 8


class BusyError(ShapboxError):
    """As many long requests of this kind as may be are under way."""

    status = 503
    slug = "busy"
    title = "Too many such requests at a time"
    retry_after = 2


class Share:
    """A number of places. Each that is taken must be given back."""

    def __init__(self, places: int, what: str) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._what = what

    def take(self) -> None:
        """Take a place. Raises BusyError if none is free."""
        if not self._places.acquire(blocking=False):
            raise BusyError(f"Too many {self._what} are under way: try again in a moment.")

    def give_back(self) -> None:
        """Give a place back."""
        self._places.release()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_exc: object) -> None:
        self.give_back()
