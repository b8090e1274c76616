"""A job that must be completed for what is asked of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from services.api.components import Parts
from services.api.results.result_answer import require_result
from shared.errors import PayloadMissingError
from shared.jobs.document import Job
from shared.redis.connection import redis_needed


@contextlib.contextmanager
def completed_job(parts: Parts, job_id: str) -> Iterator[Job]:
    """Give the job to a block that reads its objects.

    Raises what `require_result` raises, and JobNotFoundError if it is not there, or deleted while the block runs.
    """
    with redis_needed():
        job = parts.store.get(job_id)
    require_result(job)
    try:
        yield job
    except PayloadMissingError:
        with redis_needed():
            parts.store.get(job_id)
        raise
