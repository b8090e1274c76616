"""Room on the disk for the results of accepted jobs that are not made yet.

Space that is free now is no room for new rows if the workers are about to fill it. Without reservations, jobs could be
accepted that can never complete, since their results fit no disk.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from shared.batch_plan import FLOAT_BYTES
from shared.disk import free_space
from shared.errors import StorageFullError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.objects.payloads import is_small
from shared.summary.summary import MOST_VALUES, summary_bytes

#: Bytes of a block of the disk: each result takes whole ones, and one for its name.
BLOCK_BYTES = 4096


def result_bytes(rows: int, features: int, outputs: int, interactions: Interactions | None = None) -> int:
    """Return the bytes of a batch's result, at most, with its summary and interactions."""
    values = rows * Explanation.numbers_of(outputs, features) * FLOAT_BYTES
    summary = summary_bytes(rows, features, outputs) if features * outputs <= MOST_VALUES else 0
    pairs = 0
    if interactions is not None:
        pairs = rows * interactions.numbers(features, outputs) * FLOAT_BYTES + 2 * BLOCK_BYTES
    return values + summary + pairs + 2 * BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes and inodes of a disk."""

    bytes: int = 0
    inodes: int = 0

    @classmethod
    def of_batch(cls, job: Job, rows: int) -> Need:
        """Return what the result of a batch of so many rows takes."""
        inodes = 0 if is_small(job) else 1 + (job.interactions is not None)
        return cls(result_bytes(rows, job.features, job.outputs, job.interactions), inodes)

    @classmethod
    def of_rest(cls, job: Job) -> Need:
        """Return what the results still take that are not made yet."""
        # The last batch, often the only one, may have far fewer rows than the others.
        each = cls.of_batch(job, min(job.batch_rows, job.rows))
        return cls(job.todo * each.bytes, (job.todo + 1) * each.inodes)  # with the folders

    def __add__(self, other: Need) -> Need:
        return Need(self.bytes + other.bytes, self.inodes + other.inodes)

    def __sub__(self, other: Need) -> Need:
        return Need(self.bytes - other.bytes, self.inodes - other.inodes)


class ResultReservations:
    """Room for results from when the rows come in until they are made. Thread-safe."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: where a local object store is; None for a remote one, which is not limited."""
        self._folder = folder
        self._lock = threading.Lock()
        self._needs: dict[str, Need] = {}
        self._total = Need()
        #: Jobs whose rows come in now.
        self._entering: set[str] = set()

    def reserve(self, job_id: str, need: Need) -> None:
        """Reserve more room for a job's results. Raises StorageFullError if it is not there."""
        space = free_space(self._folder)
        with self._lock:
            self._entering.add(job_id)
            self._needs[job_id] = self._needs.get(job_id, Need()) + need
            total = self._total = self._total + need
        if shortage := space and space.shortage(total.bytes, total.inodes):
            raise StorageFullError(
                f"{shortage} This includes the results of accepted jobs. Delete jobs, send fewer rows at a time, or "
                "enlarge the disk."
            )

    def settle(self, job_id: str) -> None:
        """Note that a job's rows are in: from now on `refresh` finds out how it goes on."""
        with self._lock:
            self._entering.discard(job_id)

    def release(self, job_id: str) -> None:
        """Give back the room of a job that was refused, or whose result is stored."""
        with self._lock:
            self._entering.discard(job_id)
            self._total -= self._needs.pop(job_id, Need())

    def refresh(self, store: JobStore) -> None:
        """Look up the results that are still to be made. Raises the errors in REDIS_AWAY."""
        with self._lock:
            before = self._needs.keys() - self._entering
        active = {job.id: Need.of_rest(job) for job in store.active()}
        with self._lock:
            # Jobs that enter now, or were settled after the store was asked, keep their own numbers.
            newer = {job_id: need for job_id, need in self._needs.items() if job_id not in before}
            self._needs = active | newer
            self._total = sum(self._needs.values(), start=Need())
