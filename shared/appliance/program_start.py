"""The appliance's name and a program's start, as passed in the environment.

Containers may share a hostname, and appliances of one machine do, so boot chooses a name (ops/run/data_dir.py) for the
workers to be called after: NAME/worker-1.

supervisord counts an exit within a program's first second as a failed start. After several of them it waits longer and
longer, and finally gives up. A worker whose batches kill it must not end like that: it takes no batch before the second
is over.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from shared.timing import TIMING

#: The appliance's name. A program started without boot uses the machine's.
HOST_NAME_NAME = "SHAPBOX_HOST_NAME"
#: Where supervisord.conf reads `startsecs`.
START_SECONDS_NAME = "SHAPBOX_START_SECONDS"
#: When the program was started, in seconds of the monotonic clock.
STARTED_AT_NAME = "SHAPBOX_STARTED_AT"


def host_name(environment: Mapping[str, str]) -> str:
    """Return the appliance's name, the same in all its programs."""
    return environment.get(HOST_NAME_NAME) or socket.gethostname()


def started_now() -> dict[str, str]:
    """Return the environment of a program that starts at this moment."""
    return {STARTED_AT_NAME: repr(time.monotonic())}


def rest_of_start(environment: Mapping[str, str]) -> float:
    """Return the seconds until supervisord counts this process as started, or 0."""
    started_at = environment.get(STARTED_AT_NAME)
    if started_at is None:
        return 0.0
    return max(0.0, float(started_at) + TIMING.program_start_seconds - time.monotonic())
