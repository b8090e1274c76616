"""The two RQ queues. Their entries carry ids as JSON, and name the task by its dotted path."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from rq import Queue
from rq.serializers import JSONSerializer

from shared.jobs.document import Job
from shared.redis.connection import RedisClient

#: The task in queue entries. Workers run every entry as a batch; those of earlier versions import this name.
TASK = "services.worker.task.explain_batch"
#: Seconds for which RQ keeps its record of a batch that failed: our own state tells why.
FAILURE_TTL = 3600
#: An entry's name: the job, the batch, and something random.
_ENTRY = re.compile(rb"([0-9a-f]+)-(\d{1,9})-[0-9a-f]+")
#: RQ's record of a running batch expires after this many times BATCH_TIMEOUT_SECONDS. The monitor ends hung workers.
TIMEOUT_TIMES = 10


class Lane(StrEnum):
    """The queue that a job's batches wait in."""

    #: Jobs of one batch, whose clients wait for them.
    INTERACTIVE = "interactive"
    #: All others.
    BULK = "bulk"


class BatchQueues:
    """Enqueues batches and reports the waiting ones. Every call may raise REDIS_AWAY."""

    def __init__(self, connection: RedisClient, batch_timeout_seconds: int) -> None:
        self._redis = connection
        self._timeout = batch_timeout_seconds * TIMEOUT_TIMES
        self._queues = {lane: rq_queue(connection, lane) for lane in Lane}

    def enqueue(self, job: Job, batches: Iterable[int], pipeline: Any = None, *, front: bool = False) -> None:
        """Add batches of a job to its lane, within `pipeline`'s transaction if there is one.

        `front` puts them before all others, since they have waited already. The request's id is for the worker's log.
        """
        data = [
            Queue.prepare_data(
                TASK,
                args=[job.id, batch, job.request],
                # A name of its own: a batch that runs again must not meet RQ's record of its first run.
                job_id=f"{job.id}-{batch}-{secrets.token_hex(4)}",
                timeout=self._timeout,
                result_ttl=0,
                failure_ttl=FAILURE_TTL,
                description=f"{job.id}:{batch}",
                at_front=front,
            )
            for batch in batches
        ]
        lane = Lane.INTERACTIVE if job.batches == 1 else Lane.BULK
        self._queues[lane].enqueue_many(data, pipeline=pipeline)

    def waiting(self) -> dict[Lane, int]:
        """Return how many batches wait in each lane."""
        return self._of_each("llen")

    def waiting_batches(self) -> set[tuple[str, int]]:
        """Return (job id, batch) of all that wait, but for damaged entries: those are lost."""
        names = [
            _ENTRY.fullmatch(name) for waiting in self._of_each("lrange", 0, -1).values() for name in waiting
        ]
        return {(name[1].decode(), int(name[2])) for name in names if name}

    def heads(self) -> dict[Lane, str | None]:
        """Return the entry at the head of each lane, JOB-BATCH-RANDOM."""
        heads = self._of_each("lindex", 0)
        return {lane: head.decode() if head else None for lane, head in heads.items()}

    def _of_each(self, command: str, *args: int) -> dict[Lane, Any]:
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues.values():
                getattr(pipe, command)(queue.key, *args)
            return dict(zip(self._queues, pipe.execute(), strict=True))


def rq_queue(connection: RedisClient, lane: Lane) -> Queue:
    """Return RQ's queue of a lane, with the JSON serializer that all sides must use."""
    return Queue(lane.value, connection=connection, serializer=JSONSerializer)
