"""Decides what the memory asks for, and an admin, from measured values alone."""

from __future__ import annotations

from dataclasses import dataclass

from shared.memory import HARD_SHARE, SOFT_SHARE
from shared.metrics import RecycleReason

#: Bytes below which ending a worker is in vain: the next one is about as large once it has its models warm.
WORTH_RECYCLING = 96 * 2**20


@dataclass(frozen=True, slots=True)
class Marks:
    """Bytes at which a worker is recycled, and (if the cgroup has a limit) at which one is killed.

    `worker` is what one worker may take: one that is killed below that has not brought the hard mark about.
    """

    soft: int
    hard: int | None
    worker: int = 0

    @classmethod
    def of(cls, memory_limit_mb: int, cgroup_limit: int | None, worker_limit_mb: int | None = None) -> Marks:
        """Return the marks for MEMORY_LIMIT_MB and WORKER_MEMORY_LIMIT_MB in a cgroup with that limit."""
        soft, worker = memory_limit_mb * 2**20, (worker_limit_mb or 0) * 2**20
        if cgroup_limit is None:
            return cls(soft, None, worker)
        return cls(min(soft, int(cgroup_limit * SOFT_SHARE)), int(cgroup_limit * HARD_SHARE), worker)


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """A running worker of this machine and its PSS in bytes.

    `leaving` once it was asked to leave; `young` while its end would only bring another of its size.
    """

    name: str
    pid: int
    pss: int
    leaving: bool = False
    young: bool = False


@dataclass(frozen=True, slots=True)
class Calm:
    """All is well."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Too much is used, and what was done about it has not shown its effect yet."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Too much is used, and no worker is large enough that its end would help."""


@dataclass(frozen=True, slots=True)
class Recycle:
    """Ask this worker to finish its batch and leave; `reason` is how that is counted."""

    worker: WorkerMemory
    reason: RecycleReason = RecycleReason.MEMORY_SOFT


@dataclass(frozen=True, slots=True)
class Kill:
    """End this worker now; its batch runs again."""

    worker: WorkerMemory


type Outcome = Calm | Patience | Elsewhere | Recycle | Kill


def decide(
    working_set: int,
    marks: Marks,
    workers: tuple[WorkerMemory, ...],
    *,
    recycling: bool = False,
    killing: bool = False,
    wished: bool = False,
) -> Outcome:
    """Decide what the memory asks for.

    `recycling`: a worker was asked to leave and its successor is not there; `killing`: one was just killed;
    `wished`: an admin wants a fresh worker, whatever the memory says.
    """
    if marks.hard is not None and working_set >= marks.hard:
        if killing:
            return Patience()
        # Any worker: the kernel would kill one next, and not ask which.
        return Kill(max(workers, key=_size)) if workers else Elsewhere()
    # A second SIGTERM would end a worker in the middle of its batch.
    staying = [worker for worker in workers if not worker.leaving]
    if wished and staying and not (recycling or killing):
        return Recycle(max(staying, key=_size), RecycleReason.ADMIN)
    if working_set < marks.soft:
        return Calm()
    if recycling or killing:
        return Patience()
    worthy = [worker for worker in staying if worker.pss >= WORTH_RECYCLING and not worker.young]
    return Recycle(max(worthy, key=_size)) if worthy else Elsewhere()


def _size(worker: WorkerMemory) -> int:
    return worker.pss
