"""The two RQ queues. They carry ids, as JSON, and name the task by its dotted path."""

from __future__ import annotations

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
#: Seconds that RQ keeps its record of a job that failed: our own state tells why.
FAILURE_TTL = 3600
#: How many times BATCH_TIMEOUT_SECONDS until RQ interrupts a batch: the monitor comes first, which knows what a worker waited for.
TIMEOUT_TIMES = 10


class Lane(StrEnum):
    """Which queue a job's batches wait in."""

    #: Jobs of one batch, for which somebody waits.
    INTERACTIVE = "interactive"
    #: All others.
    BULK = "bulk"

    @classmethod
    def of(cls, batches: int) -> Lane:
        """Return the lane of a job with so many batches."""
        return cls.INTERACTIVE if batches == 1 else cls.BULK


class BatchQueues:
    """Enqueues batches and tells how many wait. Any call may raise what REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient, batch_timeout_seconds: int) -> None:
        self._redis = connection
        self._timeout = batch_timeout_seconds * TIMEOUT_TIMES
        self._queues = {lane: rq_queue(connection, lane) for lane in Lane}

    def enqueue(self, job: Job, batches: Iterable[int], pipeline: Any = None, *, front: bool = False) -> None:
        """Add batches of a job to its lane; inside `pipeline`'s transaction if there is one.

        `front` puts them before all others: they have waited already. The request's id goes along for the
        worker's log.
        """
        queue = self._queues[Lane.of(job.batches)]
        data = [
            Queue.prepare_data(
                TASK,
                args=[job.id, batch, job.request],
                # Each enqueueing has a name of its own: a batch that runs again must not meet what RQ still
                # keeps of its first run.
                job_id=f"{job.id}-{batch}-{secrets.token_hex(4)}",
                timeout=self._timeout,
                result_ttl=0,
                failure_ttl=FAILURE_TTL,
                description=f"{job.id}:{batch}",
                at_front=front,
            )
            for batch in batches
        ]
        queue.enqueue_many(data, pipeline=pipeline)

    def waiting(self) -> dict[Lane, int]:
        """Return how many batches wait in each lane."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues.values():
                pipe.llen(queue.key)
            return dict(zip(self._queues, pipe.execute(), strict=True))

    def waiting_batches(self) -> set[tuple[str, int]]:
        """Return (job id, batch) of all that wait."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues.values():
                pipe.lrange(queue.key, 0, -1)
            names = [name.decode() for waiting in pipe.execute() for name in waiting]
        return {(job_id, int(batch)) for job_id, batch, _ in (name.split("-") for name in names)}

    def heads(self) -> tuple[bytes | None, ...]:
        """Return the name of what is at the head of each lane: each batch that is taken or given back changes it."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues.values():
                pipe.lindex(queue.key, 0)
            return tuple(pipe.execute())

    def oldest(self) -> dict[Lane, str | None]:
        """Return the job id of the batch at the head of each lane."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._queues.values():
                pipe.lindex(queue.key, 0)
            heads = pipe.execute()
        return {
            lane: head.decode().split("-")[0] if head else None
            for lane, head in zip(self._queues, heads, strict=True)
        }


def rq_queue(connection: RedisClient, lane: Lane) -> Queue:
    """Return RQ's queue of a lane, with the JSON serializer that all sides must use."""
    return Queue(lane.value, connection=connection, serializer=JSONSerializer)
