"""The one task that RQ's queues carry, called by its dotted name with ids only."""

from __future__ import annotations

from services.worker.batch import BatchRunner

_runner: BatchRunner | None = None


def install(runner: BatchRunner) -> None:
    """Say with what this process runs its batches. RQ calls tasks by name, so they find it here."""
    global _runner  # noqa: PLW0603  # one worker, one process
    _runner = runner


def explain_batch(job_id: str, batch: int, request: str = "") -> None:
    """Explain one batch of a job. `request`, whose it is, is for the log: BatchWorker puts all three on each line."""
    del request
    if _runner is None:
        raise RuntimeError("this process is no Shapbox worker: start one by python -m services.worker")
    _runner.run(job_id, batch)
