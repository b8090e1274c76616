"""Care for the Redis server: AofSync for the embedded one, EvictionWatch for a remote one.

Redis's own `appendfsync everysec` delays a write while an fsync runs, for up to two seconds after it was answered: a kill
-9 in that moment loses an accepted job. With `appendfsync no` each write reaches the kernel before its answer, and the
kernel keeps it when Redis dies. AofSync does the rest, against a power cut.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from shared.redis.connection import RedisClient

#: The folder of the append-only file's parts, in Redis's working folder.
FOLDER = "appendonlydir"
#: The policy under which a full Redis refuses writes. Queues and job documents are keys, which others would drop.
SAFE_POLICY = "noeviction"

logger = logging.getLogger(__name__)


class AofSync:
    """Syncs the embedded Redis's append-only file. One thread calls `step` every second."""

    def __init__(self, redis_dir: Path) -> None:
        self._folder = redis_dir / FOLDER
        self._synced: tuple[str, int] = ("", -1)

    def step(self) -> None:
        """Sync the file that Redis appends to, if it has grown. Raises OSError if the disk fails."""
        # The increment with the highest number: NAME.NUMBER.incr.aof.
        newest = max(self._folder.glob("*.incr.aof"), key=_number, default=None)
        if newest is None:
            return
        try:
            descriptor = os.open(newest, os.O_RDONLY)
        except FileNotFoundError:  # a rewrite has just removed it
            return
        try:
            state = (newest.name, os.fstat(descriptor).st_size)
            if state != self._synced:
                os.fdatasync(descriptor)
                self._synced = state
        finally:
            os.close(descriptor)


class EvictionWatch:
    """Warns of a remote Redis that evicts keys. One thread calls `step`; may raise REDIS_AWAY."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._told = SAFE_POLICY

    def step(self) -> None:
        """Read the policy, and warn once of each unsafe one."""
        # Not CONFIG GET, which hosted ones refuse.
        policy = str(self._redis.info("memory").get("maxmemory_policy", SAFE_POLICY))
        if policy not in {SAFE_POLICY, self._told}:
            logger.warning(
                "Redis drops keys when it is full (maxmemory-policy %s), and accepted jobs with them: set it to %s, "
                "with CONFIG SET maxmemory-policy %s or where it is hosted",
                policy,
                SAFE_POLICY,
                SAFE_POLICY,
            )
        self._told = policy


def _number(path: Path) -> int:
    number = path.name.split(".")[-3]
    return int(number) if number.isdecimal() else -1
