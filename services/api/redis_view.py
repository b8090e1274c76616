"""What Redis tells the live view: asked at most twice a second, however many look."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.appliance.heartbeats import Heartbeats
from shared.jobs.document import Status
from shared.jobs.ids import made_at
from shared.jobs.queue import Lane
from shared.jobs.store import JobStore
from shared.redis.connection import REDIS_AWAY, RedisClient

#: Seconds for which one look is good.
LOOK_SECONDS = 0.5
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class RedisLook:
    """Redis at one moment. `oldest` holds for each lane when its next batch's job was made; None if none waits."""

    ping_seconds: float
    memory_bytes: int
    memory_limit_bytes: int
    waiting: Mapping[Lane, int]
    oldest: Mapping[Lane, float | None]
    jobs: Mapping[Status, int]
    workers: Mapping[str, int]


class RedisView:
    """Safe to use from several threads. While one asks, the others get what it found the time before."""

    def __init__(
        self, connection: RedisClient, store: JobStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = connection
        self._store = store
        self._heartbeats = Heartbeats(connection)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = NEVER
        self._look: RedisLook | None = None

    def look(self) -> RedisLook | None:
        """Return what Redis said last; None if it did not answer."""
        first = self._looked_at == NEVER
        if self._is_old() and self._lock.acquire(blocking=first):
            try:
                if self._is_old():
                    self._look = self._ask()
            except REDIS_AWAY:
                self._look = None
            finally:
                # After the answer: a Redis that hangs must not be asked by one thread after the other.
                self._looked_at = self._clock()
                self._lock.release()
        return self._look

    def _is_old(self) -> bool:
        return self._clock() - self._looked_at >= LOOK_SECONDS

    def _ask(self) -> RedisLook:
        started = time.perf_counter()
        self._redis.ping()
        ping_seconds = time.perf_counter() - started
        memory = self._redis.info("memory")
        heads = self._store.queues.oldest()
        return RedisLook(
            ping_seconds=ping_seconds,
            memory_bytes=int(memory["used_memory"]),
            memory_limit_bytes=int(memory["maxmemory"]),
            waiting=self._store.queues.waiting(),
            oldest={lane: made_at(head) if head else None for lane, head in heads.items()},
            jobs=self._store.counts(),
            workers=Counter(heartbeat.state for heartbeat in self._heartbeats.alive().values()),
        )
