"""/healthz and /readyz: whether the appliance needs a restart, and whether it can take work now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from services.api.capacity.disk import RESERVE_BYTES, free_bytes
from services.api.components import Parts
from services.api.http.authentication import Access
from shared.errors import ShapboxError
from shared.redis.connection import redis_needed
from shared.timing import TIMING

#: Seconds after which the monitor's report is outdated.
FRESH_SECONDS = TIMING.report_max_age_seconds

type Finding = dict[str, Any]


class HealthResource:
    """200 unless the appliance cannot heal itself. Asks nobody: it reads what the monitor found out."""

    access = Access.OPEN

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with each cause that needs a restart."""
        causes = self.causes()
        resp.status = 503 if causes else 200
        resp.set_header("Cache-Control", "no-store")
        resp.content_type = "application/json"
        resp.data = orjson.dumps({"status": "failing" if causes else "ok", "causes": causes})

    on_head = on_get

    def causes(self) -> list[Finding]:
        """Return what a restart is needed for."""
        status = self._parts.status.read()
        if status is None or status.age() > TIMING.hopeless_seconds:
            if time.monotonic() - self._parts.started < TIMING.first_report_seconds:
                return []
            if status is None:
                return [_cause("monitor", "the monitor has not reported ever")]
        return [_cause(name, detail) for name, detail in status.needs_restart(self._parts.settings.role)]


def _cause(name: str, detail: str) -> Finding:
    return {"cause": name, "detail": detail}


class ReadyResource:
    """Every probe by name; 503 if one that new work needs has failed."""

    access = Access.OPEN

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def on_get(self, _req: Any, resp: Any) -> None:
        """Probe, and answer."""
        probes = self.probes()
        ready = all(probe["ok"] for probe in probes.values() if probe["required"])
        resp.status = 200 if ready else 503
        resp.set_header("Cache-Control", "no-store")
        if not ready:
            resp.set_header("Retry-After", "5")
        resp.content_type = "application/json"
        resp.data = orjson.dumps({"ready": ready, "probes": probes})

    on_head = on_get

    def probes(self) -> dict[str, Finding]:
        """Return what each probe found, by its name."""
        redis = _try(self._ping)
        # One wait for a Redis that is away is enough.
        unknown = _finding(ok=False, detail="not known while Redis does not answer")
        return {
            "redis": redis,
            "queue": _try(self._room) if redis["ok"] else unknown,
            "workers": _try(self._workers) if redis["ok"] else unknown,
            "storage": self._storage(),
            "models": self._models(),
            "draining": self._draining(),
            "monitor": self._monitor(),
        }

    def _ping(self) -> Finding:
        started = time.perf_counter()
        with redis_needed():
            self._parts.connection.ping()
        return _finding(ok=True, detail="answers", seconds=round(time.perf_counter() - started, 5))

    def _room(self) -> Finding:
        with redis_needed():
            self._parts.store.require_room()
            waiting = sum(self._parts.store.queues.waiting().values())
        status = self._parts.status.read()
        if status is not None and status.standstill_seconds > FRESH_SECONDS:
            stood = f"{waiting} batches wait, and none has been taken for {status.standstill_seconds:.0f} s"
            return _finding(ok=False, detail=stood, waiting=waiting)
        return _finding(ok=True, detail=f"{waiting} batches wait", waiting=waiting)

    def _workers(self) -> Finding:
        with redis_needed():
            alive = len(self._parts.heartbeats.alive())
        return _finding(ok=alive > 0, detail=f"{alive} alive", alive=alive)

    def _storage(self) -> Finding:
        free = free_bytes(self._parts.settings)
        fault = self._parts.probe.fault()
        if fault is None and free is not None and free < RESERVE_BYTES:
            fault = "the disk is nearly full"
        more: dict[str, Any] = {} if free is None else {"free_bytes": free}
        return _finding(ok=fault is None, detail=fault or "takes and gives objects", **more)

    def _models(self) -> Finding:
        versions = self._parts.catalog.versions()
        fallback = [version.id for version in versions if version.fallback]
        refused = [one.id for one in self._parts.catalog.refused()]
        detail = f"{len(versions)} there"
        if fallback:
            detail += f", {len(fallback)} of them only a stand-in that explains nothing real"
        if refused:  # each by itself: the others are served
            detail += f", and refused (GET /v1/models tells why): {', '.join(refused)}"
        return _finding(
            ok=bool(versions), detail=detail, count=len(versions), fallback=fallback, refused=refused
        )

    def _draining(self) -> Finding:
        draining = self._parts.draining
        return _finding(ok=not draining, detail="stopping, takes no new work" if draining else "no")

    def _monitor(self) -> Finding:
        status = self._parts.status.read()
        if status is None:
            return _finding(ok=False, required=False, detail="has not reported yet")
        fresh = status.age() <= FRESH_SECONDS
        return _finding(ok=fresh, required=False, detail=f"reported {status.age():.1f} s ago")


def _finding(*, ok: bool, detail: str, required: bool = True, **more: Any) -> Finding:
    return {"ok": ok, "required": required, "detail": detail, **more}


def _try(probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except ShapboxError as fault:
        return _finding(ok=False, detail=str(fault))
