"""The accepted jobs, their outcomes, and everything that was found wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ops.lab.chaos.planned_jobs import PlannedJob


class State(StrEnum):
    """A job's state as clients saw it: open, its status when it ended, or gone (404)."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"


@dataclass(slots=True)
class Entry:
    """One accepted job. `answered`: what /v1/explain gave, as NPY, if it gave values."""

    id: str
    planned: PlannedJob
    state: State = State.OPEN
    said: str = ""
    answered: bytes | None = None
    #: Whether its client cancels it, and so looks after it alone.
    cancelling: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be; `kind` is one of ops.lab.chaos.verdict.KINDS."""

    kind: str
    said: str
    job_id: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.job_id + ' ' if self.job_id else ''}{self.said}"


class Ledger:
    """Kept by all threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._findings: list[Finding] = []
        self._notes: Counter[str] = Counter()

    def accept(self, job_id: str, planned: PlannedJob, answered: bytes | None = None) -> None:
        """Note an accepted job; the same one again changes nothing but its answer."""
        with self._lock:
            entry = self._entries.setdefault(job_id, Entry(job_id, planned))
            if entry.planned.key != planned.key:
                said = f"{entry.planned.key} and {planned.key} were told the same job"
                self._findings.append(Finding("doubled", said, job_id))
            entry.answered = answered or entry.answered

    def cancelling(self, job_id: str) -> None:
        """Note that a job is about to be cancelled."""
        with self._lock:
            self._entries[job_id].cancelling = True

    def update(self, job_id: str, state: State, said: str = "") -> None:
        """Note how a job ended."""
        with self._lock:
            self._entries[job_id].state = state
            self._entries[job_id].said = said

    def find(self, finding: Finding) -> None:
        """Note what should not be."""
        with self._lock:
            self._findings.append(finding)

    def note(self, what: str) -> None:
        """Count what is to be expected."""
        with self._lock:
            self._notes[what] += 1

    def entries(self) -> Sequence[Entry]:
        """Return all accepted jobs, in the order they were accepted."""
        with self._lock:
            return list(self._entries.values())

    def open(self) -> Sequence[Entry]:
        """Return the jobs that have not ended, oldest first."""
        return [entry for entry in self.entries() if entry.state is State.OPEN]

    def open_rows(self) -> int:
        """Return how many rows these have."""
        return sum(entry.planned.rows for entry in self.open())

    def findings(self) -> Sequence[Finding]:
        """Return what was found so far."""
        with self._lock:
            return list(self._findings)

    def notes(self) -> Mapping[str, int]:
        """Return the counts of what was to be expected."""
        with self._lock:
            return dict(self._notes)
