"""Accepts jobs: their rows are stored first, then one transaction makes the job visible.

If the process dies in between, objects without a job remain, and the sweeper removes them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from services.api.capacity.disk import require_disk
from services.api.capacity.results import Need, ResultReservations
from services.api.explain.plan import Inline, Task
from services.api.rows.chunks import Matrix
from shared.errors import RedisUnavailableError, ShapboxError, StorageUnavailableError
from shared.explanation import Explanation
from shared.jobs.document import Job
from shared.jobs.ids import new_job_id
from shared.jobs.store import Accepted, JobStore
from shared.log import add_to_log_context
from shared.objects.payloads import Payloads
from shared.redis.aof_sync import AofSync, GroupSync
from shared.redis.connection import redis_needed
from shared.settings import Durability, Settings

#: Bytes of a body above which room in the queue is checked before its rows are stored.
LARGE_BODY = 64 * 1024
#: The client's state of knowledge if Redis went away in the accepting transaction.
UNCERTAIN = (
    "The job may or may not have been accepted. Send the request again in a moment; with an Idempotency-Key "
    "no job is done twice."
)

_log = logging.getLogger("shapbox.submission")


class QueuedExecutor:
    """An Executor that accepts jobs. A request that fails earlier leaves nothing behind."""

    def __init__(
        self, settings: Settings, store: JobStore, payloads: Payloads, reservations: ResultReservations
    ) -> None:
        local_power = settings.durability is Durability.POWER and settings.embedded_redis
        self._sync = GroupSync(AofSync(settings.redis_dir)) if local_power else None
        self._settings = settings
        self._store = store
        self._payloads = payloads
        self._reservations = reservations

    def run(self, task: Task) -> Job:
        """Store a request's rows, and queue a job for them.

        Raises what is wrong with the rows, and QueueFullError, RedisFullError, RedisUnavailableError, StorageFullError,
        StorageUnavailableError and IdempotencyConflictError.
        """
        if task.body.size > LARGE_BODY:  # a small one may have been unpacked to a large one
            self._store.require_capacity()
        require_disk(self._settings, task.body.size)
        job_id = new_job_id()
        with self._stored_or_removed(job_id):
            job = self._store_rows(task, job_id)
            task.wanted.of(job.rows)
            accepted = self._accept(task, job)
        return self._note(job, accepted)

    def keep(self, task: Task, job: Job, rows: Matrix, explanation: Explanation) -> Inline | Job:
        """Store the rows and the explanation of a completed job, and make it visible.

        Returns the other job if a request with the same Idempotency-Key was faster. Raises as `run` does.
        """
        require_disk(self._settings, rows.nbytes)
        with self._stored_or_removed(job.id):
            self._reservations.reserve(job.id, Need.of_batch(job, len(rows)))
            self._payloads.put_completed(job, rows, explanation)
            accepted = self._accept(task, job)
        self._reservations.release(job.id)  # it is on the disk already
        found = self._note(job, accepted)
        return Inline(task.plan, explanation, found) if accepted.created else found

    def _accept(self, task: Task, job: Job) -> Accepted:
        """Make the job visible; with DURABILITY=power return when that is on the disk."""
        with redis_needed(UNCERTAIN):
            accepted = self._store.accept(job, task.idempotency)
        self.sync()
        return accepted

    def sync(self) -> None:
        """With DURABILITY=power return when the jobs that are visible now are on the disk.

        Raises RedisUnavailableError if the disk fails.
        """
        if self._sync is not None:
            try:
                self._sync.wait()
            except OSError as fault:
                raise RedisUnavailableError(
                    f"Redis's file cannot be synced ({fault}). {UNCERTAIN}"
                ) from fault

    def _note(self, job: Job, accepted: Accepted) -> Job:
        add_to_log_context(job=accepted.job.id)
        if not accepted.created:  # another request with the same key was faster
            self._remove(job.id)
        else:
            _log.info("job accepted", extra={"rows": job.rows, "model": job.model})
        return accepted.job

    def _store_rows(self, task: Task, job_id: str) -> Job:
        """Store the rows batch by batch, as they are read; returns their job."""
        chunks = task.body.chunks(task.plan.spec)
        # The number of batches decides how they are stored: whether there is a second one must be known first.
        held = list(itertools.islice(chunks, 2))
        job = new_job(task, job_id, sum(map(len, held)))
        rows = 0
        while held:
            self._reservations.reserve(job_id, Need.of_batch(job, len(held[0])))
            self._payloads.put_rows(job, rows // job.batch_rows, held[0])
            rows += len(held.pop(0))
            # A stored chunk, which may be large, is gone before the next one is read.
            held = held or list(itertools.islice(chunks, 1))
        return replace(job, rows=rows)

    @contextlib.contextmanager
    def _stored_or_removed(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except RedisUnavailableError:
            # Whether the transaction was carried out cannot be known, and an accepted job must keep its
            # rows. If it was not, the sweeper finds rows without a job.
            self._reservations.settle(job_id)
            raise
        except StorageUnavailableError:
            # Removing rows would wait for the store as long again. The sweeper removes them.
            self._reservations.release(job_id)
            raise
        except BaseException:
            self._remove(job_id)
            raise
        else:
            self._reservations.settle(job_id)

    def _remove(self, job_id: str) -> None:
        self._reservations.release(job_id)
        try:
            self._payloads.delete_job(job_id)
        except ShapboxError as fault:  # the sweeper removes them
            _log.warning("rows of a refused job are left to the sweeper: %s", fault, extra={"job": job_id})


def new_job(task: Task, job_id: str, rows: int) -> Job:
    """Return the job of a task with so many rows."""
    plan = task.plan
    return Job(
        id=job_id,
        model=plan.model_id,
        method=plan.method,
        rows=rows,
        batch_rows=plan.batch_rows,
        features=len(plan.feature_names),
        outputs=len(plan.output_names),
        fallback=plan.fallback,
        created_at=time.time(),
        request=task.request_id,
        interactions=plan.interactions,
    )
