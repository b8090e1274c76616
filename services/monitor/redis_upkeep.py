"""Warns of a remote Redis that would drop accepted jobs."""

from __future__ import annotations

import logging

from shared.redis.connection import RedisClient

#: The policy under which a full Redis refuses writes. Queues and job documents are keys, which others would drop.
SAFE_POLICY = "noeviction"

logger = logging.getLogger(__name__)


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
