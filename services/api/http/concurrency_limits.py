"""Limits the requests of a kind at a time, so that short ones always find a thread.

An api has MAX_WAITING_REQUESTS threads for requests that wait for jobs, and 32 others. Of these, 12 send large results, 8
read large bodies, and 8 make plots and summaries: 28. The other 4 are left to short requests, such as health checks.
"""

from __future__ import annotations

import threading

from shared.errors import ShapboxError

WORKING_THREADS = 32
STREAMS, UPLOADS, PLOTS = 12, 8, 8


class BusyError(ShapboxError, status=503, title="Too many such requests at a time", retry_after=2):
    """As many requests of this kind as are served at a time are under way."""


class ConcurrencyLimit:
    """At most `limit` requests of a kind at a time: one more raises BusyError."""

    def __init__(self, limit: int, kind: str) -> None:
        self._free = threading.BoundedSemaphore(limit)
        self._kind = kind

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise BusyError(f"Too many {self._kind} are under way. Try again in a moment.")

    def __exit__(self, *_exc: object) -> None:
        self._free.release()
