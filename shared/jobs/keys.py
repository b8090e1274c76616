"""The names of all keys that Shapbox has in Redis, besides RQ's own."""

from __future__ import annotations

#: Every job's id, score 0: they sort by id, which is by time.
JOBS = "shapbox:jobs"
#: Ended jobs' ids by the time of their end, for the sweeper.
FINISHED = "shapbox:finished"
#: JOB:BATCH of every batch that some worker holds → the holder as JSON.
RUNNING = "shapbox:running"
#: Counters and histograms that outlive processes.
COUNTERS = "shapbox:counters"
#: The names of all workers that have reported, alive or not.
WORKERS = "shapbox:workers"
#: What the monitor writes each second to learn whether Redis takes writes.
PULSE = "shapbox:pulse"
#: Whose turn it is to give shap's memory back, for some seconds.
SHAP_TURN = "shapbox:shap-turn"
#: An admin's wish for a fresh worker: when it was made. It expires unless a monitor takes it.
RECYCLE = "shapbox:recycle"
#: The channel on which each job's end is announced by its id.
ENDED_CHANNEL = "shapbox:ended"


def job(job_id: str) -> str:
    """Return the key of a job's fields."""
    return f"shapbox:job:{job_id}"


def todo(job_id: str) -> str:
    """Return the key of the set of a job's batches whose results are not recorded."""
    return f"shapbox:todo:{job_id}"


def deaths(job_id: str) -> str:
    """Return the key of the count, by batch, of workers that died holding it."""
    return f"shapbox:deaths:{job_id}"


def with_status(status: str) -> str:
    """Return the key of the ids of all jobs in `status`, score 0."""
    return f"shapbox:jobs:{status}"


def flush(process: str) -> str:
    """Return the key of the number of a process's last flush of its counters; it expires."""
    return f"shapbox:flush:{process}"


def heartbeat(worker: str) -> str:
    """Return the key under which a worker says that it lives; it expires unless renewed."""
    return f"shapbox:beacon:{worker}"


def idempotency(digest: str) -> str:
    """Return the key that maps an Idempotency-Key's digest to its job."""
    return f"shapbox:idempotency:{digest}"
