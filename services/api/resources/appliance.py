"""/v1/appliance: the whole appliance at this moment, in one document, for whoever watches it."""

from __future__ import annotations

import time
from typing import Any

import orjson

from services.api.capacity.disk import free_bytes
from services.api.components import Parts
from services.api.http.authentication import Access
from services.api.http.query import Query
from services.api.redis_view import RedisLook, RedisView
from services.api.resources.health import FRESH_SECONDS
from shared.appliance.status import ApplianceStatus
from shared.build import VERSION
from shared.jobs.document import Status, rfc3339

type Part = dict[str, Any]


class ApplianceResource:
    """The live view. It may be asked each second by several: a file and some counts are all that it reads."""

    access = Access.JOBS

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._redis = RedisView(parts.connection, parts.store)

    def on_get(self, req: Any, resp: Any) -> None:
        """Answer with what is known; what is not is null."""
        Query(req)
        status = self._parts.status.read()
        resp.content_type = "application/json"
        resp.data = orjson.dumps(self._document(status, self._look(status)))

    on_head = on_get

    def _look(self, status: ApplianceStatus | None) -> RedisLook | None:
        # The monitor feels Redis each second: while that gets no answer nobody here need wait for one.
        if status is not None and status.redis_down_seconds > 0 and status.age() <= FRESH_SECONDS:
            return None
        return self._redis.look()

    def _document(self, status: ApplianceStatus | None, look: RedisLook | None) -> Part:
        settings = self._parts.settings
        now = time.time()
        return {
            "version": VERSION,
            "commit": self._parts.commit,
            "role": settings.role.value,
            "time": rfc3339(now),
            "draining": self._parts.draining,
            "monitor": {
                "fresh": status is not None and status.age(now) <= FRESH_SECONDS,
                "reported_at": rfc3339(status.written_at if status else None),
            },
            "memory": _memory(status, settings.memory_limit_mb << 20),
            "programs": _programs(status),
            "storage": {
                "used_bytes": _known(status.storage_used_bytes if status else -1),
                "free_bytes": free_bytes(settings),
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
