"""The memory guard's decisions, by working set, workers, and what was done last."""

from __future__ import annotations

import pytest

from services.monitor.guard.memory_decision import (
    API_GROWN_BYTES,
    WORTH_RECYCLING,
    ApiGrowth,
    Kill,
    Marks,
    NoAction,
    Outcome,
    Recycle,
    WorkerMemory,
    decide,
)
from shared.memory import MAPPED_SHARE
from shared.metrics import RecycleReason
from shared.settings import LEAST_MEMORY_LIMIT_MB
from shared.timing import TIMING

MB = 2**20
MARKS = Marks(soft=475 * MB, hard=496 * MB)
SMALL = WorkerMemory("worker-1", 11, 100 * MB)
LARGE = WorkerMemory("worker-2", 12, 180 * MB)
LEAVING = WorkerMemory("worker-2", 12, 180 * MB, leaving=True)
TINY = WorkerMemory("worker-3", 13, 50 * MB)
YOUNG = WorkerMemory("worker-4", 14, 60 * MB, young=True)
EDGE, BELOW_EDGE = (WorkerMemory("worker-1", 1, size) for size in (WORTH_RECYCLING, WORTH_RECYCLING - 1))
PAUSE = TIMING.api_restart_pause_seconds

type Workers = tuple[WorkerMemory, ...]


@pytest.mark.parametrize(
    ("used_mb", "workers", "known", "wanted"),
    [
        (474.9, (SMALL, LARGE), "", NoAction.CALM),
        (475, (SMALL, LARGE, TINY), "", Recycle(LARGE)),
        (480, (SMALL, LARGE), "recycling", NoAction.WAIT),  # one at a time
        (480, (SMALL, LARGE), "killing", NoAction.WAIT),  # until the memory is back
        (500, (SMALL, LARGE), "killing", NoAction.WAIT),
        (490, (TINY, BELOW_EDGE), "", NoAction.UNRELIEVED),
        (490, (EDGE,), "", Recycle(EDGE)),
        (480, (LEAVING, SMALL), "", Recycle(SMALL)),  # a second SIGTERM would end its batch
        (480, (LEAVING,), "", NoAction.UNRELIEVED),
        (496, (SMALL, LEAVING), "recycling", Kill(LEAVING)),
        (496, (TINY,), "", Kill(TINY)),
        (512, (), "", NoAction.UNRELIEVED),
        (496, (SMALL, LARGE), "requested", Kill(LARGE)),
        (100, (TINY, YOUNG), "requested", Recycle(YOUNG, RecycleReason.ADMIN)),  # however small or young
        (100, (SMALL, LARGE), "requested recycling", NoAction.CALM),
        (100, (LEAVING, SMALL), "requested", Recycle(SMALL, RecycleReason.ADMIN)),
        (100, (LEAVING,), "requested", NoAction.CALM),
    ],
)
def test_the_outcome_for_the_workers(used_mb: float, workers: Workers, known: str, wanted: Outcome) -> None:
    flags = {flag: flag in known.split() for flag in ("recycling", "killing", "requested")}
    assert decide(int(used_mb * MB), MARKS, workers, **flags) == wanted
    no_limit = Marks(MARKS.soft, None)
    assert not isinstance(decide(int(used_mb * MB), no_limit, workers, **flags), Kill)


@pytest.mark.parametrize(
    ("cgroup_mb", "soft_mb", "hard_mb"),
    [(None, 475, None), (512, 475, 496.64), (1024, 475, 993.28), (256, 237.5, 248.32)],
)
def test_the_soft_mark_stays_below_the_cgroups_limit(
    cgroup_mb: int | None, soft_mb: float, hard_mb: float | None
) -> None:
    marks = Marks.of(475, None if cgroup_mb is None else cgroup_mb * MB)
    assert marks.soft == int(soft_mb * MB)
    assert marks.hard == (None if hard_mb is None else int(hard_mb * MB))


def at_the_limit(until: int, step: int = 1) -> list[tuple[float, int, int]]:
    return [(now, 300, 480) for now in range(0, until, step)]


@pytest.mark.parametrize(
    ("steps", "helping", "wanted"),
    [
        ([(0, 300, 480), (60, 300, 480), (60.1, 60, 480)], (0, 0), [60]),
        ([(0, 300, 480), (30, 300, 460), (60, 300, 470), (61, 300, 476)], (0, 0), [61]),  # varies around it
        ([(0, 300, 480), (59, 100, 480), (60, 300, 480), (119, 300, 480)], (0, 0), []),  # shrinks again
        ([(0, 300, 480), (59, 300, 400), (60, 300, 480), (119, 300, 480)], (0, 0), []),
        ([(0, 100, 480), (100, 100, 480)], (0, 0), []),  # is not to blame
        ([(0, 400, 470), (100, 400, 470)], (0, 0), []),
        (at_the_limit(3 * int(PAUSE), 5), (0, 0), [60, 60 + PAUSE, 60 + 2 * PAUSE]),
        # From the first second until before the second a worker is being replaced.
        (at_the_limit(200, 2), (0, 50), [108]),
        (at_the_limit(200, 2), (60, 70), [70]),
        (at_the_limit(200, 2), (0, 200), []),
    ],
)
def test_an_api_that_stays_large_at_the_limit_is_restarted_unless_a_worker_is_being_replaced(
    steps: list[tuple[float, int, int]], helping: tuple[float, float], wanted: list[float]
) -> None:
    growth, done = ApiGrowth(TIMING), []
    for now, api, used in steps:
        may_help = helping[0] <= now < helping[1]
        if growth.is_restart_due(now, api * MB, used * MB, MARKS, workers_may_help=may_help):
            growth.restarted(now)
            done.append(now)
    assert done == wanted


def test_workers_that_are_recycled_once_a_minute_do_not_protect_the_api() -> None:
    growth = ApiGrowth(TIMING)

    def is_due(now: float) -> bool:
        return growth.is_restart_due(now, 300 * MB, 480 * MB, MARKS, workers_may_help=now % 60 < 5)

    assert next(now for now in range(200) if is_due(now)) == 69
    assert is_due(70)  # it was not asked yet
    growth.restarted(70)
    assert not any(is_due(now) for now in range(71, 70 + int(PAUSE)))
    assert is_due(70 + PAUSE)


@pytest.mark.parametrize("soft_mb", [LEAST_MEMORY_LIMIT_MB, 237, 475, 2000])
def test_an_api_may_map_its_models_and_always_grow_too_large(soft_mb: int) -> None:
    marks = Marks(soft=soft_mb * MB, hard=None)
    assert MAPPED_SHARE * marks.soft + 90 * MB < marks.api < 0.9 * marks.soft
    assert MARKS.api == API_GROWN_BYTES + 475 * MB // 4
