"""Appliances of ROLE=api and ROLE=worker on one Redis, one store and one hostname."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import redis

from ops.lab.trial_appliance import Appliance
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.redis.connection import REDIS_AWAY, Patience, connect
from shared.settings import Settings


class WorkerAppliance(Appliance):
    """Ready when all its workers are heard of: there is no api to ask.

    `redis_url` is where to listen for them; the appliance's own way to Redis may be cut.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str], redis_url: str | None = None) -> None:
        super().__init__(data_dir, {"ROLE": "worker", **settings})
        listening = self.environment | {"REDIS_URL": redis_url or self.environment["REDIS_URL"]}
        self._listening = Settings.from_environment(listening)

    @property
    def host(self) -> str:
        """The name that boot gave it."""
        return self.settings().host_name_file.read_text(encoding="ascii").strip()

    def is_ready(self) -> bool:
        """Return whether each of its workers' processes sends a heartbeat."""
        pids = set(self.worker_pids())
        beating = {heartbeat.pid for heartbeat in self.heartbeats().values()}
        return len(pids & beating) == int(self.environment["WORKERS"])

    def heartbeats(self) -> dict[str, Heartbeat]:
        """Return its workers' heartbeats by name; none without Redis or during the boot."""
        try:
            with closing(connect(self._listening, Patience.STEADY, name="test")) as connection:
                alive = Heartbeats(connection).alive()
                host = self.host
        except (*REDIS_AWAY, FileNotFoundError):
            return {}
        return {name: heartbeat for name, heartbeat in alive.items() if heartbeat.host == host}


def shared_connection(appliance: Appliance) -> redis.Redis:
    """Connect to the Redis that an appliance works with."""
    return connect(appliance.settings(), Patience.STEADY, name="test")
