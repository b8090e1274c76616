"""MEMORY_LIMIT_MB: derived from the container's limit unless set, with room for the guard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from shared.cgroup import Cgroup
from shared.errors import BootError
from shared.memory import BASE_IDLE_MB, HARD_SHARE, IDLE_WORKER_MB, SOFT_SHARE
from shared.settings import LEAST_MEMORY_LIMIT_MB, MOST_MEMORY_LIMIT_MB, Settings, is_set

#: The setting.
NAME = "MEMORY_LIMIT_MB"
#: MB of the smallest container that works, and of the one that everything is measured in.
LEAST_CONTAINER_MB, PLAN_MB = math.ceil(LEAST_MEMORY_LIMIT_MB / SOFT_SHARE), 512


class MemoryLimit(NamedTuple):
    """The container's limit in bytes (None: no limit), the derived MB if needed, and why."""

    container: int | None
    derived_mb: int | None
    why: str

    def complete(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with the limit that was derived."""
        return {**environment, **({} if self.derived_mb is None else {NAME: str(self.derived_mb)})}

    def check(self, settings: Settings) -> None:
        """Raise BootError if the kernel would kill before the monitor recycles."""
        if self.container is None or settings.memory_limit_mb * 2**20 < HARD_SHARE * self.container:
            return
        raise BootError(
            f"{NAME}: {settings.memory_limit_mb} is {HARD_SHARE:.0%} or more of what the container may take "
            f"({self.container >> 20} MB): the kernel would kill before the monitor acts. Unset it, and it is "
            f"{_derive(self.container)}; or give the container more memory."
        )


def decide_memory_limit(environment: Mapping[str, str], cgroup: Cgroup | None) -> MemoryLimit:
    """Decide MEMORY_LIMIT_MB if it is unset; raises BootError if the container is too small."""
    given = is_set(environment, NAME)
    if cgroup is None or cgroup.limit is None:
        return MemoryLimit(None, None, "it is set" if given else "no cgroup sets a limit")
    limit, version = cgroup.limit, cgroup.files.version
    if limit < LEAST_CONTAINER_MB * 2**20:
        raise BootError(
            f"The container may take {limit >> 20} MB of memory (cgroup v{version}), and at least "
            f"{LEAST_CONTAINER_MB} MB are needed: about {BASE_IDLE_MB} for api, monitor, Redis and supervisord and "
            f"{IDLE_WORKER_MB} for a worker. Give it {LEAST_CONTAINER_MB} MB or more; {PLAN_MB} are recommended."
        )
    said = f"{limit >> 20} MB that cgroup v{version} allows"
    if given:
        return MemoryLimit(limit, None, f"it is set, of the {said}")
    return MemoryLimit(limit, _derive(limit), f"{SOFT_SHARE * PLAN_MB:.0f}/{PLAN_MB} of the {said}")


def _derive(limit: int) -> int:
    return min(int(limit * SOFT_SHARE) >> 20, MOST_MEMORY_LIMIT_MB)
