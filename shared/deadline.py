"""A deadline for work without one, such as asking a name server or reading a slow answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


def within[T](seconds: float, work: Callable[[], T]) -> T:
    """Return the result of `work`, or raise its exception.

    Raises TimeoutError after so many seconds. The work then goes on in its thread, which ends with the process at the latest.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as fault:  # noqa: BLE001  # the caller raises it
            done.set_exception(fault)

    threading.Thread(target=run, daemon=True).start()
    return done.result(seconds)
