"""Room on the disk for the results of accepted jobs that are not made yet.

What is free now is no room for new rows if the workers are about to fill it: without this, jobs could be
accepted that can never complete, since their results fit no disk.
"""

from __future__ import annotations

import threading

from services.api.capacity.disk import RESERVE_BYTES, free_bytes
from shared.batch_plan import FLOAT_BYTES
from shared.errors import StorageFullError
from shared.interactions import Interactions
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.settings import Settings
from shared.summary.sample import MOST_VALUES
from shared.summary.summary import summary_bytes

#: Bytes of a block of the disk: each result takes whole ones, and one for its name.
BLOCK_BYTES = 4096


def result_bytes(rows: int, features: int, outputs: int, interactions: Interactions | None = None) -> int:
    """Return what the result of one batch takes on the disk, at most, with its digest and its interactions."""
    values = rows * outputs * (features + 2) * FLOAT_BYTES
    digest = summary_bytes(rows, features, outputs) if features * outputs <= MOST_VALUES else 0
    pairs = 0
    if interactions is not None:
        pairs = rows * interactions.numbers(features, outputs) * FLOAT_BYTES + 2 * BLOCK_BYTES
    return values + digest + pairs + 2 * BLOCK_BYTES


class ResultRoom:
    """Promises room to jobs while their rows come in, until their results are made. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        #: Bytes by job: of those whose rows come in now, and of those that are accepted.
        self._entering: dict[str, int] = {}
        self._accepted: dict[str, int] = {}
        self._total = 0

    def promise(self, job_id: str, size: int) -> None:
        """Keep so many bytes more for a job's results. Raises StorageFullError if they are not there."""
        free = free_bytes(self._settings)
        with self._lock:
            self._entering[job_id] = self._entering.get(job_id, 0) + size
            self._total += size
            promised = self._total
        if free is not None and free < promised + RESERVE_BYTES:
            raise StorageFullError(
                f"The disk has {free / 2**20:.0f} MB left, and the results of these rows and of the jobs before may "
                f"need {promised / 2**20:.0f} MB. Delete jobs, send fewer rows at a time, or enlarge the disk."
            )

    def settle(self, job_id: str) -> None:
        """Note that a job's rows are in: from now on `refresh` finds out how it goes on."""
        with self._lock:
            if job_id in self._entering:
                self._accepted[job_id] = self._entering.pop(job_id)

    def release(self, job_id: str) -> None:
        """Forget what was promised to a job that was refused."""
        with self._lock:
            self._total -= self._entering.pop(job_id, 0) + self._accepted.pop(job_id, 0)

    def refresh(self, store: JobStore) -> None:
        """Look how much of the accepted jobs' results is still to be made. May raise what REDIS_AWAY lists."""
        with self._lock:
            before = set(self._accepted)
        active = {job.id: _left(job) for job in store.active()}
        with self._lock:
            meanwhile = {job_id: size for job_id, size in self._accepted.items() if job_id not in before}
            found = {**meanwhile, **active}
            # What is still entering is about to be settled: it is not counted twice.
            self._accepted = {job_id: size for job_id, size in found.items() if job_id not in self._entering}
            self._total = sum(self._accepted.values()) + sum(self._entering.values())


def _left(job: Job) -> int:
    # The last batch, often the only one, may have far fewer rows than the others.
    return job.todo * result_bytes(min(job.batch_rows, job.rows), job.features, job.outputs, job.interactions)
