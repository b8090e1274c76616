"""The first second of a supervised program's life, in which supervisord counts its end as a failed start.

After failed starts in a row supervisord waits ever longer (1 s, 2 s, 3 s, …), and gives the program up in the end.
That is right for a program that cannot start. A worker that can, and whose batches kill it, must not end so:
it takes no batch before the second is over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

#: Seconds after which supervisord counts a program as started: its `startsecs`, a whole number.
START_SECONDS = 1
#: Where supervisord.conf reads it.
START_SECONDS_NAME = "SHAPBOX_START_SECONDS"
#: Where a supervised program reads when it was started, in seconds of the monotonic clock.
STARTED_AT_NAME = "SHAPBOX_STARTED_AT"


def started_now() -> dict[str, str]:
    """Return what a program's environment says of a start at this moment."""
    return {STARTED_AT_NAME: repr(time.monotonic())}


def rest_of_start(environment: Mapping[str, str]) -> float:
    """Return for how many seconds supervisord will not count this process as started; 0 if nobody supervises it."""
    started_at = environment.get(STARTED_AT_NAME)
    if started_at is None:
        return 0.0
    return max(0.0, float(started_at) + START_SECONDS - time.monotonic())
