"""Memory, while the appliance works."""

from __future__ import annotations

from ops.verify.outcome import FailedError
from ops.verify.target import METRICS_KEYS
from ops.verify.visit import Visit
from ops.verify.watch import MB, Watched

#: Processes that are named where memory is short.
LARGEST = 4
_REMEDY = (
    "The largest processes are named. A worker is recycled by itself; if another one has grown, restart the service and "
    "see its log. A smaller WORKERS or a larger plan (and MEMORY_LIMIT_MB) gives room."
)


def memory(visit: Visit) -> str:
    """Check that the working set stayed below its limit and no worker was recycled for it."""
    visit.target.take(METRICS_KEYS)
    visit.watch.stop()
    return judge(visit.watch.seen())


def judge(seen: Watched) -> str:
    """Return what the memory came to. Raises FailedError if that was too much."""
    if seen.peak is None:
        raise FailedError(
            f"/metrics told no memory in {seen.looks + seen.missed} looks.",
            "The monitor measures it: see its lines in the appliance's log.",
        )
    peak, limit = seen.peak.working_set / MB, seen.peak.limit / MB
    measured = f"peak {peak:.0f} of {limit:.0f} MB in {seen.looks} looks"
    recycles = seen.memory_recycles()
    acted = ", ".join(f"{reason} {count}" for reason, count in recycles.items())
    if seen.peak.working_set >= seen.peak.limit:
        sizes = sorted(seen.peak.processes.items(), key=lambda item: -item[1])[:LARGEST]
        largest = ", ".join(f"{name} {size / MB:.0f} MB" for name, size in sizes)
        followed = f" The monitor had to act: {acted}." if acted else ""
        raise FailedError(
            f"The working set came to {peak:.0f} MB, and the limit is {limit:.0f} MB. Largest: {largest}.{followed}",
            _REMEDY,
            measured,
        )
    if recycles:
        raise FailedError(
            f"Memory was short meanwhile, though no look saw it: the monitor had to act ({acted}).",
            _REMEDY,
            measured,
        )
    return measured
