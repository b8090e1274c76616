"""Each change of a job's state, as one Lua script that Redis runs whole or not at all.

The scripts name their keys themselves, so one Redis (not a cluster) holds all of a Shapbox's state.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import resources

from shared.redis.connection import RedisClient


class Claim(StrEnum):
    """What became of a worker's wish to run a batch."""

    RUN = "run"
    TAKEN = "taken"
    DONE = "done"
    ENDED = "ended"
    GONE = "gone"


class Completion(StrEnum):
    """What the recording of a result did."""

    RECORDED = "recorded"
    COMPLETED = "completed"
    REPEATED = "repeated"
    ENDED = "ended"
    GONE = "gone"


class Release(StrEnum):
    """What became of a dead worker's batch."""

    REQUEUE = "requeue"
    POISONED = "poisoned"
    DONE = "done"
    ENDED = "ended"
    CHANGED = "changed"


class Transitions:
    """The scripts, bound to a connection. Every call may raise what REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient) -> None:
        prelude = _source("end_job")
        self._claim = connection.register_script(prelude + _source("claim"))
        self._complete = connection.register_script(prelude + _source("complete"))
        self._release = connection.register_script(prelude + _source("release"))
        self._finish = connection.register_script(prelude + _source("finish"))
        self._forget = connection.register_script(prelude + _source("forget"))

    def claim(self, job_id: str, batch: int, owner: str, token: str) -> Claim:
        """Take a batch for `owner`, whose present life is `token`."""
        return Claim(self._claim(args=[job_id, batch, owner, token]).decode())

    def complete(self, job_id: str, batch: int, rows: int, model: str, residual: float) -> Completion:
        """Record that a batch's result, with its largest residual, is stored; the last one completes the job."""
        return Completion(self._complete(args=[job_id, batch, rows, model, repr(float(residual))]).decode())

    def release(
        self, job_id: str, batch: int, holder: bytes, *, limit: int, problem: bytes, blame: int
    ) -> Release:
        """Take a batch from its holder (as read); `problem` fails its job when `blame` adds up to `limit`."""
        return Release(self._release(args=[job_id, batch, holder, limit, problem, int(blame)]).decode())

    def finish(self, job_id: str, status: str, problem: bytes = b"") -> str:
        """End a job as failed or cancelled; returns its status before, or "gone"."""
        return str(self._finish(args=[job_id, status, problem]).decode())

    def forget(self, job_id: str) -> bool:
        """Remove an ended job from Redis; returns whether it was there."""
        return bool(self._forget(args=[job_id]))


def _source(name: str) -> str:
    return resources.files("shared.jobs").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
