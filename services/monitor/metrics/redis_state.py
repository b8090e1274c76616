"""What is known from Redis: whether it answers, the sums, the queues and the workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from services.monitor.metrics.families import family
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.redis_reading import RedisReading, RedisState
from services.monitor.metrics.sums import sum_families
from shared import metrics
from shared.jobs.ids import made_at


class RedisLinkCollector(Collector):
    """What the pulse has felt, and no more: for a container where the rest is not to be told."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Family]:
        """Yield whether Redis answered last, and how fast."""
        yield from _link_families(self._pulse, up=self._pulse.redis_up)


class RedisCollector(Collector):
    """Tells the last reading. `queue_limit` is how many batches may wait (MAX_QUEUED_BATCHES)."""

    def __init__(self, reading: RedisReading, pulse: Pulse, models: Sequence[str], queue_limit: int) -> None:
        self._reading = reading
        self._pulse = pulse
        self._models = models
        self._queue_limit = queue_limit

    def collect(self) -> Iterator[Family]:
        """Yield the families; without Redis, only that it is away."""
        state = self._reading.state if self._pulse.redis_up else None
        yield from _link_families(self._pulse, up=state is not None)
        yield family(metrics.QUEUE_LIMIT, self._queue_limit)
        if state is None:
            return
        yield family(metrics.REDIS_MEMORY, state.used_bytes)
        if state.limit_bytes:
            yield family(metrics.REDIS_MEMORY_LIMIT, state.limit_bytes)
        yield from sum_families(state.sums, self._models)
        yield from _queue_families(state, time.time())
        doing = Counter(heartbeat.state for heartbeat in state.heartbeats.values())
        yield family(metrics.WORKERS, {(name,): float(number) for name, number in doing.items()})


def _link_families(pulse: Pulse, *, up: bool) -> Iterator[Family]:
    yield family(metrics.REDIS_UP, float(up))
    if up:
        yield family(metrics.REDIS_PING, pulse.ping_seconds)


def _queue_families(state: RedisState, now: float) -> Iterator[Family]:
    waiting = {(lane.value,): float(count) for lane, count in state.waiting.items()}
    ages = {
        (lane.value,): max(0.0, now - made_at(head)) if head else 0.0 for lane, head in state.heads.items()
    }
    yield family(metrics.QUEUE_BATCHES, waiting)
    yield family(metrics.QUEUE_OLDEST, ages)
