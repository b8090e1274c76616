"""Counters, histograms and maxima that outlive processes: put together in memory, kept in Redis.

A process adds without waiting; `flush` moves what has come together into Redis in one step. What Redis did not
take stays in memory and goes with the next flush. A stopped Redis carries out what it had been sent when it goes
on, though the sender gave up waiting and sends it again: so each flush has a number, and counts once.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from shared.jobs import keys
from shared.redis.connection import RedisClient, texts

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
#: Seconds for which Redis remembers a process's last flush: longer than an outage, after which it is sent again.
REMEMBERED_SECONDS = 24 * 3600
#: Adds the amounts, and keeps the larger of each maximum, unless the process's last flush has this number already.
#: ARGV: the number, for how many seconds it is remembered, how many amounts there are; then fields with amounts, and fields with maxima.
_FLUSH = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
local maxima = 4 + 2 * tonumber(ARGV[3])
for i = 4, maxima - 1, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = maxima, #ARGV, 2 do
  local largest = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '')
  if not largest or tonumber(ARGV[i + 1]) > largest then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
return 1
"""


@dataclass(slots=True)
class _Pending:
    """What has come together since the last flush, by field."""

    amounts: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    maxima: dict[str, float] = field(default_factory=dict)

    def words(self) -> list[str | int]:
        """Return it as the script takes it; nothing if there is nothing."""
        if not self.amounts and not self.maxima:
            return []
        pairs = [*self.amounts.items(), *self.maxima.items()]
        return [len(self.amounts), *(word for name, number in pairs for word in (name, repr(number)))]


class Counters:
    """Additions of one process, and the reading of all processes' sums. Any thread may call anything."""

    def __init__(self, connection: RedisClient) -> None:
        self._redis = connection
        self._pending = _Pending()
        self._lock = threading.Lock()
        self._script = connection.register_script(_FLUSH)
        self._last_flush = keys.flush(secrets.token_hex(8))
        self._number = 0
        self._unconfirmed = _Pending()
        self._flushing = threading.Lock()

    def add(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter. Label values come in the order of the metric's labels."""
        with self._lock:
            self._pending.amounts[SEPARATOR.join((name, *labels))] += amount

    def most(self, name: str, value: float, *labels: str) -> None:
        """Keep the largest value that a gauge ever had. Label values come in the order of the metric's labels."""
        gauge = SEPARATOR.join((name, *labels))
        with self._lock:
            self._pending.maxima[gauge] = max(value, self._pending.maxima.get(gauge, value))

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add one observation to a histogram. Label values come in the order of the metric's labels."""
        place = bisect_left(BUCKETS, seconds)
        bound = str(BUCKETS[place]) if place < len(BUCKETS) else "+Inf"
        with self._lock:
            self._pending.amounts[SEPARATOR.join((f"{name}_bucket", *labels, bound))] += 1
            self._pending.amounts[SEPARATOR.join((f"{name}_sum", *labels))] += seconds

    def flush(self) -> None:
        """Move what was added into Redis. Raises what REDIS_AWAY lists, and loses or doubles nothing by it."""
        with self._flushing:
            self._send()  # what Redis did not confirm the last time, under the number that it had
            with self._lock:
                self._unconfirmed, self._pending = self._pending, _Pending()
            self._number += 1
            self._send()

    def _send(self) -> None:
        words = self._unconfirmed.words()
        if not words:
            return
        self._script(keys=[keys.COUNTERS, self._last_flush], args=[self._number, REMEMBERED_SECONDS, *words])
        self._unconfirmed = _Pending()

    def read(self) -> dict[tuple[str, ...], float]:
        """Return all sums and maxima by (name, label values…)."""
        sums = self._redis.hgetall(keys.COUNTERS)
        return {
            tuple(name.split(SEPARATOR)): float(value)
            for name, value in zip(texts(sums), sums.values(), strict=True)
        }
