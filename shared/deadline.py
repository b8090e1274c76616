"""A deadline for work that has none of its own, such as asking a name server or reading an answer that trickles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


def within[T](seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises. Raises TimeoutError after so many seconds.

    The work then goes on in its thread, which ends with the process at the latest.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as fault:  # noqa: BLE001  # the caller raises it
            done.set_exception(fault)

    threading.Thread(target=run, daemon=True).start()
    return done.result(seconds)
