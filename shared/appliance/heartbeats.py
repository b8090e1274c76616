"""Workers' heartbeats: keys that are renewed while the process runs, and expire after it.

Redis counts the lease, so the clocks of different machines do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from shared.jobs import keys
from shared.redis.connection import RedisClient, texts
from shared.timing import TIMING

#: Renews a heartbeat. It begins with a removal, since such a script may go on when Redis's memory is full.
_BEAT = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
"""

#: Withdraws a heartbeat, unless a new process of the same name has sent one.
_WITHDRAW = """
local heartbeat = redis.call('GET', KEYS[1])
if heartbeat and ARGV[2] ~= '' and cjson.decode(heartbeat).token ~= ARGV[2] then return 0 end
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""

#: Forgets the names whose heartbeats have expired.
_PRUNE = """
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('EXISTS', ARGV[1] .. name) == 0 then redis.call('SREM', KEYS[1], name) end
end
"""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker's state. `token` identifies its process: a restarted worker has another."""

    name: str
    host: str
    pid: int
    token: str
    state: str = "idle"


class Heartbeats:
    """Every call may raise the exceptions in shared.redis.connection.REDIS_AWAY."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._beat = connection.register_script(_BEAT)
        self._withdraw = connection.register_script(_WITHDRAW)
        self._prune = connection.register_script(_PRUNE)

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send or renew a heartbeat."""
        self._beat(
            keys=[keys.heartbeat(heartbeat.name), keys.WORKERS],
            args=[orjson.dumps(heartbeat), int(TIMING.heartbeat_lease_seconds * 1000), heartbeat.name],
        )

    def prune(self) -> None:
        """Forget the names of workers whose heartbeats have expired."""
        self._prune(keys=[keys.WORKERS], args=[keys.heartbeat("")])

    def withdraw(self, name: str, token: str | None = None) -> None:
        """Remove the heartbeat of a worker that has ended; with `token`, only of that process."""
        self._withdraw(keys=[keys.heartbeat(name), keys.WORKERS], args=[name, token or ""])

    def alive(self) -> dict[str, Heartbeat]:
        """Return the heartbeats of all live workers, by name."""
        names = sorted(texts(self._redis.smembers(keys.WORKERS)))
        values = self._redis.mget([keys.heartbeat(name) for name in names]) if names else []
        return {
            name: Heartbeat(**orjson.loads(value)) for name, value in zip(names, values, strict=True) if value
        }
