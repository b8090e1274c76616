"""Checks that Redis has memory for further jobs.

At its maxmemory Redis refuses all writes, also those that would free memory: claims, heartbeats, cancelling. So new jobs are
refused well before, and what was accepted can be finished.
"""

from __future__ import annotations

import threading
import time

from shared.errors import RedisFullError
from shared.redis.connection import RedisClient

#: The share of maxmemory above which no job is accepted.
ACCEPT_SHARE = 0.85
#: Bytes that a job takes, and each of its batches while it waits (measured: 1.3 and 1.83 KB).
JOB_BYTES, BATCH_BYTES = 1500, 2000
#: Seconds for which a reading counts; what was accepted since is added to it.
READING_SECONDS = 0.5


class RedisCapacity:
    """Safe for several threads. Every call may raise the exceptions in REDIS_AWAY."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._used = self._most = 0

    def require(self, batches: int) -> None:
        """Raise RedisFullError if a job of so many batches would fill Redis beyond ACCEPT_SHARE."""
        needed = JOB_BYTES + batches * BATCH_BYTES
        with self._lock:
            if time.monotonic() - self._read_at >= READING_SECONDS:
                memory = self._redis.info("memory")
                self._used, self._most = int(memory["used_memory"]), int(memory["maxmemory"])
                self._read_at = time.monotonic()
            left = int(self._most * ACCEPT_SHARE) - self._used
            if self._most and needed > left:
                raise RedisFullError(
                    f"Redis uses {self._used / 2**20:.0f} MB of {self._most / 2**20:.0f} MB, and this job would add "
                    f"{needed / 2**20:.1f} MB. Send it again after other jobs have ended, send it as several smaller "
                    "jobs, or delete ended jobs."
                )
            self._used += needed
