"""Removes what nobody needs any more: expired jobs, and objects without a job.

Objects go first and the job's record after them, so that dying in between leaves a job whose objects are
gone and that the next pass takes up again, never objects that nothing points to.
"""

from __future__ import annotations

import logging
import time
from collections import deque

import redis

from shared.errors import JobNotFoundError
from shared.jobs.document import Status
from shared.jobs.ids import is_job_id, made_at
from shared.jobs.store import JobStore
from shared.log import log_context
from shared.payloads import Payloads

#: Jobs that one pass looks at, at most, of each kind.
JOBS_PER_PASS = 50
#: Seconds that one pass may take for each kind.
PASS_SECONDS = 10.0
#: Share of Redis's maxmemory above which ended jobs are deleted before their time.
REDIS_FULL = 0.7
#: Seconds between two listings of the object store: a remote one is paid by the request.
LISTING_SECONDS = 300.0
#: Seconds until objects without a job count as left behind, and not as an upload on its way.
ORPHAN_SECONDS = 3600.0
#: Seconds after a job's cancelling in which a worker may still be writing a result.
CANCELLED_SECONDS = 120.0

logger = logging.getLogger(__name__)


class Sweeper:
    """One thread calls `step`. It may raise what REDIS_AWAY lists, and StorageUnavailableError."""

    def __init__(
        self, connection: redis.Redis, store: JobStore, payloads: Payloads, result_ttl_hours: float
    ) -> None:
        self._redis = connection
        self._store = store
        self._payloads = payloads
        self._ttl = result_ttl_hours * 3600
        self._unlooked: deque[str] = deque()
        self._listing_due = 0.0

    def step(self) -> None:
        """Do one pass."""
        # The ends of jobs are written by Redis's clock.
        now = float(self._redis.time()[0])
        self.sweep_expired(now)
        self.relieve_redis(now)
        self.sweep_objects(now)

    def sweep_expired(self, now: float) -> int:
        """Delete jobs that ended RESULT_TTL_HOURS ago, as many as a pass has time for; returns how many."""
        deadline = time.monotonic() + PASS_SECONDS
        count = 0
        while expired := self._store.expired(now - self._ttl, JOBS_PER_PASS):
            count += self._delete(expired, "expired job deleted")
            if len(expired) < JOBS_PER_PASS or time.monotonic() > deadline:
                break
        return count

    def relieve_redis(self, now: float) -> int:
        """Delete the jobs that ended first, before their time, while Redis is nearly full; returns how many.

        Without it, many small jobs would fill Redis with documents until it refuses the claims and beacons
        of the jobs that still run.
        """
        deadline = time.monotonic() + PASS_SECONDS
        count = 0
        while self._redis_is_nearly_full() and time.monotonic() < deadline:
            ended = self._store.expired(now, JOBS_PER_PASS)
            if not ended:
                break
            count += self._delete(ended, "ended job deleted before its time")
        if count:
            logger.warning("Redis is nearly full: results were deleted early", extra={"jobs": count})
        return count

    def _redis_is_nearly_full(self) -> bool:
        memory = self._redis.info("memory")
        return bool(0 < memory["maxmemory"] * REDIS_FULL < memory["used_memory"])

    def _delete(self, job_ids: list[str], why: str) -> int:
        for job_id in job_ids:
            objects = self._payloads.delete_job(job_id)
            self._store.transitions.forget(job_id)
            with log_context(job=job_id):
                logger.info(why, extra={"objects": objects})
        return len(job_ids)

    def sweep_objects(self, now: float) -> int:
        """Delete the objects of some jobs that are cancelled or not there; returns of how many."""
        if not self._unlooked and time.monotonic() >= self._listing_due:
            # What does not look like a job is not ours to delete.
            self._unlooked.extend(filter(is_job_id, self._payloads.job_ids()))
            self._listing_due = time.monotonic() + LISTING_SECONDS
        some = [self._unlooked.popleft() for _ in range(min(JOBS_PER_PASS, len(self._unlooked)))]
        there = self._store.existing(some) if some else set()
        unneeded = [
            job_id
            for job_id in some
            if (
                self._is_cancelled(job_id, now) if job_id in there else now - made_at(job_id) > ORPHAN_SECONDS
            )
        ]
        for job_id in unneeded:
            objects = self._payloads.delete_job(job_id)
            with log_context(job=job_id):
                logger.info("left-over objects deleted", extra={"objects": objects})
        return len(unneeded)

    def _is_cancelled(self, job_id: str, now: float) -> bool:
        try:
            job = self._store.get(job_id)
        except JobNotFoundError:  # deleted in this moment: a later listing decides
            return False
        return job.status is Status.CANCELLED and now - (job.finished_at or now) > CANCELLED_SECONDS
