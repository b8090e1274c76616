"""The verdict of a soak: whether it passed, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.lab.soak.growth import MOST_GROWTH, TELLING_MINUTES, Course, course_of, course_of_working_set
from ops.lab.soak.history import MINUTES, History

#: The counts that must be 0, and what they say.
FAULTS = {
    "jobs_failed": "jobs failed",
    "values_wrong": "results with a wrong value",
    "calls_broken": "calls without the answer they should have",
    "oom_kills": "kills by the kernel for want of memory",
}
#: The share of a run that must have samples: on a busy machine the last one may be late.
WHOLE_SHARE = 0.9
#: How the names of the processes begin that are recycled when they have grown.
RECYCLED = "worker-"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The faults (none: the soak has passed), and further remarks."""

    faults: Sequence[str]
    remarks: Sequence[str]
    processes: Sequence[Course]
    whole: Course

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def judge(history: History) -> Verdict:
    """Judge a run."""
    processes = [course_of(name, history) for name in sorted(history.runs)]
    faults = [f"{history.counts[name]} {what}" for name, what in FAULTS.items() if history.counts.get(name)]
    if not history.counts.get("jobs_done") or not history.counts.get("values_checked"):
        faults.append("no job was finished and checked")
    if history.seconds < history.facts[MINUTES] * 60 * WHOLE_SHARE:
        faults.append(f"the samples end after {history.seconds / 60:.1f} minutes")
    remarks = []
    if history.seconds < TELLING_MINUTES * 60:
        remarks.append(
            f"The run is shorter than {TELLING_MINUTES:.0f} minutes: its growth figures are noise and not judged."
        )
    else:
        grown, bounded = _growing(processes)
        faults += grown
        remarks += bounded
    return Verdict(faults, remarks, processes, course_of_working_set(history))


def _growing(processes: Sequence[Course]) -> tuple[list[str], list[str]]:
    """Return what is said of those that grow: faults, and what a recycle bounds."""
    faults, bounded = [], []
    for process in processes:
        if not process.grows:
            continue
        said = f"{process.name} grows by {process.growth:.1f} MB an hour, more than {MOST_GROWTH:.0f}"
        if process.name.startswith(RECYCLED) and process.runs > 1:
            bounded.append(
                f"{said}: its recycle bounds it ({process.runs} runs, peak {process.peak:.0f} MB)."
            )
        else:
            faults.append(said)
    return faults, bounded
