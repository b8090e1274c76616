"""Whether Redis accepts a write now."""

from __future__ import annotations

import time

from shared.jobs import keys
from shared.redis.connection import RedisClient

#: Seconds for which a successful write counts, so that frequent probes do not fill Redis's file.
COUNTS_SECONDS = 1.0
#: Seconds after which the key expires.
EXPIRY_SECONDS = 60


class RedisProbe:
    """Writes to a key of its own. Thread-safe."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._written_at = float("-inf")

    def write(self) -> float:
        """Write, and return the seconds that it took; within a second of a success only ping.

        Raises the exceptions in REDIS_AWAY, and ResponseError if Redis refuses the write.
        """
        started = time.monotonic()
        if started - self._written_at < COUNTS_SECONDS:
            self._redis.ping()
        else:
            self._redis.set(keys.READY, b"", ex=EXPIRY_SECONDS)
            self._written_at = started
        return time.monotonic() - started
