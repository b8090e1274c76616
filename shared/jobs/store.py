"""The jobs that Redis holds: accept, read, list, end and forget them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import redis

from shared import metrics
from shared.errors import IdempotencyConflictError, JobNotFoundError, QueueFullError, TooManyRowsError
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.ids import is_job_id
from shared.jobs.queue import BatchQueues
from shared.jobs.transitions import Transitions
from shared.redis.capacity import RedisCapacity
from shared.redis.connection import RedisClient, texts
from shared.settings import Settings

#: Batches that one SADD of the accepting transaction names.
SADD_CHUNK = 1000
#: Seconds that an Idempotency-Key outlives its job's result at most.
IDEMPOTENCY_MARGIN = 24 * 3600


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's Idempotency-Key and the fingerprint of what it sent with it."""

    key: str
    fingerprint: str

    @property
    def redis_key(self) -> str:
        """Where Redis keeps which job belongs to the key."""
        return keys.idempotency(hashlib.sha256(self.key.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that a request led to, and whether the request made it."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first, and the cursor of the next page if there is one."""

    jobs: Sequence[Job]
    cursor: str | None


class JobStore:
    """Every call may raise what shared.redis.connection.REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient, settings: Settings) -> None:
        self._redis = connection
        self._limit = settings.max_queued_batches
        self._lock = threading.Lock()
        self._entering = 0
        self._ttl = int(settings.result_ttl_hours * 3600) + IDEMPOTENCY_MARGIN
        self.queues = BatchQueues(connection, settings.batch_timeout_seconds)
        self.transitions = Transitions(connection)
        self._room = RedisCapacity(connection)

    def require_room(self, batches: int = 1) -> None:
        """Raise QueueFullError if `batches` more would exceed MAX_QUEUED_BATCHES, RedisFullError if Redis's memory."""
        if batches > self._limit:
            raise TooManyRowsError(
                f"This job has {batches} batches and at most {self._limit} may wait (MAX_QUEUED_BATCHES). "
                "Send it in smaller parts."
            )
        # In this order: a job that enters just now is counted at least once, never not at all.
        entering = self._entering
        waiting = sum(self.queues.waiting().values())
        if waiting + max(batches, entering) > self._limit:
            raise QueueFullError(
                f"{waiting} batches wait, this job has {batches} and at most {self._limit} may wait "
                "(MAX_QUEUED_BATCHES). Send it again later, or in smaller parts."
            )
        self._room.require(batches)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """Check that Redis has memory for a job without batches that wait."""
        self._room.require(1)
        yield

    @contextlib.contextmanager
    def _place(self, batches: int) -> Iterator[None]:
        """Check that there is room, with all jobs counted that enter at the same time."""
        with self._lock:
            self._entering += batches
        try:
            self.require_room(batches)
            yield
        finally:
            with self._lock:
                self._entering -= batches

    def accept(self, job: Job, idempotency: Idempotency | None = None) -> Accepted:
        """Make the job visible and queue its batches, in one transaction. Its inputs are stored already.

        With an Idempotency-Key that made a job before, that job is returned instead.

        Raises QueueFullError, RedisFullError, and IdempotencyConflictError if the key came with another body.
        """
        job = replace(job, todo=job.batches)
        return self._enter(job, idempotency, functools.partial(self._place, job.batches), self._queue)

    def record(self, job: Job, idempotency: Idempotency | None = None) -> Accepted:
        """Make a job visible that is completed, in one transaction. Its inputs and its result are stored already.

        Raises as `accept` does, but needs no place in the queue. Its largest residual becomes the job's; the model's is the
        caller's to tell (Counters.most).
        """
        return self._enter(job, idempotency, self._memory, self._complete)

    def _enter(
        self,
        job: Job,
        idempotency: Idempotency | None,
        room: Callable[[], contextlib.AbstractContextManager[None]],
        write: Callable[[redis.client.Pipeline, Job], None],
    ) -> Accepted:
        job = replace(job, idempotency=idempotency.redis_key if idempotency else "")
        # Watching makes the client give a lost connection up instead of sending EXEC a second time, which
        # would queue a job again that is being worked on.
        watched = [keys.job(job.id)] + ([idempotency.redis_key] if idempotency else [])
        while True:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.watch(*watched)  # type: ignore[no-untyped-call]  # redis-py leaves it bare
                if idempotency and (known := self.known(idempotency)) is not None:
                    return Accepted(known, created=False)
                try:
                    with room():
                        pipe.multi()
                        self._write(pipe, job, idempotency)
                        write(pipe, job)
                        pipe.execute()
                except redis.WatchError:
                    if self._redis.exists(keys.job(job.id)):  # carried out, and only the answer was lost
                        return Accepted(job, created=True)
                    continue  # not carried out, or another request used the key in this moment
            return Accepted(job, created=True)

    def known(self, idempotency: Idempotency) -> Job | None:
        """Return the job that an Idempotency-Key made, if it is still there.

        Raises IdempotencyConflictError if the key came with another body.
        """
        value = self._redis.get(idempotency.redis_key)
        if value is None:
            return None
        job_id, fingerprint = texts([value])[0].split(" ")
        try:
            job = self.get(job_id)
        except JobNotFoundError:
            return None
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyConflictError(
                f"This Idempotency-Key made job {job_id} from another body. Use a new key for a new request."
            )
        return job

    def get(self, job_id: str) -> Job:
        """Return a job. Raises JobNotFoundError."""
        jobs = self._read([job_id]) if is_job_id(job_id) else []
        if not jobs:
            raise JobNotFoundError("No job has this id: it was never made, was deleted, or has expired.")
        return jobs[0]

    def page(self, status: Status | None, limit: int, cursor: str | None) -> Page:
        """Return up to `limit` jobs, newest first, after `cursor` (the last id of the page before)."""
        index = keys.with_status(status) if status else keys.JOBS
        newest = f"({cursor}" if cursor else "+"
        ids = texts(self._redis.zrevrangebylex(index, newest, "-", start=0, num=limit + 1))
        return Page(self._read(ids[:limit]), ids[limit - 1] if len(ids) > limit else None)

    def active(self) -> list[Job]:
        """Return all jobs that are queued or running, oldest first."""
        with self._redis.pipeline(transaction=False) as pipe:
            for status in (Status.QUEUED, Status.RUNNING):
                pipe.zrange(keys.with_status(status), 0, -1)
            ids = sorted(i for some in pipe.execute() for i in texts(some))
        return [job for job in self._read(ids) if not job.status.ended]

    def requests(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return by which request each job came; ids under which there is none are left out."""
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(keys.job(job_id), "request")
            answers = zip(job_ids, pipe.execute(), strict=True)
            return {job_id: request.decode() for job_id, request in answers if request is not None}

    def fail(self, job_id: str, slug: str, detail: str) -> bool:
        """End an active job as failed, with a problem for its document; returns whether it was active."""
        problem = orjson.dumps({"type": f"/problems/{slug}", "detail": detail})
        before = self.transitions.finish(job_id, Status.FAILED, problem)
        return before in {Status.QUEUED, Status.RUNNING}

    def cancel(self, job_id: str) -> bool:
        """End an active job as cancelled; returns whether it was active."""
        return self.transitions.finish(job_id, Status.CANCELLED) in {Status.QUEUED, Status.RUNNING}

    def expired(self, before: float, limit: int) -> list[str]:
        """Return up to `limit` ids of jobs that ended before a time (seconds since the epoch)."""
        return texts(self._redis.zrangebyscore(keys.FINISHED, "-inf", before, start=0, num=limit))

    def counts(self) -> dict[Status, int]:
        """Return how many jobs there are in each status."""
        with self._redis.pipeline(transaction=False) as pipe:
            for status in Status:
                pipe.zcard(keys.with_status(status))
            return dict(zip(Status, pipe.execute(), strict=True))

    def todo(self, job_id: str) -> set[int]:
        """Return the batches of a job whose results are not recorded."""
        return {int(batch) for batch in self._redis.smembers(keys.todo(job_id))}

    def _write(self, pipe: redis.client.Pipeline, job: Job, idempotency: Idempotency | None) -> None:
        pipe.hset(keys.job(job.id), mapping=job.to_hash())
        pipe.zadd(keys.JOBS, {job.id: 0})
        pipe.zadd(keys.with_status(job.status), {job.id: 0})
        if idempotency:
            pipe.set(idempotency.redis_key, f"{job.id} {idempotency.fingerprint}", ex=self._ttl)

    def _queue(self, pipe: redis.client.Pipeline, job: Job) -> None:
        for start in range(0, job.batches, SADD_CHUNK):
            pipe.sadd(keys.todo(job.id), *range(start, min(start + SADD_CHUNK, job.batches)))
        self.queues.enqueue(job, range(job.batches), pipe)

    def _complete(self, pipe: redis.client.Pipeline, job: Job) -> None:
        """Write what a worker's claim and completion would: see lua/claim.lua and lua/complete.lua."""
        times: dict[Any, Any] = {"started_at": repr(job.started_at), "finished_at": repr(job.finished_at)}
        pipe.hset(keys.job(job.id), mapping=times)
        pipe.zadd(keys.FINISHED, {job.id: job.finished_at or 0.0})
        pipe.hincrby(keys.COUNTERS, f"{metrics.JOBS}|{job.status}", 1)
        pipe.hincrby(keys.COUNTERS, f"{metrics.ROWS_EXPLAINED}|{job.model}", job.rows)

    def _read(self, job_ids: Sequence[str]) -> list[Job]:
        # No transaction, since Redis refuses those where its memory is full, even for reading. In this order
        # a job may show its last batch before its end, never its end before its last batch.
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hgetall(keys.job(job_id))
                pipe.scard(keys.todo(job_id))
            answers = pipe.execute()
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return [Job.from_hash(fields, todo) for fields, todo in pairs if fields]
