"""How workers say that they live: a key each, renewed while the process runs, gone soon after it ends.

The lease is counted by Redis, so the clocks of different machines do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson

from shared.jobs import keys
from shared.redis.connection import RedisClient, texts

#: Seconds between two beats.
BEAT_SECONDS = 2
#: Seconds after the last beat until a worker counts as gone.
LEASE_SECONDS = 10


#: Lights a beacon. It begins with a removal, since such a script may go on where Redis's memory is full.
_LIGHT = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
"""

#: Puts out a beacon, unless the next life of the same name has lit it by now.
_PUT_OUT = """
local beacon = redis.call('GET', KEYS[1])
if beacon and ARGV[2] ~= '' and cjson.decode(beacon).token ~= ARGV[2] then return 0 end
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"""

#: Forgets the names whose beacons have gone out by themselves.
_PRUNE = """
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('EXISTS', ARGV[1] .. name) == 0 then redis.call('SREM', KEYS[1], name) end
end
"""


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a worker says of itself. `token` names this life of it: a restarted worker has another."""

    name: str
    host: str
    pid: int
    token: str
    state: str = "idle"


class Beacons:
    """Every call may raise what shared.redis.connection.REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._light = connection.register_script(_LIGHT)
        self._put_out = connection.register_script(_PUT_OUT)
        self._prune = connection.register_script(_PRUNE)

    def beat(self, beacon: Beacon) -> None:
        """Say that the worker lives."""
        content = orjson.dumps(asdict(beacon))
        self._light(keys=[keys.beacon(beacon.name), keys.WORKERS], args=[content, LEASE_SECONDS, beacon.name])

    def prune(self) -> None:
        """Forget the names of workers that are not heard of any more."""
        self._prune(keys=[keys.WORKERS], args=[keys.beacon("")])

    def put_out(self, name: str, token: str | None = None) -> None:
        """Say that the worker has ended, or is known to be dead; with `token`, only that life of it."""
        self._put_out(keys=[keys.beacon(name), keys.WORKERS], args=[name, token or ""])

    def alive(self) -> dict[str, Beacon]:
        """Return the beacons of all living workers, by name."""
        return self.of(sorted(texts(self._redis.smembers(keys.WORKERS))))

    def of(self, names: Iterable[str]) -> dict[str, Beacon]:
        """Return the beacons of those of `names` that live."""
        names = list(names)
        values = self._redis.mget([keys.beacon(name) for name in names]) if names else []
        return {
            name: Beacon(**orjson.loads(value)) for name, value in zip(names, values, strict=True) if value
        }
