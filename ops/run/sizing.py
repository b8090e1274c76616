"""Decides the number of workers and their size from the CPUs and the memory."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.cgroup import CGROUPS, find_cpu_quota
from shared.memory import BASE_IDLE_MB, IDLE_WORKER_MB, PROC
from shared.settings import Role, Settings

#: MB that supervisord, the api, the monitor and Redis need beside the workers, and that a warm worker needs with a batch.
BASE_MB, WORKER_MB = 150, 130
#: MB that a worker may always take: with shap loaded it holds about 175, and below that each interventional
#: batch would cost a fresh worker. The monitor's guard watches over the sum.
LEAST_WORKER_LIMIT_MB = 200
#: MEMORY_LIMIT_MB below which there is no room for a worker with shap and its batch: what 400 MB of a container give.
SHAP_MEMORY_LIMIT_MB = 370
#: CPUs below which starts and answers take many times as long as what is written down about them.
FEW_CPUS = 0.5


class Cpus(NamedTuple):
    """The CPUs' time that we may take (it may be a share of one), and who says so."""

    number: float
    source: str


class Sizing(NamedTuple):
    """The number of workers, the MB at which each leaves by itself, and why."""

    workers: int
    worker_memory_limit_mb: int
    why: str


def usable_cpus(environment: Mapping[str, str], cgroups: Path = CGROUPS, proc: Path = PROC) -> Cpus:
    """Find the least that anybody gives us.

    RENDER_CPU_COUNT may lower the number and never raises it: a plan of 0.5 still sees all CPUs of its host.
    """
    found = [Cpus(float(len(os.sched_getaffinity(0))), "the scheduler")]
    if quota := find_cpu_quota(cgroups, proc):
        found.append(Cpus(quota.cpus, f"the quota of cgroup v{quota.version}"))
    with contextlib.suppress(ValueError):
        found.append(Cpus(float(environment.get("RENDER_CPU_COUNT", "")), "RENDER_CPU_COUNT"))
    return min(one for one in found if math.isfinite(one.number) and one.number > 0)


def size(settings: Settings, cpus: Cpus) -> Sizing:
    """Decide what WORKERS and WORKER_MEMORY_LIMIT_MB leave open."""
    limit = settings.memory_limit_mb
    fitting = max(1, (limit - BASE_MB) // WORKER_MB)
    workers, why = settings.workers, "WORKERS is set"
    if workers is None:
        workers = min(max(1, math.ceil(cpus.number)), fitting)
        why = f"{cpus.number:g} CPUs, MEMORY_LIMIT_MB={limit} holds {fitting}"
    if settings.role is Role.API:
        why = "ROLE=api starts none of them"
    share = max(LEAST_WORKER_LIMIT_MB, (limit - BASE_IDLE_MB) // workers)
    joinable = settings.redis_url is not None and settings.storage_url is not None
    if joinable and settings.role is not Role.WORKER:
        # It plans batches for workers in other containers as well, which may be as small as this.
        share = LEAST_WORKER_LIMIT_MB
    return Sizing(workers, settings.worker_memory_limit_mb or min(share, limit - 1), why)


def shortcomings(settings: Settings, cpus: Cpus) -> list[str]:
    """Say what will suffer on what we were given, and how to mend it; WORKERS is decided."""
    found = []
    if cpus.number < FEW_CPUS:
        found.append(
            f"{cpus.number:g} CPUs by {cpus.source} are few: the start takes long and single rows several times their "
            f"time; {FEW_CPUS:g} or more are meant"
        )
    limit, workers = settings.memory_limit_mb, 0 if settings.role is Role.API else settings.workers or 1
    if workers and limit < SHAP_MEMORY_LIMIT_MB:
        found.append(
            f"MEMORY_LIMIT_MB={limit} has no room for shap: interventional jobs will be slow, since workers are "
            f"recycled for them again and again; {SHAP_MEMORY_LIMIT_MB} (a container of 400 MB) or more are meant"
        )
    most = max(1, (limit - BASE_IDLE_MB) // IDLE_WORKER_MB)
    if workers > most:
        found.append(
            f"WORKERS={workers} take more than MEMORY_LIMIT_MB={limit} when idle: workers are recycled again "
            f"and again; set WORKERS to {most} or less"
        )
    return found
