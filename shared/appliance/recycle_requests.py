"""An admin's request to replace a worker, put into Redis by the api and taken by a monitor.

There is one at a time. Clients that ask while one is pending share it, so that workers never exit faster than they start.
"""

from __future__ import annotations

import time

from shared.jobs import keys
from shared.redis.connection import RedisClient
from shared.timing import TIMING, Timing

#: Sets the request unless one is pending, and returns the pending one. In one step: it may be taken at any moment.
_ASK = """
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return redis.call('GET', KEYS[1])
"""
#: Takes it, as GETDEL would from Redis 6.2 on.
_TAKE = """
local request = redis.call('GET', KEYS[1])
if request then redis.call('DEL', KEYS[1]) end
return request
"""


class RecycleRequests:
    """Every call may raise the exceptions in shared.redis.connection.REDIS_AWAY."""

    def __init__(self, connection: RedisClient, timing: Timing = TIMING) -> None:
        self._pending_ms = int(timing.recycle_request_seconds * 1000)
        self._ask = connection.register_script(_ASK)
        self._take = connection.register_script(_TAKE)

    def ask(self) -> float:
        """Request a replacement; return when the pending request was made (Unix time)."""
        return float(self._ask(keys=[keys.RECYCLE], args=[repr(time.time()), self._pending_ms]))

    def take(self) -> bool:
        """Take the request, so that no other monitor does; return whether there was one."""
        return self._take(keys=[keys.RECYCLE]) is not None
