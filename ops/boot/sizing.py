"""How many workers, and how large each may grow: from the CPUs we may use and the memory we were given."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.settings import Settings

#: MB that supervisord, the api, the monitor and Redis need beside the workers when they are sized.
BASE_MB = 150
#: MB that the same four really hold while idle: what the workers' own limits leave to them.
BASE_IDLE_MB = 130
#: MB that a warm worker takes with room for a batch.
WORKER_MB = 130
#: MB that a worker may always take: with shap loaded it holds about 175, and below that each interventional
#: batch would cost a fresh worker. The monitor's guard watches over the sum.
LEAST_WORKER_LIMIT_MB = 200
#: Where a container sees its CPU quota: cgroup v2, then v1.
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Sizing:
    """The number of workers, the MB at which each leaves by itself, and why."""

    workers: int
    worker_memory_limit_mb: int
    why: str


def size(settings: Settings, environment: Mapping[str, str], cgroup: Path = _CGROUP) -> Sizing:
    """Decide what WORKERS and WORKER_MEMORY_LIMIT_MB leave open."""
    cpus = usable_cpus(environment, cgroup)
    fitting = max(1, (settings.memory_limit_mb - BASE_MB) // WORKER_MB)
    if settings.workers is not None:
        workers, why = settings.workers, "WORKERS is set"
    else:
        workers = max(1, min(cpus, fitting))
        why = f"{cpus} CPU{'s' * (cpus != 1)}, MEMORY_LIMIT_MB={settings.memory_limit_mb} holds {fitting}"
    share = max(LEAST_WORKER_LIMIT_MB, (settings.memory_limit_mb - BASE_IDLE_MB) // workers)
    share = min(share, settings.memory_limit_mb - 1)
    return Sizing(workers, settings.worker_memory_limit_mb or share, why)


def usable_cpus(environment: Mapping[str, str], cgroup: Path = _CGROUP) -> int:
    """Count the CPUs that the scheduler gives us, at least 1.

    RENDER_CPU_COUNT may lower the number and never raises it: a plan of 0.5 still sees all CPUs of its host.
    """
    counts = [float(len(os.sched_getaffinity(0)))]
    counts += [quota for quota in (_quota_v2(cgroup), _quota_v1(cgroup)) if quota]
    with contextlib.suppress(ValueError):
        counts.append(float(environment.get("RENDER_CPU_COUNT", "")))
    usable = [count for count in counts if math.isfinite(count) and count > 0]
    return max(1, math.ceil(min(usable)))


def _quota_v2(cgroup: Path) -> float | None:
    words = _read(cgroup / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdecimal() else None


def _quota_v1(cgroup: Path) -> float | None:
    quota, period = (_read(cgroup / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
