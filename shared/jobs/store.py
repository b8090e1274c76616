"""The jobs in Redis: accepts, reads, lists, ends and forgets them."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import batched

import orjson
import redis

from shared import metrics
from shared.errors import (
    IdempotencyConflictError,
    JobNotFoundError,
    PayloadMissingError,
    QueueFullError,
    TooManyRowsError,
)
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.ids import is_job_id
from shared.jobs.queue import BatchQueues
from shared.jobs.transitions import Transitions
from shared.redis.capacity import RedisCapacity
from shared.redis.connection import REPLICA_ANSWERS, RedisClient, texts
from shared.settings import Settings

#: Batches per SADD of the accepting transaction.
SADD_CHUNK = 1000
#: Attempts to accept a job, each on a new connection, after which a replica's refusal is passed on.
REPLICA_ATTEMPTS = 3
#: Seconds for which an Idempotency-Key is kept after its job's result.
IDEMPOTENCY_MARGIN = 24 * 3600


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's Idempotency-Key and the fingerprint of what it sent with it."""

    key: str
    fingerprint: str

    @property
    def redis_key(self) -> str:
        """The key in Redis that names its job."""
        return keys.idempotency(hashlib.sha256(self.key.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job of a request, and whether the request created it."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first, and the cursor of the next page, if any."""

    jobs: Sequence[Job]
    cursor: str | None


class JobStore:
    """Every call may raise the exceptions in shared.redis.connection.REDIS_AWAY."""

    def __init__(self, connection: RedisClient, settings: Settings) -> None:
        self._redis = connection
        self._limit = settings.max_queued_batches
        self._lock = threading.Lock()
        self._entering = 0
        self._ttl = int(settings.result_ttl_hours * 3600) + IDEMPOTENCY_MARGIN
        self.queues = BatchQueues(connection, settings.batch_timeout_seconds)
        self.transitions = Transitions(connection)
        self._capacity = RedisCapacity(connection)

    def require_capacity(self, batches: int = 1) -> None:
        """Raise QueueFullError or RedisFullError if there is no capacity for `batches` more."""
        if batches > self._limit:
            raise TooManyRowsError(
                f"This job has {batches} batches, but at most {self._limit} may wait (MAX_QUEUED_BATCHES). "
                "Send it as several jobs."
            )
        # In this order, a job that enters at this moment is counted once or twice, never not at all.
        entering = self._entering
        waiting = sum(self.queues.waiting().values())
        if waiting + max(batches, entering) > self._limit:
            raise QueueFullError(
                f"{waiting} batches are waiting and this job has {batches}, but at most {self._limit} may wait "
                "(MAX_QUEUED_BATCHES). Send it again later, or as several smaller jobs."
            )
        self._capacity.require(batches)

    @contextlib.contextmanager
    def _admitted(self, batches: int) -> Iterator[None]:
        """Require capacity for `batches` that will wait, counting all jobs that enter now."""
        with self._lock:
            self._entering += batches
        try:
            if batches:
                self.require_capacity(batches)
            else:
                self._capacity.require(1)
            yield
        finally:
            with self._lock:
                self._entering -= batches

    def accept(self, job: Job, idempotency: Idempotency | None = None) -> Accepted:
        """Make a job with stored rows visible, in one transaction.

        Its batches are queued unless it is completed already.

        A completed job's result is stored, too, and the caller counts the model's largest residual. If the Idempotency-Key
        belongs to an earlier job, that job is returned instead. Raises QueueFullError, RedisFullError, and
        IdempotencyConflictError if the key came with another body.
        """
        waiting = 0 if job.status.ended else job.batches
        job = replace(job, todo=waiting, idempotency=idempotency.redis_key if idempotency else "")
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._accept_once(job, waiting, idempotency)
            except redis.WatchError as fault:
                if self._redis.exists(keys.job(job.id)):  # executed, and only the reply was lost
                    return Accepted(job, created=True)
                # Not executed: another request used the key at this moment, the connection was lost, or leads to a replica.
                if attempts >= REPLICA_ATTEMPTS and isinstance(fault.__context__, REPLICA_ANSWERS):
                    raise fault.__context__ from None

    def _accept_once(self, job: Job, waiting: int, idempotency: Idempotency | None) -> Accepted:
        # Watching keeps the client from sending EXEC again after a lost connection, which would queue a job twice.
        watched = [keys.job(job.id)] + ([idempotency.redis_key] if idempotency else [])
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(*watched)  # type: ignore[no-untyped-call]  # redis-py does not annotate it
            if idempotency and (known := self.known(idempotency)) is not None:
                return Accepted(known, created=False)
            with self._admitted(waiting):
                pipe.multi()
                self._write(pipe, job, idempotency)
                pipe.execute()
        return Accepted(job, created=True)

    def known(self, idempotency: Idempotency) -> Job | None:
        """Return the job that an Idempotency-Key created, if it still exists.

        Raises IdempotencyConflictError if the key came with another body.
        """
        value = self._redis.get(idempotency.redis_key)
        if value is None:
            return None
        job_id, fingerprint = texts(value.split())
        try:
            job = self.get(job_id)
        except JobNotFoundError:
            return None
        if fingerprint != idempotency.fingerprint:
            raise IdempotencyConflictError(
                f"This Idempotency-Key created job {job_id} from a different body. Use a new key for a new request."
            )
        return job

    def get(self, job_id: str) -> Job:
        """Return a job. Raises JobNotFoundError, and PayloadMissingError if its record is damaged."""
        for _, fields, todo in self._records([job_id]) if is_job_id(job_id) else ():
            return Job.from_hash(fields, todo)
        raise JobNotFoundError("No job has this id. It never existed, was deleted, or has expired.")

    def page(self, status: Status | None, limit: int, cursor: str | None) -> Page:
        """Return up to `limit` jobs, newest first, after `cursor` (the last id before).

        Those whose records are damaged are left out.
        """
        index = keys.with_status(status) if status else keys.JOBS
        newest = f"({cursor}" if cursor else "+"
        ids = texts(self._redis.zrevrangebylex(index, newest, "-", start=0, num=limit + 1))
        return Page(self._read(ids[:limit]), ids[limit - 1] if len(ids) > limit else None)

    def active(self) -> list[Job]:
        """Return all jobs that are queued or running, oldest first, but damaged ones."""
        return [job for job in self._read(self._active_ids()) if not job.status.ended]

    def damaged(self) -> list[str]:
        """Return the ids of active jobs whose records are damaged: Redis's file has no checksums."""
        found = []
        for job_id, fields, todo in self._records(self._active_ids()):
            try:
                Job.from_hash(fields, todo)
            except PayloadMissingError:
                found.append(job_id)
        return found

    def _active_ids(self) -> list[str]:
        with self._redis.pipeline(transaction=False) as pipe:
            for status in (Status.QUEUED, Status.RUNNING):
                pipe.zrange(keys.with_status(status), 0, -1)
            return sorted(i for some in pipe.execute() for i in texts(some))

    def requests(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the request id of each job that exists, by job id."""
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hget(keys.job(job_id), "request")
            answers = zip(job_ids, pipe.execute(), strict=True)
            return {job_id: request.decode() for job_id, request in answers if request is not None}

    def fail(self, job_id: str, slug: str, detail: str) -> bool:
        """End an active job as failed, with a problem; return whether it was active."""
        problem = orjson.dumps({"type": f"/problems/{slug}", "detail": detail})
        return self.transitions.finish(job_id, Status.FAILED, problem)

    def cancel(self, job_id: str) -> bool:
        """End an active job as cancelled; return whether it was active."""
        return self.transitions.finish(job_id, Status.CANCELLED)

    def expired(self, before: float, limit: int) -> list[str]:
        """Return up to `limit` ids of jobs that ended before `before` (seconds since the epoch)."""
        return texts(self._redis.zrangebyscore(keys.FINISHED, "-inf", before, start=0, num=limit))

    def counts(self) -> dict[Status, int]:
        """Return the number of jobs in each status."""
        with self._redis.pipeline(transaction=False) as pipe:
            for status in Status:
                pipe.zcard(keys.with_status(status))
            return dict(zip(Status, pipe.execute(), strict=True))

    def todo(self, job_id: str) -> set[int]:
        """Return the batches of a job without a recorded result. Raises ValueError if damaged."""
        return {int(batch) for batch in self._redis.smembers(keys.todo(job_id))}

    def _write(self, pipe: redis.client.Pipeline, job: Job, idempotency: Idempotency | None) -> None:
        pipe.hset(keys.job(job.id), mapping=job.to_hash())
        pipe.zadd(keys.JOBS, {job.id: 0})
        pipe.zadd(keys.with_status(job.status), {job.id: 0})
        if idempotency:
            pipe.set(idempotency.redis_key, f"{job.id} {idempotency.fingerprint}", ex=self._ttl)
        if not job.todo:  # as lua/complete.lua would write it
            pipe.zadd(keys.FINISHED, {job.id: job.finished_at or 0.0})
            pipe.hincrby(keys.COUNTERS, f"{metrics.JOBS.name}|{job.status}", 1)
            pipe.hincrby(keys.COUNTERS, f"{metrics.ROWS_EXPLAINED.name}|{job.model}", job.rows)
            return
        for batches in batched(range(job.todo), SADD_CHUNK):
            pipe.sadd(keys.todo(job.id), *batches)
        self.queues.enqueue(job, range(job.todo), pipe)

    def _read(self, job_ids: Sequence[str]) -> list[Job]:
        """Return the jobs that there are, but those whose records are damaged."""
        jobs = []
        for _, fields, todo in self._records(job_ids):
            with contextlib.suppress(PayloadMissingError):
                jobs.append(Job.from_hash(fields, todo))
        return jobs

    def _records(self, job_ids: Sequence[str]) -> list[tuple[str, dict[bytes, bytes], int]]:
        # Not in a transaction, which Redis refuses when its memory is full, even for reading. In this order a job may
        # show its last batch before its end, but never its end before its last batch.
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hgetall(keys.job(job_id))
                pipe.scard(keys.todo(job_id))
            answers = pipe.execute()
        records = zip(job_ids, answers[::2], answers[1::2], strict=True)
        return [record for record in records if record[1]]
