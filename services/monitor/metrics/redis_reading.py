"""Reads all metrics of Redis once a second. A scrape reports the last reading."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.monitor.metrics.families import Sums
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.jobs.queue import BatchQueues, Lane
from shared.redis.connection import RedisClient

#: Seconds after which a reading is outdated: the loop hangs, and a scrape must not report that nothing has changed.
STALE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisState:
    """All that the metrics say about Redis; `limit_bytes` is 0 where it has no maxmemory."""

    sums: Sums
    waiting: Mapping[Lane, int]
    heads: Mapping[Lane, str | None]
    heartbeats: Mapping[str, Heartbeat]
    used_bytes: int
    limit_bytes: int


class RedisReading:
    """One thread calls `step`. `connection` is its own and should give up soon."""

    def __init__(
        self,
        connection: RedisClient,
        queues: BatchQueues,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        connection.set_retry(Retry(NoBackoff(), 0))
        self._redis = connection
        self._queues = queues
        self._counters, self._heartbeats = Counters(connection), Heartbeats(connection)
        self._clock = clock
        self._last: tuple[RedisState, float] | None = None

    @property
    def state(self) -> RedisState | None:
        """The last reading; None while Redis does not answer."""
        last = self._last
        return last[0] if last and self._clock() - last[1] <= STALE_SECONDS else None

    def step(self) -> None:
        """Read, once. An outage is not raised: the pulse logs it."""
        try:
            self._last = (self._read(), self._clock())
        except redis.RedisError as fault:
            self._last = None
            logger.debug("no reading of Redis", extra={"cause": str(fault)})

    def _read(self) -> RedisState:
        memory = self._redis.info("memory")
        return RedisState(
            sums=self._counters.read(),
            waiting=self._queues.waiting(),
            heads=self._queues.heads(),
            heartbeats=self._heartbeats.alive(),
            used_bytes=int(memory["used_memory"]),
            limit_bytes=int(memory.get("maxmemory", 0)),
        )
