"""The names of all keys in Redis, except RQ's own."""

from __future__ import annotations

#: All jobs' ids, score 0: they sort by id, that is by time.
JOBS = "shapbox:jobs"
#: Ended jobs' ids by the time of their end, for the sweeper.
FINISHED = "shapbox:finished"
#: JOB:BATCH of every batch that a worker holds → the holder as JSON.
RUNNING = "shapbox:running"
#: Counters and histograms that outlive processes.
COUNTERS = "shapbox:counters"
#: The names of all workers that have sent a heartbeat, alive or not.
WORKERS = "shapbox:workers"
#: Written by the monitor every second, to see whether Redis accepts writes.
PULSE = "shapbox:pulse"
#: The worker that may restart to free shap's memory, for some seconds.
SHAP_TURN = "shapbox:shap-turn"
#: The time of an admin's recycle request. It expires unless a monitor takes it.
RECYCLE = "shapbox:recycle"
#: The channel on which ended jobs' ids are published.
ENDED_CHANNEL = "shapbox:ended"


def job(job_id: str) -> str:
    """Return the key of a job's fields."""
    return f"shapbox:job:{job_id}"


def todo(job_id: str) -> str:
    """Return the key of the set of a job's batches whose results are not recorded."""
    return f"shapbox:todo:{job_id}"


def deaths(job_id: str) -> str:
    """Return the key of the blame, by batch, for workers that died holding it."""
    return f"shapbox:deaths:{job_id}"


def with_status(status: str) -> str:
    """Return the key of the ids of all jobs in `status`, score 0."""
    return f"shapbox:jobs:{status}"


def flush(process: str) -> str:
    """Return the key of the number of a process's last flush of its counters; it expires."""
    return f"shapbox:flush:{process}"


def heartbeat(worker: str) -> str:
    """Return the key of a worker's heartbeat, which expires unless renewed."""
    # prose: allow "beacon": stored data
    return f"shapbox:beacon:{worker}"


def idempotency(digest: str) -> str:
    """Return the key that maps the digest of an Idempotency-Key to its job."""
    return f"shapbox:idempotency:{digest}"
