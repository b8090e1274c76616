"""What is known from Redis: whether it answers, the sums, the queues and the workers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import redis
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.monitor.collectors.families import gauge, gauges
from services.monitor.collectors.sums import Sums, sum_families
from services.monitor.pulse import Pulse
from shared.beacons import Beacon, Beacons
from shared.counters import Counters
from shared.jobs.ids import made_at
from shared.jobs.queue import BatchQueues, Lane

#: What a worker can be doing. Both are exported from the start.
WORKER_STATES = ("idle", "busy")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisState:
    """All that one scrape reads from Redis."""

    sums: Sums
    waiting: Mapping[Lane, int]
    heads: Mapping[Lane, str | None]
    beacons: Mapping[str, Beacon]
    used_bytes: int


class RedisLinkCollector(Collector):
    """What the pulse has felt, and no more: for a container where the rest is not to be told."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Yield whether Redis answered last, and how fast."""
        yield from _link_families(self._pulse, up=self._pulse.redis_up)


class RedisCollector(Collector):
    """Reads Redis at each scrape, unless it did not answer the last ping: a scrape must not wait for it.

    The connection should be one that gives up soon, and is the collector's own: nothing is tried twice.
    """

    def __init__(
        self, connection: redis.Redis, queues: BatchQueues, pulse: Pulse, models: Sequence[str]
    ) -> None:
        connection.set_retry(Retry(NoBackoff(), 0))
        self._redis = connection
        self._queues = queues
        self._pulse = pulse
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Yield the families; without Redis, only that it is away."""
        state = self._read() if self._pulse.redis_up else None
        yield from _link_families(self._pulse, up=state is not None)
        if state is None:
            return
        yield gauge("redis_memory_bytes", "Bytes that Redis has allocated for its data.", state.used_bytes)
        yield from sum_families(state.sums, self._models)
        yield from _queue_families(state, time.time())
        doing = Counter(beacon.state for beacon in state.beacons.values())
        workers: dict[tuple[str, ...], float] = {(name,): doing[name] for name in {*WORKER_STATES, *doing}}
        yield gauges("workers", "Living workers, by what they do.", ["state"], workers)

    def _read(self) -> RedisState | None:
        try:
            return RedisState(
                sums=Counters(self._redis).read(),
                waiting=self._queues.waiting(),
                heads=self._queues.oldest(),
                beacons=Beacons(self._redis).alive(),
                used_bytes=int(self._redis.info("memory")["used_memory"]),
            )
        except redis.RedisError as fault:
            logger.debug("Redis is away from a scrape", extra={"cause": str(fault)})
            return None


def _link_families(pulse: Pulse, *, up: bool) -> Iterator[Metric]:
    yield gauge("redis_up", "1 if Redis answers, else 0.", float(up))
    if up:
        yield gauge("redis_ping_seconds", "Seconds that Redis took for the last ping.", pulse.ping_seconds)


def _queue_families(state: RedisState, now: float) -> Iterator[Metric]:
    waiting: dict[tuple[str, ...], float] = {(lane.value,): count for lane, count in state.waiting.items()}
    ages: dict[tuple[str, ...], float] = {
        (lane.value,): max(0.0, now - made_at(head)) if head else 0.0 for lane, head in state.heads.items()
    }
    yield gauges("queue_batches", "Batches that wait, by queue.", ["queue"], waiting)
    yield gauges("queue_oldest_seconds", "Age of the job whose batch is next, by queue.", ["queue"], ages)
