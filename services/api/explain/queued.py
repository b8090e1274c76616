"""Puts jobs where workers and clients find them: the rows first, then one transaction that makes the job visible.

What if the process dies in between? Then there are objects without a job, and the sweeper removes them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace

from services.api.capacity.results import result_bytes
from services.api.components import Parts
from services.api.explain.plan import Incoming, Matrix, Plan, Submitted
from shared.errors import RedisUnavailableError, ShapboxError
from shared.explanation import Explanation
from shared.jobs.document import Job
from shared.jobs.ids import new_job_id
from shared.jobs.store import Accepted
from shared.log import add_to_log_context
from shared.redis.connection import redis_needed

#: What is known when Redis went away in the accepting transaction.
UNCERTAIN = (
    "It cannot be known whether the job was accepted before that. Send it again in a moment: with an "
    "Idempotency-Key it is never done twice."
)

_log = logging.getLogger("shapbox.submission")


class JobEntry:
    """Enters jobs. A request that fails before its job is visible leaves nothing behind."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def queue(self, incoming: Incoming, plan: Plan) -> Submitted:
        """Store a request's rows, and queue a job for them."""
        job_id = new_job_id()
        with self._stored_or_removed(job_id):
            job = self._store_rows(job_id, incoming, plan)
            incoming.checks.rows(job.rows)
            with redis_needed(UNCERTAIN):
                accepted = self._parts.store.accept(job, incoming.idempotency)
        return Submitted(self._note(job, accepted))

    def keep(self, incoming: Incoming, job: Job, rows: Matrix, values: Matrix) -> Submitted:
        """Store the rows and the values of a job that is completed, and make it visible."""
        job = replace(job, id=new_job_id())
        with self._stored_or_removed(job.id):
            self._parts.results.promise(job.id, result_bytes(len(rows), job.features, job.outputs))
            self._parts.payloads.put_completed(job, rows, Explanation(values))
            with redis_needed(UNCERTAIN):
                accepted = self._parts.store.record(job, incoming.idempotency)
        self._parts.results.release(job.id)  # it lies on the disk already
        found = self._note(job, accepted)
        return Submitted(found, values if accepted.created else None)

    def _note(self, job: Job, accepted: Accepted) -> Job:
        add_to_log_context(job=accepted.job.id)
        if not accepted.created:  # another request with the same key was faster
            self._remove(job.id)
        else:
            _log.info("job accepted", extra={"rows": job.rows, "model": job.model})
        return accepted.job

    def _store_rows(self, job_id: str, incoming: Incoming, plan: Plan) -> Job:
        """Store the rows batch by batch, as they are read; returns their job."""
        chunks = incoming.chunks(plan.spec(self._parts.settings.max_rows))
        first = next(chunks)
        second = next(chunks, None)
        # The number of batches decides how they are stored: whether there is a second one must be known first.
        job = plan.job(job_id, len(first) + (0 if second is None else len(second)), incoming.request)
        rows = 0
        for batch, chunk in enumerate(itertools.chain([first], [] if second is None else [second], chunks)):
            each = result_bytes(len(chunk), job.features, job.outputs, plan.interactions)
            self._parts.results.promise(job_id, each)
            self._parts.payloads.put_rows(job, batch, chunk)
            rows += len(chunk)
        return plan.job(job_id, rows, incoming.request)

    @contextlib.contextmanager
    def _stored_or_removed(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except RedisUnavailableError:
            # Whether the transaction was carried out cannot be known, and an accepted job must keep its
            # rows. If it was not, the sweeper finds rows without a job.
            self._parts.results.settle(job_id)
            raise
        except BaseException:
            self._remove(job_id)
            raise
        else:
            self._parts.results.settle(job_id)

    def _remove(self, job_id: str) -> None:
        self._parts.results.release(job_id)
        try:
            self._parts.payloads.delete_job(job_id)
        except ShapboxError as fault:  # the sweeper comes round
            _log.warning(
                "rows of a refused job stay behind for the sweeper: %s", fault, extra={"job": job_id}
            )
