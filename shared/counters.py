"""Counters and histograms that outlive processes: added up in memory, kept in Redis.

A process adds without waiting; `flush` moves what has come together into Redis in one transaction. What
Redis did not take stays in memory and goes with the next flush.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

import redis

from shared.jobs import keys
from shared.redis_connection import texts

#: Parts a counter's name from its label values, in the field's name.
SEPARATOR = "|"
#: Upper bounds of the histograms, in seconds.
BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
)


class Counters:
    """Additions of one process, and the reading of all processes' sums."""

    def __init__(self, connection: redis.Redis) -> None:
        self._redis = connection
        self._pending: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter. Label values come in the order of the metric's labels."""
        with self._lock:
            self._pending[SEPARATOR.join((name, *labels))] += amount

    def observe(self, name: str, seconds: float) -> None:
        """Add one observation to a histogram."""
        place = bisect_left(BUCKETS, seconds)
        bound = str(BUCKETS[place]) if place < len(BUCKETS) else "+Inf"
        with self._lock:
            self._pending[SEPARATOR.join((f"{name}_bucket", bound))] += 1
            self._pending[f"{name}_sum"] += seconds

    def flush(self) -> None:
        """Move what was added into Redis. Raises what REDIS_AWAY lists, and loses nothing by it."""
        with self._lock:
            pending, self._pending = self._pending, defaultdict(float)
        if not pending:
            return
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                for field, amount in pending.items():
                    pipe.hincrbyfloat(keys.COUNTERS, field, amount)
                pipe.execute()
        except redis.RedisError:
            with self._lock:
                for field, amount in pending.items():
                    self._pending[field] += amount
            raise

    def read(self) -> dict[tuple[str, ...], float]:
        """Return all sums by (name, label values…)."""
        sums = self._redis.hgetall(keys.COUNTERS)
        return {
            tuple(field.split(SEPARATOR)): float(value)
            for field, value in zip(texts(sums), sums.values(), strict=True)
        }
