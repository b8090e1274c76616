"""An admin's wish for a fresh worker: the api lays it down in Redis, and one monitor takes it.

There is one at a time. Whoever wishes while one is pending shares that one, so that no client, however eager, has
workers leave faster than they come.
"""

from __future__ import annotations

import time

from shared.jobs import keys
from shared.redis.connection import RedisClient

#: Seconds for which a wish waits: for the last worker that was recycled to be followed, or for a monitor to come back.
PENDING_SECONDS = 60

#: Lays the wish down unless one is there, and tells which is. In one step: a wish may be taken at any moment.
_ASK = """
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2])
return redis.call('GET', KEYS[1])
"""
#: Takes it. GETDEL would do, from Redis 6.2 on.
_TAKE = """
local wish = redis.call('GET', KEYS[1])
if wish then redis.call('DEL', KEYS[1]) end
return wish
"""


class RecycleWish:
    """Every call may raise what shared.redis.connection.REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient) -> None:
        self._ask = connection.register_script(_ASK)
        self._take = connection.register_script(_TAKE)

    def ask(self) -> float:
        """Wish for a fresh worker; return when the wish was made that is now pending, in seconds since the epoch."""
        return float(self._ask(keys=[keys.RECYCLE], args=[repr(time.time()), PENDING_SECONDS]))

    def take(self) -> bool:
        """Take the wish, so that nobody else does; returns whether there was one."""
        return self._take(keys=[keys.RECYCLE]) is not None
