"""What is known from Redis: whether it answers, the sums, the queues and the workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.monitor.metrics.families import gauge, gauges
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.redis_reading import RedisReading, RedisState
from services.monitor.metrics.sums import sum_families
from shared.jobs.ids import made_at

#: What a worker can be doing. Both are exported from the start.
WORKER_STATES = ("idle", "busy")


class RedisLinkCollector(Collector):
    """What the pulse has felt, and no more: for a container where the rest is not to be told."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        """Yield whether Redis answered last, and how fast."""
        yield from _link_families(self._pulse, up=self._pulse.redis_up)


class RedisCollector(Collector):
    """Tells the last reading. `queue_limit` is how many batches may wait (MAX_QUEUED_BATCHES)."""

    def __init__(self, reading: RedisReading, pulse: Pulse, models: Sequence[str], queue_limit: int) -> None:
        self._reading = reading
        self._pulse = pulse
        self._models = models
        self._queue_limit = queue_limit

    def collect(self) -> Iterator[Metric]:
        """Yield the families; without Redis, only that it is away."""
        state = self._reading.state if self._pulse.redis_up else None
        yield from _link_families(self._pulse, up=state is not None)
        yield gauge(
            "queue_limit_batches",
            "Batches that may wait before jobs are refused with 429.",
            self._queue_limit,
        )
        if state is None:
            return
        yield from _memory_families(state)
        yield from sum_families(state.sums, self._models)
        yield from _queue_families(state, time.time())
        doing = Counter(beacon.state for beacon in state.beacons.values())
        workers: dict[tuple[str, ...], float] = {(name,): doing[name] for name in {*WORKER_STATES, *doing}}
        yield gauges("workers", "Living workers, by what they do.", ["state"], workers)


def _link_families(pulse: Pulse, *, up: bool) -> Iterator[Metric]:
    yield gauge("redis_up", "1 if Redis answers, else 0.", float(up))
    if up:
        yield gauge("redis_ping_seconds", "Seconds that Redis took for the last ping.", pulse.ping_seconds)


def _memory_families(state: RedisState) -> Iterator[Metric]:
    yield gauge("redis_memory_bytes", "Bytes that Redis has allocated for its data.", state.used_bytes)
    if state.limit_bytes:
        yield gauge(
            "redis_memory_limit_bytes",
            "Bytes at which Redis refuses writes (maxmemory); absent if it has no such limit.",
            state.limit_bytes,
        )


def _queue_families(state: RedisState, now: float) -> Iterator[Metric]:
    waiting: dict[tuple[str, ...], float] = {(lane.value,): count for lane, count in state.waiting.items()}
    ages: dict[tuple[str, ...], float] = {
        (lane.value,): max(0.0, now - made_at(head)) if head else 0.0 for lane, head in state.heads.items()
    }
    yield gauges("queue_batches", "Batches that wait, by queue.", ["queue"], waiting)
    yield gauges("queue_oldest_seconds", "Age of the job whose batch is next, by queue.", ["queue"], ages)
