"""Changes of a job's state, each as one Lua script, which Redis runs atomically.

The scripts build their keys themselves, so all of the state is in one Redis, not in a cluster.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import resources

from shared.redis.connection import RedisClient


class Claim(StrEnum):
    """Whether a worker may run a batch; if not, why."""

    RUN = "run"
    TAKEN = "taken"
    DONE = "done"
    ENDED = "ended"
    GONE = "gone"


class Completion(StrEnum):
    """The effect of recording a result."""

    RECORDED = "recorded"
    COMPLETED = "completed"
    REPEATED = "repeated"
    ENDED = "ended"
    GONE = "gone"


class Release(StrEnum):
    """The effect of releasing a batch from its holder."""

    REQUEUE = "requeue"
    POISONED = "poisoned"
    DONE = "done"
    ENDED = "ended"
    CHANGED = "changed"


class Transitions:
    """The scripts, bound to a connection. Every call may raise the exceptions in REDIS_AWAY."""

    def __init__(self, connection: RedisClient) -> None:
        prelude = _source("end_job")
        names = ("claim", "complete", "release", "finish", "forget")
        self._scripts = {name: connection.register_script(prelude + _source(name)) for name in names}

    def claim(self, job_id: str, batch: int, owner: str, token: str) -> Claim:
        """Claim a batch for `owner`, whose process is `token`."""
        return Claim(self._scripts["claim"](args=[job_id, batch, owner, token]).decode())

    def complete(self, job_id: str, batch: int, rows: int, model: str, residual: float) -> Completion:
        """Record a stored result and its largest residual; the last one completes the job."""
        return Completion(
            self._scripts["complete"](args=[job_id, batch, rows, model, repr(float(residual))]).decode()
        )

    def release(
        self, job_id: str, batch: int, holder: bytes, *, limit: int, problem: bytes, blame: int
    ) -> Release:
        """Release a batch from `holder` (as read); at `limit` blame its job fails with `problem`."""
        return Release(
            self._scripts["release"](args=[job_id, batch, holder, limit, problem, int(blame)]).decode()
        )

    def finish(self, job_id: str, status: str, problem: bytes = b"") -> bool:
        """End an active job as failed or cancelled; return whether it was active."""
        return bool(self._scripts["finish"](args=[job_id, status, problem]))

    def forget(self, job_id: str) -> bool:
        """Remove an ended job from Redis; return whether it existed."""
        return bool(self._scripts["forget"](args=[job_id]))


def _source(name: str) -> str:
    return resources.files("shared.jobs").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
