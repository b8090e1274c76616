"""Warns of a Redis elsewhere that would make room by dropping keys: queued batches and job documents are keys, too.

The embedded Redis never evicts; of another one we see only what it says of itself, and it may be set otherwise any day.
"""

from __future__ import annotations

import logging

from shared.redis.connection import RedisClient

#: The policy under which Redis refuses writes when it is full, which is what everything here reckons with.
SAFE_POLICY = "noeviction"

logger = logging.getLogger(__name__)


class EvictionWatch:
    """One thread calls `step`. It may raise what REDIS_AWAY lists."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._told = SAFE_POLICY

    def step(self) -> None:
        """Look at the policy, and warn once of each one that is not safe."""
        # Not CONFIG GET, which hosted ones refuse.
        policy = str(self._redis.info("memory").get("maxmemory_policy", SAFE_POLICY))
        if policy not in {SAFE_POLICY, self._told}:
            logger.warning(
                "Redis drops keys when it is full (maxmemory-policy %s), and accepted jobs with them: set it to %s, "
                "by CONFIG SET maxmemory-policy %s or where it is hosted",
                policy,
                SAFE_POLICY,
                SAFE_POLICY,
            )
        self._told = policy
