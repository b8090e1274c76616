"""/v1/appliance: the state of the whole appliance in one document."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any

from services.api.components import Components
from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.resources.health import FRESH_SECONDS
from services.api.resources.resource import Resource
from shared.appliance.status import ApplianceStatus
from shared.build import VERSION
from shared.disk import free_space
from shared.jobs.document import Status, rfc3339
from shared.jobs.ids import made_at
from shared.redis.connection import REDIS_AWAY

#: Seconds for which one look is used.
LOOK_SECONDS = 0.5

type Part = dict[str, Any]

#: The document's members about a Redis that does not answer.
REDIS_AWAY_LOOK: Part = {
    "redis": {"up": False, "ping_seconds": None, "memory_bytes": None, "memory_limit_bytes": None},
    "workers": None,
    "queues": None,
    "jobs": None,
}


class RedisView:
    """Asks Redis twice a second at most. While one thread asks, others get the previous look."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._lock = threading.Lock()
        self._looked_at = -math.inf
        self._look = REDIS_AWAY_LOOK

    def look(self) -> Part:
        """Return the document's members about Redis."""
        first = self._looked_at == -math.inf
        if self._is_old() and self._lock.acquire(blocking=first):
            try:
                if self._is_old():
                    self._look = self._ask()
            except REDIS_AWAY:
                self._look = REDIS_AWAY_LOOK
            finally:
                # After the reply: a Redis that hangs must not block one thread after the other.
                self._looked_at = time.monotonic()
                self._lock.release()
        return self._look

    def _is_old(self) -> bool:
        return time.monotonic() - self._looked_at >= LOOK_SECONDS

    def _ask(self) -> Part:
        started = time.perf_counter()
        connection, store = self._components.connection, self._components.store
        connection.ping()
        ping_seconds = time.perf_counter() - started
        memory, jobs = connection.info("memory"), store.counts()
        waiting, heads = store.queues.waiting(), store.queues.heads()
        workers = Counter(heartbeat.state for heartbeat in self._components.heartbeats.alive().values())
        return {
            "redis": {
                "up": True,
                "ping_seconds": round(ping_seconds, 6),
                "memory_bytes": int(memory["used_memory"]),
                "memory_limit_bytes": int(memory["maxmemory"]) or None,
            },
            "workers": {state: workers[state] for state in ("idle", "busy")},
            "queues": {
                lane.value: {"batches": count, "oldest_seconds": _age(heads[lane])}
                for lane, count in waiting.items()
            },
            "jobs": {status.value: jobs[status] for status in Status},
        }


class ApplianceResource(Resource, access=Access.JOBS):
    """The live view. It is cheap: clients poll it each second."""

    def __init__(self, components: Components) -> None:
        super().__init__(components)
        self._redis = RedisView(components)

    def on_get(self, req: Any, resp: Any) -> None:
        """Answer with the state; null for what is not known."""
        Query(req)
        now, settings = time.time(), self._components.settings
        status = self._components.status.read() or ApplianceStatus(written_at=0)
        fresh = status.age(now) <= FRESH_SECONDS
        # The monitor pings Redis each second: while that fails, no request here needs to wait for a timeout.
        redis_away = fresh and status.redis_down_seconds > 0
        space = free_space(settings.local_objects_dir)
        resp.media = {
            "version": VERSION,
            "commit": self._components.commit,
            "role": settings.role.value,
            "time": rfc3339(now),
            "draining": self._components.draining.active,
            "monitor": {"fresh": fresh, "reported_at": rfc3339(status.written_at or None)},
            "memory": {
                "working_set_bytes": status.memory_working_set_bytes or None,
                "recycle_at_bytes": status.memory_limit_bytes or settings.memory_limit_mb << 20,
                "container_limit_bytes": status.memory_container_bytes or None,
                "source": status.memory_source or None,
            },
            "programs": [
                {"name": program.name, "state": program.state, "memory_bytes": _known(program.memory_bytes)}
                for program in status.programs
            ],
            "storage": {
                "used_bytes": _known(status.storage_used_bytes),
                "free_bytes": space and space.bytes,
            },
            **(REDIS_AWAY_LOOK if redis_away else self._redis.look()),
        }


def _age(head: str | None) -> float:
    """Return the age in seconds of the job of a queue's next batch; 0 for an empty queue."""
    return 0.0 if head is None else round(max(0.0, time.time() - made_at(head)), 3)


def _known(value: int) -> int | None:
    return None if value < 0 else value
