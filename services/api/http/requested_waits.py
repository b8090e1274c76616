"""How long the request at hand has waited because its client asked for that: it says nothing of how fast the api is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_seconds: ContextVar[float] = ContextVar("asked_wait_seconds", default=0.0)


def begin() -> None:
    """Start a request: each is answered by one thread, from its beginning to its end."""
    _seconds.set(0.0)


@contextlib.contextmanager
def asked_wait() -> Iterator[None]:
    """Count the block as a wait that the client asked for."""
    started = time.perf_counter()
    try:
        yield
    finally:
        _seconds.set(_seconds.get() + time.perf_counter() - started)


def waited() -> float:
    """Return the seconds that this request has waited so far."""
    return _seconds.get()
