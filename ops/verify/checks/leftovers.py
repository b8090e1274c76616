"""Checks that all objects of the visit are gone again."""

from __future__ import annotations

import time

from ops.verify.outcome import FailedError
from ops.verify.visit import Visit

#: Seconds between two tries.
LOOK_SECONDS = 0.5


def leftovers(visit: Visit) -> str:
    """Delete every job of the visit, with patience after a restart of the appliance."""
    deadline = time.monotonic() + visit.options.ready_seconds
    while (left := visit.jobs.clear()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if left:
        raise FailedError(
            f"{len(left)} of the jobs made here could not be deleted: {', '.join(left)}.",
            "Delete them (DELETE /v1/jobs/ID), or leave them to RESULT_TTL_HOURS.",
        )
    return f"{visit.jobs.made} jobs made and deleted"
