"""How much room Redis's memory has for further jobs.

Redis refuses every write at its maxmemory, also those that would make room: claims, heartbeats, cancelling. So
new jobs are refused well before, and what is accepted can be worked off.
"""

from __future__ import annotations

import threading
import time

from shared.errors import RedisFullError
from shared.redis.connection import RedisClient

#: The share of maxmemory above which no further job is accepted.
ACCEPT_SHARE = 0.85
#: Bytes that a job takes, and each of its batches while it waits (measured: 1.3 and 1.83 KB).
JOB_BYTES, BATCH_BYTES = 1500, 2000
#: Seconds for which one reading is good; what was accepted since is added to it.
READING_SECONDS = 0.5


class RedisCapacity:
    """Safe to use from several threads. Any call may raise what REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._used = self._most = 0

    def require(self, batches: int) -> None:
        """Raise RedisFullError if a job of so many batches would take Redis over ACCEPT_SHARE."""
        needed = JOB_BYTES + batches * BATCH_BYTES
        with self._lock:
            self._read()
            room = int(self._most * ACCEPT_SHARE) - self._used
            if self._most and needed > room:
                raise RedisFullError(
                    f"Redis holds {self._used / 2**20:.0f} MB of {self._most / 2**20:.0f}, and this job would add "
                    f"{needed / 2**20:.1f}. Send it again when jobs have ended, in smaller parts, or delete ended jobs."
                )
            self._used += needed

    def _read(self) -> None:
        if time.monotonic() - self._read_at < READING_SECONDS:
            return
        memory = self._redis.info("memory")
        self._used, self._most = int(memory["used_memory"]), int(memory["maxmemory"])
        self._read_at = time.monotonic()
