"""The batch that a worker holds: the tool asks Redis itself, not the api."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs import keys
from shared.jobs.document import Status
from shared.jobs.recovery import MAX_DEATHS, Blame, Recovery, Running
from shared.jobs.store import JobStore
from shared.redis.connection import RedisClient
from shared.settings import Settings

#: Blame at which one more death would fail a job, and rightly.
LAST_LIFE = (MAX_DEATHS - 1) * Blame.DEATH


@dataclass(frozen=True, slots=True)
class Hold:
    """A batch that a worker held."""

    job_id: str
    batch: int
    token: str


class Holdings:
    """Every call may raise what shared.redis.connection.REDIS_AWAY lists. Thread-safe."""

    def __init__(self, connection: RedisClient, settings: Settings) -> None:
        self._redis = connection
        self._settings = settings
        self._heartbeats = Heartbeats(connection)
        self._recovery = Recovery(connection, JobStore(connection, settings))

    def heartbeat(self, program: str) -> Heartbeat | None:
        """Return what a worker of this appliance says of itself."""
        host = self._settings.host_name_file.read_text(encoding="ascii").strip()
        name = f"{host}/{program}"
        return self._heartbeats.alive().get(name)

    def held(self, heartbeat: Heartbeat) -> Sequence[Hold]:
        """Return what this process of a worker holds."""
        return [_hold(running) for running in self._recovery.running() if running.token == heartbeat.token]

    def on_last_life(self, heartbeat: Heartbeat) -> bool:
        """Return whether it holds a batch that one more death would make poison."""
        counts = [
            self._redis.hget(keys.deaths(hold.job_id), str(hold.batch)) for hold in self.held(heartbeat)
        ]
        return any(int(count or 0) + Blame.DEATH > LAST_LIFE for count in counts)

    def runs_again(self, hold: Hold) -> bool | None:
        """Return whether a batch is recorded or held by another process; None if its job has ended."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hget(keys.job(hold.job_id), "status")
            pipe.sismember(keys.todo(hold.job_id), str(hold.batch))
            pipe.hget(keys.RUNNING, f"{hold.job_id}:{hold.batch}")
            status, to_do, raw = pipe.execute()
        if status is None or status.decode() in {Status.CANCELLED, Status.FAILED}:
            return None
        if not to_do:
            return True
        return raw is not None and hold.token.encode() not in raw


def _hold(running: Running) -> Hold:
    return Hold(running.job_id, running.batch, running.token)
