"""An admin's request to replace a worker, put into Redis by the api and taken by a monitor.

There is one at a time. Clients that ask while one is pending share it, so that workers never exit faster than they start.
"""

from __future__ import annotations

import time

from shared.jobs import keys
from shared.redis.connection import RedisClient
from shared.timing import TIMING


class RecycleRequests:
    """Every call may raise the exceptions in shared.redis.connection.REDIS_AWAY."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection

    def ask(self) -> float:
        """Request a replacement; return when the pending request was made (Unix time)."""
        with self._redis.pipeline() as pipe:  # in one step: the request may be taken at any moment
            pipe.set(keys.RECYCLE, repr(time.time()), nx=True, px=int(TIMING.recycle_request_seconds * 1000))
            pipe.get(keys.RECYCLE)
            return float(pipe.execute()[1])

    def take(self) -> bool:
        """Take the request, so that no other monitor does; return whether there was one."""
        return bool(self._redis.delete(keys.RECYCLE))
