"""Deletes expired jobs, and objects without a job.

A job's objects are deleted before its record. A crash in between leaves a job without objects, which the next pass deletes,
never objects without a trace. It also frees space on a full disk, on which Redis refuses to remove records.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import batched
from pathlib import Path

from shared.disk import RESERVE_BYTES, RESERVE_INODES, free_space
from shared.errors import JobNotFoundError, PayloadMissingError
from shared.jobs import keys
from shared.jobs.document import Status
from shared.jobs.ids import is_job_id
from shared.jobs.store import JobStore
from shared.log import log_context
from shared.objects.object_store import ObjectStore
from shared.redis.connection import RedisClient, texts
from shared.timing import TIMING

#: Jobs that one step of a pass deletes.
JOBS_PER_STEP = 50
#: Seconds that a pass may take for each duty.
PASS_SECONDS = 10.0
#: Share of Redis's maxmemory above which ended jobs are deleted early.
REDIS_FULL = 0.7
#: Share of Redis's maxmemory that ended jobs may always use, and the bytes of one of them. Below it something else fills
#: Redis, and deleting results early would not help.
ENDED_SHARE, ENDED_JOB_BYTES = 0.1, 1500
#: Seconds between two listings of the object store: remote stores charge per request.
LISTING_SECONDS = 300.0
#: The prefix of RQ's records; JOB-BATCH-RANDOM follows.
RQ_RECORDS = "rq:job:"
#: RQ's records that one pass examines, and keys per SCAN.
RQ_RECORDS_PER_PASS, RQ_SCAN = 10_000, 500
#: A disk is nearly full if it has no more than this beside the reserve.
PRESSED_BYTES, PRESSED_INODES = RESERVE_BYTES, RESERVE_INODES

logger = logging.getLogger(__name__)


class Sweeper:
    """One thread calls `step`, which may raise REDIS_AWAY and StorageUnavailableError.

    `folder` is that of a local object store. `api_age` returns the seconds since this machine's api was started, if all
    uploads arrive there: earlier ones are no longer in progress. None if unknown.
    """

    def __init__(
        self,
        connection: RedisClient,
        store: JobStore,
        objects: ObjectStore,
        result_ttl_hours: float,
        folder: Path | None = None,
        api_age: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._redis = connection
        self._store = store
        self._objects = objects
        self._ttl = result_ttl_hours * 3600
        self._folder = folder
        self._api_age = api_age
        self._unlooked: deque[str] = deque()
        #: The monotonic times at which objects without a job were first seen.
        self._jobless: dict[str, float] = {}
        self._listing_due = 0.0
        self._rq_cursor = 0

    def step(self) -> None:
        """Do one pass: all duties, even if one fails. The first fault is raised."""
        # Redis's clock set the times at which jobs ended.
        now = float(self._redis.time()[0])
        faults: list[Exception] = []
        for duty in (self.sweep_expired, self.sweep_objects, self.sweep_rq_records, self.relieve_redis):
            try:
                duty(now)
            except Exception as fault:  # noqa: BLE001  # the loop that calls this logs it
                faults.append(fault)
        if faults:
            raise faults[0]

    def sweep_expired(self, now: float) -> int:
        """Delete jobs that ended RESULT_TTL_HOURS ago, as time allows; return how many."""
        deadline = time.monotonic() + PASS_SECONDS
        count = 0
        while expired := self._store.expired(now - self._ttl, JOBS_PER_STEP):
            count += self._delete(expired, "expired job deleted", deadline)
            if time.monotonic() > deadline:
                break
        return count

    def sweep_rq_records(self, now: float) -> int:
        """Delete RQ's records of batches whose jobs have ended; return how many.

        A worker that crashes, or loses a batch, leaves RQ's record of it, which RQ keeps forever.
        """
        del now
        count = looked = 0
        while looked < RQ_RECORDS_PER_PASS:
            self._rq_cursor, names = self._redis.scan(self._rq_cursor, match=f"{RQ_RECORDS}*", count=RQ_SCAN)
            # After reading the names: a record is created in one step with its job.
            active = {job.id for job in self._store.active()} if names else set()
            left = [name for name in texts(names) if _job_of_record(name) not in active]
            count += int(self._redis.delete(*left)) if left else 0
            looked += RQ_SCAN
            if self._rq_cursor == 0:
                break
        return count

    def relieve_redis(self, now: float) -> int:
        """Delete the oldest ended jobs early while they fill Redis; return how many.

        Otherwise the documents of many small jobs would fill Redis until it refuses claims and heartbeats.
        """
        deadline = time.monotonic() + PASS_SECONDS
        count = 0
        while time.monotonic() < deadline and self._ended_jobs_fill_redis():
            ended = self._store.expired(now, JOBS_PER_STEP)
            count += self._delete(ended, "ended job deleted before its time", deadline)
        if count:
            logger.warning("Redis is nearly full: results were deleted early", extra={"jobs": count})
        return count

    def _ended_jobs_fill_redis(self) -> bool:
        memory = self._redis.info("memory")
        ended = self._redis.zcard(keys.FINISHED) * ENDED_JOB_BYTES
        limit = memory["maxmemory"]
        return bool(0 < limit * REDIS_FULL < memory["used_memory"] and ended > limit * ENDED_SHARE)

    def _delete(self, job_ids: Sequence[str], why: str, deadline: float) -> int:
        """Delete jobs until the deadline, at least one; return how many."""
        emptied: list[str] = []
        for job_id in job_ids:
            self._objects.delete_job(job_id)
            emptied.append(job_id)
            if time.monotonic() > deadline:
                break
        # Last: if a full disk keeps Redis from removing records, the space of these objects lets it do so again.
        requests = self._store.requests(emptied)
        for job_id in emptied:
            self._store.transitions.forget(job_id)
            with log_context(request=requests.get(job_id, ""), job=job_id):
                logger.info(why)
        return len(emptied)

    def sweep_objects(self, now: float) -> int:
        """Delete the objects of cancelled and missing jobs; return of how many jobs.

        The next pass continues with the rest of a listing.
        """
        deadline = time.monotonic() + PASS_SECONDS
        pressed = self._disk_is_nearly_full()
        if not self._unlooked and (pressed or time.monotonic() >= self._listing_due):
            # Anything that does not look like a job is not ours to delete.
            self._unlooked.extend(filter(is_job_id, self._objects.job_ids()))
            self._listing_due = time.monotonic() + LISTING_SECONDS
            self._jobless = {one: self._jobless[one] for one in self._unlooked if one in self._jobless}
        seen_before = self._oldest_upload(pressed=pressed)
        count = 0
        for some in batched(list(self._unlooked), JOBS_PER_STEP):  # the last may be short
            count += self._delete_unneeded(some, now, seen_before, deadline)
            if time.monotonic() > deadline:
                break
        return count

    def _delete_unneeded(
        self, job_ids: Sequence[str], now: float, seen_before: float, deadline: float
    ) -> int:
        there = self._store.requests(job_ids)
        count = 0
        for job_id in job_ids:
            self._unlooked.popleft()  # first, so that a failing one does not block the rest
            if job_id in there:
                self._jobless.pop(job_id, None)
                unneeded = self._is_cancelled(job_id, now)
            else:
                unneeded = self._jobless.setdefault(job_id, time.monotonic()) <= seen_before
            if unneeded:
                self._objects.delete_job(job_id)
                count += 1
                with log_context(request=there.get(job_id, ""), job=job_id):
                    logger.info("left-over objects deleted")
            if time.monotonic() > deadline:
                break
        return count

    def _oldest_upload(self, *, pressed: bool) -> float:
        """Return the earliest time at which an upload that may still be in progress was first seen.

        The time in a job's id is of no use: it is another machine's, or the clock was set since.
        """
        longest = TIMING.orphan_on_full_disk_seconds if pressed else TIMING.orphan_seconds
        age = self._api_age()
        if age is not None and age > TIMING.api_settled_seconds:
            longest = min(longest, age)
        return time.monotonic() - longest

    def _disk_is_nearly_full(self) -> bool:
        free = free_space(self._folder)
        return free is not None and free.shortage(PRESSED_BYTES, PRESSED_INODES) is not None

    def _is_cancelled(self, job_id: str, now: float) -> bool:
        try:
            job = self._store.get(job_id)
        except (JobNotFoundError, PayloadMissingError):  # deleted now: the next listing decides; or damaged
            return False
        return job.status is Status.CANCELLED and now - (job.finished_at or now) > TIMING.cancelled_seconds


def _job_of_record(name: str) -> str:
    return name.removeprefix(RQ_RECORDS).split("-")[0]
