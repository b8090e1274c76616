"""The one task that RQ's queues carry, called by its dotted name with ids only."""

from __future__ import annotations

from services.worker.batch_run import BatchRunner
from shared.log import log_context

_runner: BatchRunner | None = None


def install(runner: BatchRunner) -> None:
    """Say with what this process runs its batches. RQ calls tasks by name, so they find it here."""
    global _runner  # noqa: PLW0603  # one worker, one process
    _runner = runner


def explain_batch(job_id: str, batch: int) -> None:
    """Explain one batch of a job."""
    if _runner is None:
        raise RuntimeError("this process is no Shapbox worker: start one by python -m services.worker")
    with log_context(job=job_id, batch=batch):
        _runner.run(job_id, batch)
