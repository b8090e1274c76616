"""Decides what to do about memory, from measured values and an admin's recycle request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from shared.memory import HARD_SHARE, MAPPED_SHARE, SOFT_SHARE
from shared.metrics import RecycleReason
from shared.timing import Timing

#: Bytes below which replacing a worker frees nothing: its successor is about as large once its models are warm.
WORTH_RECYCLING = 96 * 2**20
#: Bytes that an api never takes beside its mapped models unless it has grown, about twice those of a busy one; in an
#: appliance with more memory it may take a share of the soft mark, since models and summaries may be more.
API_GROWN_BYTES, API_SHARE = 160 * 2**20, 0.3
#: The share of the soft mark that an api never takes unless it has grown, mapped models included.
MOST_API_SHARE = 0.8
#: The share of the soft mark below which memory is no longer at its limit: the working set varies by a few percent.
RELIEVED_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Marks:
    """Bytes at which a worker is recycled and, with a cgroup limit, at which one is killed.

    `worker` is what one worker may take: one that is killed below that did not cause the shortage.
    """

    soft: int
    hard: int | None
    worker: int = 0

    @classmethod
    def of(cls, memory_limit_mb: int, cgroup_limit: int | None, worker_limit_mb: int | None = None) -> Marks:
        """Return the marks for the two memory settings in a cgroup with that limit."""
        soft, worker = memory_limit_mb * 2**20, (worker_limit_mb or 0) * 2**20
        if cgroup_limit is None:
            return cls(soft, None, worker)
        return cls(min(soft, int(cgroup_limit * SOFT_SHARE)), int(cgroup_limit * HARD_SHARE), worker)

    @property
    def api(self) -> int:
        """The bytes at which the api has grown."""
        grown = max(API_GROWN_BYTES, self.soft * API_SHARE) + self.soft * MAPPED_SHARE
        return int(min(grown, self.soft * MOST_API_SHARE))


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """A running worker of this machine and its PSS in bytes.

    `leaving` once it was asked to exit; `young` while its successor would soon have the same size.
    """

    name: str
    pid: int
    pss: int
    leaving: bool = False
    young: bool = False


class NoAction(Enum):
    """Why no worker is touched."""

    #: There is memory enough.
    CALM = auto()
    #: Too much is used, and the last action has not shown its effect yet.
    WAIT = auto()
    #: Too much is used, and no worker is so large that replacing it would help.
    UNRELIEVED = auto()


@dataclass(frozen=True, slots=True)
class Recycle:
    """Ask this worker to finish its batch and exit."""

    worker: WorkerMemory
    reason: RecycleReason = RecycleReason.MEMORY_SOFT


@dataclass(frozen=True, slots=True)
class Kill:
    """End this worker now; its batch runs again."""

    worker: WorkerMemory


type Outcome = NoAction | Recycle | Kill


def decide(
    working_set: int,
    marks: Marks,
    workers: tuple[WorkerMemory, ...],
    *,
    recycling: bool = False,
    killing: bool = False,
    requested: bool = False,
) -> Outcome:
    """Decide what to do about the workers.

    `recycling`: a worker was asked to exit and its successor has not started; `killing`: one was just killed;
    `requested`: an admin wants a worker replaced, regardless of the memory.
    """
    if marks.hard is not None and working_set >= marks.hard:
        if killing:
            return NoAction.WAIT
        # Any worker: the kernel would kill one next, and not ask which.
        return Kill(max(workers, key=_size)) if workers else NoAction.UNRELIEVED
    # A second SIGTERM would end a worker in the middle of its batch.
    staying = [worker for worker in workers if not worker.leaving]
    if requested and staying and not (recycling or killing):
        return Recycle(max(staying, key=_size), RecycleReason.ADMIN)
    if working_set < marks.soft:
        return NoAction.CALM
    if recycling or killing:
        return NoAction.WAIT
    worthy = [worker for worker in staying if worker.pss >= WORTH_RECYCLING and not worker.young]
    return Recycle(max(worthy, key=_size)) if worthy else NoAction.UNRELIEVED


class ApiGrowth:
    """Decides when the api is restarted: if it stays large while memory is at the soft mark.

    Workers are recycled first, since no request notices that. The time in which one may still free memory does not count:
    it may finish its batch first. Counting goes on afterwards, because a worker that grows again is recycled once a minute.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        #: Seconds of growth without a worker to blame; None while the api is small or memory is free.
        self._seconds: float | None = None
        self._last = self._restarted_at = float("-inf")

    def is_restart_due(
        self, now: float, api_pss: int, working_set: int, marks: Marks, *, workers_may_help: bool
    ) -> bool:
        """Tell whether to restart the api now. `now` is monotonic."""
        elapsed, self._last = now - self._last, now
        if working_set < marks.soft * RELIEVED_SHARE or api_pss < marks.api:
            self._seconds = None
        elif self._seconds is not None:
            self._seconds += 0.0 if workers_may_help else elapsed
        elif working_set >= marks.soft:
            self._seconds = 0.0
        if self._seconds is None or working_set < marks.soft or workers_may_help:
            return False
        rested = now - self._restarted_at >= self._timing.api_restart_pause_seconds
        return rested and self._seconds >= self._timing.api_grown_seconds

    def restarted(self, now: float) -> None:
        """Begin the pause after which the api may be restarted again."""
        self._seconds, self._restarted_at = None, now


def _size(worker: WorkerMemory) -> int:
    return worker.pss
