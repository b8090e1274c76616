"""Counters, histograms and maxima, collected in memory and kept in Redis.

Adding never waits; `flush` moves what was collected into Redis in one step, and keeps it if Redis does not confirm. A
Redis that was stopped executes what it had received when it continues, although the sender gave up and sends it again.
So each flush has a number, and counts once.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.jobs import keys
from shared.metrics import BUCKETS, SEPARATOR, Metric
from shared.redis.connection import RedisClient

#: Seconds for which Redis remembers a process's last flush: longer than an outage.
REMEMBERED_SECONDS = 24 * 3600
#: Adds the amounts and keeps the larger maxima, unless the process's last flush has this number already. ARGV: the
#: number, the seconds to remember it, and the amounts and the maxima by field, each as JSON.
_FLUSH = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for field, amount in pairs(cjson.decode(ARGV[3])) do redis.call('HINCRBYFLOAT', KEYS[1], field, amount) end
for field, value in pairs(cjson.decode(ARGV[4])) do
  local largest = tonumber(redis.call('HGET', KEYS[1], field) or '')
  if not largest or value > largest then redis.call('HSET', KEYS[1], field, value) end
end
return 1
"""


@dataclass(slots=True)
class _Pending:
    """The numbers collected since the last flush, by field."""

    amounts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    maxima: dict[str, float] = field(default_factory=dict)


class Counters:
    """The additions of one process, and the sums of all. Safe for several threads."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._pending = _Pending()
        self._lock = threading.Lock()
        self._script = connection.register_script(_FLUSH)
        self._last_flush = keys.flush(secrets.token_hex(8))
        self._number = 0
        self._unconfirmed = _Pending()
        self._flushing = threading.Lock()

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Add to a counter. Label values come in the order of the metric's labels, here and below."""
        with self._lock:
            self._pending.amounts[_field(metric, labels)] += amount

    def most(self, metric: Metric, value: float, *labels: str) -> None:
        """Raise a maximum to `value` if it is lower."""
        field = _field(metric, labels)
        with self._lock:
            self._pending.maxima[field] = max(value, self._pending.maxima.get(field, value))

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        place = bisect_left(BUCKETS, seconds)
        bound = str(BUCKETS[place]) if place < len(BUCKETS) else "+Inf"
        with self._lock:
            self._pending.amounts[_field(metric, (*labels, bound), "_bucket")] += 1
            self._pending.amounts[_field(metric, labels, "_sum")] += seconds

    def flush(self) -> None:
        """Move the additions into Redis, none lost or counted twice. May raise REDIS_AWAY."""
        with self._flushing:
            self._send()  # what Redis did not confirm, under its old number
            with self._lock:
                self._unconfirmed, self._pending = self._pending, _Pending()
            self._number += 1
            self._send()

    def _send(self) -> None:
        amounts, maxima = self._unconfirmed.amounts, self._unconfirmed.maxima
        if amounts or maxima:
            self._script(
                keys=[keys.COUNTERS, self._last_flush],
                args=[self._number, REMEMBERED_SECONDS, orjson.dumps(amounts), orjson.dumps(maxima)],
            )
            self._unconfirmed = _Pending()

    def read(self) -> dict[tuple[str, ...], float]:
        """Return all sums and maxima by (name, label values…)."""
        sums: dict[Any, Any] = self._redis.hgetall(keys.COUNTERS)
        return {tuple(name.decode().split(SEPARATOR)): float(value) for name, value in sums.items()}


def _field(metric: Metric, labels: Sequence[str], part: str = "") -> str:
    """Return the field of the hash that keeps a metric, or part of it, for these label values."""
    return SEPARATOR.join((f"{metric.name}{part}", *labels))
