"""Gives batches back that nobody works on any more.

Two things can happen to a batch. Its holder dies: the holder's heartbeat is out, or a new life of the same
name has lit another. Or it is lost on its way: RQ took it from its list for a worker that died before it
claimed the batch. Our own record of what is to do is the truth that both are found against.
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
from shared.errors import JobNotFoundError
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.jobs.transitions import Release
from shared.log import log_context
from shared.redis.connection import RedisClient
from shared.timing import TIMING, Timing

logger = logging.getLogger(__name__)

#: After so many workers died holding a batch, it is to blame, and its job fails.
MAX_DEATHS = 3


class Blame(IntEnum):
    """How much the end of its holder says against a batch, in quarters of a death."""

    #: The holder left in order, was told to leave, or lost Redis.
    NONE = 0
    #: Nobody saw why: a lease ran out, a container was killed. It may have been the batch.
    UNEXPLAINED = 1
    #: The holder crashed, was killed, ran out of memory or hung over this batch.
    DEATH = 4


@dataclass(frozen=True, slots=True)
class Running:
    """A batch that a worker holds since a time (seconds since the epoch, by Redis's clock)."""

    job_id: str
    batch: int
    request: str
    owner: str
    token: str
    since: float
    raw: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """A batch that was found on nobody's list, and queued again."""

    job_id: str
    batch: int
    request: str


class Recovery:
    """Every call may raise what shared.redis.connection.REDIS_AWAY lists. Running it twice does no harm."""

    def __init__(self, connection: RedisClient, store: JobStore, timing: Timing = TIMING) -> None:
        self._timing = timing
        self._redis = connection
        self._store = store
        self._suspects: set[tuple[str, int]] = set()

    def running(self) -> list[Running]:
        """Return all batches that some worker holds."""
        return [_running(field, raw) for field, raw in self._redis.hgetall(keys.RUNNING).items()]

    def orphans(self, alive: Mapping[str, Heartbeat]) -> list[Running]:
        """Return the batches whose holder's heartbeat is not among `alive`, or is of another life."""
        running = self.running()
        return [held for held in running if held.owner not in alive or alive[held.owner].token != held.token]

    def hand_back(
        self, job_id: str, batch: int, me: Heartbeat, blame: Blame, *, front: bool = True
    ) -> Release:
        """Give back a batch that `me` holds: before all others, or (`front` False) after them.

        A worker that stalled beyond its lease may find that another one holds the batch by now.
        """
        raw = self._redis.hget(keys.RUNNING, f"{job_id}:{batch}")
        held = None if raw is None else _running(f"{job_id}:{batch}".encode(), raw)
        if held is None or (held.owner, held.token) != (me.name, me.token):
            return Release.CHANGED
        return self.release(held, blame, front=front)

    def release(self, orphan: Running, blame: Blame, *, front: bool = True) -> Release:
        """Give back one batch whose holder does not work on it any more."""
        try:
            job = self._store.get(orphan.job_id)
        except JobNotFoundError:
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
            # Dying here leaves the batch to do and in no queue: requeue_lost finds it.
            self._store.queues.enqueue(job, [orphan.batch], front=front)
        if outcome is Release.POISONED:
            with log_context(request=orphan.request, job=orphan.job_id, batch=orphan.batch):
                logger.error("job failed", extra={"problem": "poison-batch"})
        return outcome

    def requeue_lost(self, *, at_once: bool = False) -> list[Lost]:
        """Queue again every batch that is to do, held by nobody and in no queue; returns them.

        A batch is out of sight for some milliseconds between RQ's dequeue and its worker's claim, so it
        must be missing twice in a row; with `at_once`, when a worker is known to have died, the second look
        follows the first one. A batch that is queued twice by this runs once: the second claim is refused.
        """
        missing = self._missing()
        if at_once and missing:
            # The other workers go on meanwhile, and one of them may just be about to claim a batch.
            time.sleep(self._timing.claim_seconds)
            missing &= self._missing()
        lost = missing if at_once else missing & self._suspects
        self._suspects = missing - lost
        found = []
        for job in self._store.active() if lost else []:
            if batches := [batch for job_id, batch in sorted(lost) if job_id == job.id]:
                self._store.queues.enqueue(job, batches, front=True)
                found += [Lost(job.id, batch, job.request) for batch in batches]
        return found

    def _missing(self) -> set[tuple[str, int]]:
        # Read in the order to do, held, queued: a batch can only move back from held to queued by a
        # release, and forward it is gone from what was read first. One that is released in between is queued
        # twice, and its second claim refused.
        todo = {(job.id, batch) for job in self._store.active() for batch in self._store.todo(job.id)}
        if not todo:
            return set()
        queued = self._store.queues.waiting_batches()
        held = {(batch.job_id, batch.batch) for batch in self.running()}
        missing = todo - queued - held
        undone = {job_id: self._store.todo(job_id) for job_id in {job_id for job_id, _ in missing}}
        return {(job_id, batch) for job_id, batch in missing if batch in undone[job_id]}


def _running(field: Any, raw: Any) -> Running:
    job_id, batch = field.decode().split(":")
    holder = orjson.loads(raw)
    request = holder.get("request", "")  # an older appliance wrote none
    return Running(job_id, int(batch), request, holder["owner"], holder["token"], float(holder["since"]), raw)


def _poison_problem(job: Job | None, batch: int) -> bytes:
    rows = job.rows_of(batch) if job else range(1)
    detail = (
        f"Rows {rows.start} to {rows.stop - 1} (batch {batch}) have ended {MAX_DEATHS} workers, or were cut off "
        f"{MAX_DEATHS * Blame.DEATH} times for no known reason, and were given up. "
        "Send the job again without them, or send them alone to see whether they fail again."
    )
    return orjson.dumps({"type": "/problems/poison-batch", "detail": detail, "rows": [rows.start, rows.stop]})
