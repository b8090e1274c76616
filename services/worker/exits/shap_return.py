"""Gives back what shap takes, 105 MB a worker: one that has had no use for it for a while leaves, and comes back lean.

Python cannot let go of a package with its native libraries. A fresh process can, within some two seconds in
which the others go on: one worker at a time leaves for this, by a turn taken in Redis.
"""

from __future__ import annotations

import logging
import math
import sys
import time

import redis

from shared.jobs import keys
from shared.redis.connection import RedisClient

logger = logging.getLogger(__name__)

#: What takes the memory, with all that it imports.
PACKAGE = "shap"
#: Seconds without a batch for shap after which it is given back. To load it again takes about one.
IDLE_SECONDS = 60.0
#: Seconds for which no other worker leaves for this reason: longer than a worker's start on half a CPU.
TURN_SECONDS = 10
#: Seconds between two tries to have a turn.
RETRY_SECONDS = 1.0


class ShapReturn:
    """Tells one worker when it is time. Used by its main thread only."""

    def __init__(self, connection: RedisClient, token: str, idle_seconds: float | None = None) -> None:
        self._redis = connection
        self._token = token
        self._idle_seconds = IDLE_SECONDS if idle_seconds is None else idle_seconds
        self._used: float | None = None
        self._next_try = 0.0

    def used(self) -> None:
        """Say that a batch for shap has just ended; one that was refused before may not have loaded it."""
        if PACKAGE in sys.modules:
            self._used = time.monotonic()

    def wait_seconds(self) -> int | None:
        """Return after how many whole seconds, at least one, to ask again; None while shap is not loaded."""
        if self._used is None:
            return None
        due = max(self._used + self._idle_seconds, self._next_try)
        return max(1, math.ceil(due - time.monotonic()))

    def is_due(self) -> bool:
        """Return whether to leave now. Takes the turn; whoever is told so must leave."""
        now = time.monotonic()
        if self._used is None or now < self._used + self._idle_seconds or now < self._next_try:
            return False
        self._next_try = now + RETRY_SECONDS
        try:
            return bool(self._redis.set(keys.SHAP_TURN, self._token, nx=True, ex=TURN_SECONDS))
        except redis.RedisError as fault:  # it is away or full, and there are other things to see to
            logger.debug("shap is not given back", extra={"cause": str(fault)})
            return False
