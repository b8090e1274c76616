"""/v1/appliance: the state of the whole appliance in one document, for the console and for people."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.api.components import Components
from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.resources.health import FRESH_SECONDS
from shared.appliance.heartbeats import Heartbeats
from shared.appliance.status import ApplianceStatus
from shared.build import VERSION
from shared.disk import free_space
from shared.jobs.document import Status, rfc3339
from shared.jobs.ids import made_at
from shared.jobs.queue import Lane
from shared.jobs.store import JobStore
from shared.redis.connection import REDIS_AWAY, RedisClient

#: Seconds for which one look is used.
LOOK_SECONDS = 0.5

type Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RedisLook:
    """The state of Redis at one moment. `oldest`: when the job of each lane's next batch was made; None if none waits."""

    ping_seconds: float
    memory_bytes: int
    memory_limit_bytes: int
    waiting: Mapping[Lane, int]
    oldest: Mapping[Lane, float | None]
    jobs: Mapping[Status, int]
    workers: Mapping[str, int]


class RedisView:
    """Asks Redis twice a second at most. Safe for several threads: while one asks, the others get the previous look."""

    def __init__(
        self, connection: RedisClient, store: JobStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = connection
        self._store = store
        self._heartbeats = Heartbeats(connection)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -math.inf
        self._look: RedisLook | None = None

    def look(self) -> RedisLook | None:
        """Return the last look; None if Redis did not answer."""
        first = self._looked_at == -math.inf
        if self._is_old() and self._lock.acquire(blocking=first):
            try:
                if self._is_old():
                    self._look = self._ask()
            except REDIS_AWAY:
                self._look = None
            finally:
                # After the reply: a Redis that hangs must not block one thread after the other.
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
        heads = self._store.queues.heads()
        return RedisLook(
            ping_seconds=ping_seconds,
            memory_bytes=int(memory["used_memory"]),
            memory_limit_bytes=int(memory["maxmemory"]),
            waiting=self._store.queues.waiting(),
            oldest={lane: made_at(head) if head else None for lane, head in heads.items()},
            jobs=self._store.counts(),
            workers=Counter(heartbeat.state for heartbeat in self._heartbeats.alive().values()),
        )


class ApplianceResource:
    """The live view. Several clients may poll it each second: it reads one file and some counts."""

    access = Access.JOBS

    def __init__(self, components: Components) -> None:
        self._components = components
        self._redis = RedisView(components.connection, components.store)

    def on_get(self, req: Any, resp: Any) -> None:
        """Answer with the state; null for what is not known."""
        Query(req)
        status = self._components.status.read()
        resp.content_type = "application/json"
        resp.data = orjson.dumps(self._document(status, self._look(status)))

    on_head = on_get

    def _look(self, status: ApplianceStatus | None) -> RedisLook | None:
        # The monitor pings Redis each second: while that fails, no request here needs to wait for a timeout.
        if status is not None and status.redis_down_seconds > 0 and status.age() <= FRESH_SECONDS:
            return None
        return self._redis.look()

    def _document(self, status: ApplianceStatus | None, look: RedisLook | None) -> Part:
        settings = self._components.settings
        now = time.time()
        space = free_space(settings.local_objects_dir)
        return {
            "version": VERSION,
            "commit": self._components.commit,
            "role": settings.role.value,
            "time": rfc3339(now),
            "draining": self._components.draining.active,
            "monitor": {
                "fresh": status is not None and status.age(now) <= FRESH_SECONDS,
                "reported_at": rfc3339(status.written_at if status else None),
            },
            "memory": _memory(status, settings.memory_limit_mb << 20),
            "programs": _programs(status),
            "storage": {
                "used_bytes": _known(status.storage_used_bytes if status else -1),
                "free_bytes": space and space.bytes,
            },
            **_of_redis(look, now),
        }


def _memory(status: ApplianceStatus | None, recycle_at: int) -> Part:
    known = status if status is not None else ApplianceStatus(written_at=0)
    return {
        "working_set_bytes": known.memory_working_set_bytes or None,
        "recycle_at_bytes": known.memory_limit_bytes or recycle_at,
        "container_limit_bytes": known.memory_container_bytes or None,
        "source": known.memory_source or None,
    }


def _programs(status: ApplianceStatus | None) -> list[Part]:
    return [
        {"name": program.name, "state": program.state, "memory_bytes": _known(program.memory_bytes)}
        for program in (status.programs if status is not None else ())
    ]


def _of_redis(look: RedisLook | None, now: float) -> Part:
    if look is None:
        away = {"up": False, "ping_seconds": None, "memory_bytes": None, "memory_limit_bytes": None}
        return {"redis": away, "workers": None, "queues": None, "jobs": None}
    return {
        "redis": {
            "up": True,
            "ping_seconds": round(look.ping_seconds, 6),
            "memory_bytes": look.memory_bytes,
            "memory_limit_bytes": look.memory_limit_bytes or None,
        },
        "workers": {state: look.workers.get(state, 0) for state in ("idle", "busy")},
        "queues": {
            lane.value: {"batches": count, "oldest_seconds": _age(look.oldest[lane], now)}
            for lane, count in look.waiting.items()
        },
        "jobs": {status.value: look.jobs[status] for status in Status},
    }


def _age(made: float | None, now: float) -> float:
    return 0.0 if made is None else round(max(0.0, now - made), 3)


def _known(value: int) -> int | None:
    return None if value < 0 else value
