"""Serves /healthz (is a restart needed?) and /readyz (is new work accepted?)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from services.api.http.authentication import Access
from services.api.resources.resource import Resource
from shared.disk import free_space
from shared.errors import ShapboxError
from shared.redis.connection import redis_needed
from shared.timing import TIMING

#: Seconds after which the monitor's report is outdated.
FRESH_SECONDS = TIMING.report_max_age_seconds

type Finding = dict[str, Any]


class HealthResource(Resource, access=Access.OPEN):
    """Answers 200 unless the monitor's last report shows that only a restart helps."""

    def on_get(self, _req: Any, resp: Any) -> None:
        """Answer with every cause for a restart."""
        causes = [{"cause": name, "detail": detail} for name, detail in self._causes()]
        resp.status = 503 if causes else 200
        resp.set_header("Cache-Control", "no-store")
        resp.media = {"status": "failing" if causes else "ok", "causes": causes}

    def _causes(self) -> list[tuple[str, str]]:
        status = self._components.status.read()
        if status is None or status.age() > TIMING.hopeless_seconds:
            if time.monotonic() - self._components.started < TIMING.first_report_seconds:
                return []
            if status is None:
                return [("monitor", "The monitor has never reported.")]
        return status.needs_restart(self._components.settings.role)


class ReadyResource(Resource, access=Access.OPEN):
    """Answers with every probe by name; 503 if a required one has failed."""

    def on_get(self, _req: Any, resp: Any) -> None:
        """Run all probes."""
        probes = self._probes()
        ready = all(probe["ok"] for probe in probes.values() if probe["required"])
        resp.status = 200 if ready else 503
        resp.set_header("Cache-Control", "no-store")
        if not ready:
            resp.set_header("Retry-After", "5")
        resp.media = {"ready": ready, "probes": probes}

    def _probes(self) -> dict[str, Finding]:
        redis = _try(self._redis)
        # Waiting once for an absent Redis is enough.
        unknown = _finding(ok=False, detail="Unknown while Redis does not answer or refuses writes.")
        return {
            "redis": redis,
            "queue": _try(self._queue) if redis["ok"] else unknown,
            "workers": _try(self._workers) if redis["ok"] else unknown,
            "storage": self._storage(),
            "models": self._models(),
            "programs": self._programs(),
            "draining": self._draining(),
            "monitor": self._monitor(),
        }

    def _redis(self) -> Finding:
        seconds = self._components.redis_probe.write()
        return _finding(ok=True, detail="Redis answers and accepts writes.", seconds=round(seconds, 5))

    def _queue(self) -> Finding:
        self._components.store.require_capacity()
        waiting = sum(self._components.store.queues.waiting().values())
        detail = f"{waiting} batches are waiting."
        status = self._components.status.read()
        standstill, stalled = (status.standstill_seconds, status.stalled_seconds) if status else (0.0, 0.0)
        if standstill > FRESH_SECONDS:
            detail += f" Workers have taken none for {standstill:.0f} s."
        if stalled:
            detail += f" No batch has ended for {stalled:.0f} s. The log says why batches are handed back."
        return _finding(ok=standstill <= FRESH_SECONDS and not stalled, detail=detail, waiting=waiting)

    def _workers(self) -> Finding:
        status = self._components.status.read()
        crashing = status.crashing_workers if status else ()
        alive = len(self._components.heartbeats.alive().keys() - set(crashing))
        detail = f"{alive} workers are alive."
        if crashing:
            detail += f" {len(crashing)} more crash again and again: {', '.join(crashing)}. The log says why."
        return _finding(ok=alive > 0, detail=detail, alive=alive)

    def _storage(self) -> Finding:
        settings = self._components.settings
        # Uploads and Redis's file need room under DATA_DIR, wherever objects are.
        spaces = [
            free_space(folder)
            for folder in (settings.local_objects_dir or settings.tmp_dir, settings.tmp_dir)
        ]
        space = spaces[0]
        fault = self._components.probe.fault() or next(
            (why for one in spaces if one and (why := one.shortage())), None
        )
        free: dict[str, Any] = {"free_bytes": space.bytes, "free_inodes": space.inodes} if space else {}
        return _finding(ok=not fault, detail=fault or "The object store is readable and writable.", **free)

    def _models(self) -> Finding:
        versions = self._components.catalog.versions()
        fallback = [version.id for version in versions if version.fallback]
        refused = [one.id for one in self._components.catalog.refused()]
        detail = f"{len(versions)} models are served"
        if fallback:
            detail += f", {len(fallback)} of them replaced by placeholder models that explain nothing real"
        if refused:  # only these: the others are served
            detail += f"; refused (GET /v1/models gives the reasons): {', '.join(refused)}"
        return _finding(
            ok=bool(versions), detail=f"{detail}.", count=len(versions), fallback=fallback, refused=refused
        )

    def _programs(self) -> Finding:
        status = self._components.status.read()
        restarting = status.restarting_programs if status else ()
        detail = f"{', '.join(restarting)} ended three times within a minute. The log says why."
        return _finding(
            ok=not restarting,
            required=False,
            detail=detail if restarting else "No program ends again and again.",
        )

    def _draining(self) -> Finding:
        active = self._components.draining.active
        detail = "The appliance is stopping and accepts no new work."
        return _finding(ok=not active, detail=detail if active else "The appliance is not stopping.")

    def _monitor(self) -> Finding:
        status = self._components.status.read()
        if status is None:
            return _finding(ok=False, required=False, detail="The monitor has not reported yet.")
        fresh = status.age() <= FRESH_SECONDS
        return _finding(ok=fresh, required=False, detail=f"The monitor reported {status.age():.1f} s ago.")


def _finding(*, ok: bool, detail: str, required: bool = True, **more: Any) -> Finding:
    return {"ok": ok, "required": required, "detail": detail, **more}


def _try(probe: Callable[[], Finding]) -> Finding:
    """Run a probe that needs Redis."""
    try:
        with redis_needed():
            return probe()
    except ShapboxError as fault:
        return _finding(ok=False, detail=str(fault))
