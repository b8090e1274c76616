"""Gives batches back that no worker is running any more.

Either a batch's holder has ended: its heartbeat is gone, or a new process of the same name has sent one. Or the batch was
lost: RQ took it from its list for a worker that ended before claiming it. Both are found by comparison with our own record
of the batches that are left to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from shared.appliance.heartbeats import Heartbeat
from shared.errors import JobNotFoundError, PayloadMissingError
from shared.jobs import keys
from shared.jobs.document import DAMAGED_RECORD, Job
from shared.jobs.store import JobStore
from shared.jobs.transitions import Release
from shared.log import log_context
from shared.redis.connection import RedisClient
from shared.timing import TIMING

logger = logging.getLogger(__name__)

#: After so many workers died holding a batch, its job fails.
MAX_DEATHS = 3


class Blame(IntEnum):
    """How much its holder's exit counts against a batch, in quarters of a death."""

    #: The holder exited in order, was told to, or lost Redis.
    NONE = 0
    #: For an unknown reason, perhaps the batch: a lease expired, a container was killed.
    UNEXPLAINED = 1
    #: The holder crashed, was killed, ran out of memory or hung on this batch.
    DEATH = 4


@dataclass(frozen=True, slots=True)
class Running:
    """A batch and its holder, `since` in seconds since the epoch by Redis's clock."""

    job_id: str
    batch: int
    request: str
    owner: str
    token: str
    since: float
    raw: bytes


class Recovery:
    """Every call may raise REDIS_AWAY, and can be repeated safely."""

    def __init__(self, connection: RedisClient, store: JobStore) -> None:
        self._redis = connection
        self._store = store
        self._suspects: set[tuple[str, int]] = set()

    def running(self) -> list[Running]:
        """Return all batches that workers hold.

        A damaged record is removed: its batch is lost, and runs again.
        """
        records = self._redis.hgetall(keys.RUNNING)
        found = {field: _running(field, raw) for field, raw in records.items()}
        for field in (field for field, held in found.items() if held is None):
            logger.error(
                "the record of a running batch was damaged, and was removed", extra={"record": str(field)}
            )
            self._redis.hdel(keys.RUNNING, field)
        return [held for held in found.values() if held is not None]

    def orphans(self, alive: Mapping[str, Heartbeat]) -> list[Running]:
        """Return the batches whose holder is not in `alive`, or is there with another token."""
        running = self.running()
        return [held for held in running if held.owner not in alive or alive[held.owner].token != held.token]

    def hand_back(
        self, job_id: str, batch: int, me: Heartbeat, blame: Blame, *, front: bool = True
    ) -> Release:
        """Give back a batch that `me` holds: before all others, or (`front` False) after them.

        If `me` stalled beyond its lease, another worker may hold the batch now: it is left alone (CHANGED).
        """
        raw = self._redis.hget(keys.RUNNING, f"{job_id}:{batch}")
        held = None if raw is None else _running(f"{job_id}:{batch}".encode(), raw)
        if held is None or (held.owner, held.token) != (me.name, me.token):
            return Release.CHANGED
        return self.release(held, blame, front=front)

    def release(self, orphan: Running, blame: Blame, *, front: bool = True) -> Release:
        """Give back a batch whose holder no longer runs it."""
        try:
            job = self._store.get(orphan.job_id)
        except (JobNotFoundError, PayloadMissingError):
            job = None
        outcome = self._store.transitions.release(
            orphan.job_id,
            orphan.batch,
            orphan.raw,
            limit=MAX_DEATHS * Blame.DEATH,
            problem=_poison_problem(job, orphan.batch),
            blame=blame,
        )
        if outcome is Release.REQUEUE and job is not None:
            # A crash here leaves the batch in no queue: requeue_lost finds it.
            self._store.queues.enqueue(job, [orphan.batch], front=front)
        if outcome is Release.POISONED:
            with log_context(request=orphan.request, job=orphan.job_id, batch=orphan.batch):
                logger.error("job failed", extra={"problem": "poison-batch"})
        return outcome

    def requeue_lost(self, *, at_once: bool = False) -> list[tuple[Job, int]]:
        """Queue every batch again that is left to do, unclaimed and in no queue; return them.

        A batch is in neither place for some milliseconds between RQ's dequeue and its worker's claim, so it must be
        missing twice in a row. With `at_once`, for when a worker is known to have died, both searches follow each other. A
        batch that is queued twice runs once: the second claim is refused.
        """
        for job_id in self._store.damaged():
            self._fail_damaged(job_id)
        missing = self._missing()
        if at_once and missing:
            # Another worker may be about to claim a batch.
            time.sleep(TIMING.claim_seconds)
            missing &= self._missing()
        lost = missing if at_once else missing & self._suspects
        self._suspects = missing - lost
        found: list[tuple[Job, int]] = []
        for job in self._store.active() if lost else []:
            if batches := [batch for job_id, batch in sorted(lost) if job_id == job.id]:
                self._store.queues.enqueue(job, batches, front=True)
                found += [(job, batch) for batch in batches]
        return found

    def _missing(self) -> set[tuple[str, int]]:
        # Queues are read before claims: moving forward, a batch is found in one of them. One that is released in between
        # is queued twice, and its second claim refused.
        todo = {(job.id, batch) for job in self._store.active() for batch in self._todo(job)}
        if not todo:
            return set()
        queued = self._store.queues.waiting_batches()
        held = {(batch.job_id, batch.batch) for batch in self.running()}
        missing = todo - queued - held
        undone = {job_id: self._store.todo(job_id) for job_id in {job_id for job_id, _ in missing}}
        return {(job_id, batch) for job_id, batch in missing if batch in undone[job_id]}

    def _todo(self, job: Job) -> set[int]:
        """Return the batches that a job has left to do; fail it if one of them is not there."""
        try:
            todo = self._store.todo(job.id)
        except ValueError:
            todo = {-1}
        if todo <= set(range(job.batches)):
            return todo
        self._fail_damaged(job.id)
        return set()

    def _fail_damaged(self, job_id: str) -> None:
        """Fail a job that nobody could ever complete."""
        if self._store.fail(job_id, PayloadMissingError.slug, DAMAGED_RECORD):
            names = {"problem": PayloadMissingError.slug, "detail": DAMAGED_RECORD}
            with log_context(job=job_id):
                logger.error("job failed", extra=names)


def _running(field: Any, raw: Any) -> Running | None:
    """Read a batch's holder; None if the record is damaged."""
    try:
        job_id, batch = field.decode().split(":")
        holder = orjson.loads(raw)
        request = holder.get("request", "")  # absent in entries of earlier versions
        since = float(holder["since"])
        return Running(job_id, int(batch), request, holder["owner"], holder["token"], since, raw)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _poison_problem(job: Job | None, batch: int) -> bytes:
    rows = job.rows_of(batch) if job else range(1)
    detail = (
        f"Rows {rows.start} to {rows.stop - 1} (batch {batch}) ended {MAX_DEATHS} workers, or were interrupted "
        f"{MAX_DEATHS * Blame.DEATH} times for an unknown reason. Send the job again without these rows, or send only "
        "these rows to see whether they fail again."
    )
    return orjson.dumps({"type": "/problems/poison-batch", "detail": detail, "rows": [rows.start, rows.stop]})
