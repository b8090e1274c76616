from __future__ import annotations

import pytest

from services.monitor.guard.memory_decision import (
    API_GROWN_BYTES,
    WORTH_RECYCLING,
    ApiGrowth,
    Calm,
    Kill,
    Marks,
    Recycle,
    Unrelieved,
    Wait,
    WorkerMemory,
    decide,
)
from shared.metrics import RecycleReason
from shared.timing import TIMING

MB = 2**20
MARKS = Marks(soft=475 * MB, hard=496 * MB)
SMALL = WorkerMemory("worker-1", 11, 100 * MB)
LARGE = WorkerMemory("worker-2", 12, 180 * MB)
TINY = WorkerMemory("worker-3", 13, 50 * MB)


def test_below_the_soft_mark_nothing_is_done() -> None:
    assert decide(475 * MB - 1, MARKS, (SMALL, LARGE)) == Calm()


def test_at_the_soft_mark_the_largest_worker_is_recycled() -> None:
    assert decide(475 * MB, MARKS, (SMALL, LARGE, TINY)) == Recycle(LARGE)


def test_while_one_is_recycled_no_other_is() -> None:
    assert decide(480 * MB, MARKS, (SMALL, LARGE), recycling=True) == Wait()


def test_after_a_kill_the_memory_gets_time_to_come_back() -> None:
    assert decide(480 * MB, MARKS, (SMALL, LARGE), killing=True) == Wait()
    assert decide(500 * MB, MARKS, (SMALL, LARGE), killing=True) == Wait()


@pytest.mark.parametrize("workers", [(), (TINY,), (WorkerMemory("worker-1", 1, WORTH_RECYCLING - 1),)])
def test_no_worker_is_recycled_without_effect(workers: tuple[WorkerMemory, ...]) -> None:
    assert decide(490 * MB, MARKS, workers) == Unrelieved()


def test_a_worker_just_large_enough_is_recycled() -> None:
    worker = WorkerMemory("worker-1", 1, WORTH_RECYCLING)
    assert decide(490 * MB, MARKS, (worker,)) == Recycle(worker)


def test_a_worker_that_was_asked_to_leave_is_not_asked_again() -> None:
    leaving = WorkerMemory("worker-2", 12, 180 * MB, leaving=True)
    assert decide(480 * MB, MARKS, (leaving, SMALL)) == Recycle(SMALL)
    assert decide(480 * MB, MARKS, (leaving,)) == Unrelieved()


def test_at_the_hard_mark_the_largest_worker_is_killed_though_one_is_leaving() -> None:
    leaving = WorkerMemory("worker-2", 12, 180 * MB, leaving=True)
    assert decide(496 * MB, MARKS, (SMALL, leaving), recycling=True) == Kill(leaving)


def test_at_the_hard_mark_even_a_small_worker_is_killed() -> None:
    assert decide(496 * MB, MARKS, (TINY,)) == Kill(TINY)


def test_at_the_hard_mark_without_workers_the_shortage_is_reported() -> None:
    assert decide(512 * MB, MARKS, ()) == Unrelieved()


def test_without_a_cgroup_limit_nothing_is_killed() -> None:
    assert decide(2000 * MB, Marks(475 * MB, None), (LARGE,)) == Recycle(LARGE)


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


@pytest.mark.parametrize("working_set", [100 * MB, 480 * MB])
def test_an_admins_request_has_the_largest_worker_leave_however_small_or_young(working_set: int) -> None:
    tiny = WorkerMemory("worker-4", 14, 60 * MB, young=True)
    assert decide(working_set, MARKS, (TINY, tiny), requested=True) == Recycle(tiny, RecycleReason.ADMIN)


def test_an_admins_request_waits_while_another_worker_leaves_and_asks_none_twice() -> None:
    leaving = WorkerMemory("worker-5", 15, 300 * MB, leaving=True)
    assert decide(100 * MB, MARKS, (SMALL, LARGE), requested=True, recycling=True) == Calm()
    assert decide(100 * MB, MARKS, (leaving, SMALL), requested=True) == Recycle(SMALL, RecycleReason.ADMIN)
    assert decide(100 * MB, MARKS, (leaving,), requested=True) == Calm()
    assert decide(100 * MB, MARKS, (), requested=True) == Calm()


def test_the_hard_mark_goes_before_an_admins_request() -> None:
    assert decide(496 * MB, MARKS, (SMALL, LARGE), requested=True) == Kill(LARGE)


def restarts(*steps: tuple[float, int, int]) -> list[float]:
    """Return when the api is restarted; a step is the time and two sizes in MB."""
    growth = ApiGrowth(TIMING)
    return [now for now, api, used in steps if growth.is_restart_due(now, api * MB, used * MB, MARKS)]


def test_an_api_that_stays_large_while_memory_is_at_its_limit_is_restarted() -> None:
    assert restarts((0, 200, 480), (5, 200, 480), (10, 200, 480), (10.1, 60, 480)) == [10]


def test_memory_that_varies_around_its_limit_counts_as_at_its_limit() -> None:
    assert restarts((0, 200, 480), (5, 200, 460), (10, 200, 470), (11, 200, 476)) == [11]


def test_an_api_that_shrinks_again_or_is_not_to_blame_is_left_alone() -> None:
    assert not restarts((0, 200, 480), (9, 100, 480), (10, 200, 480), (19, 200, 480))
    assert not restarts((0, 200, 480), (9, 200, 400), (10, 200, 480), (19, 200, 480))
    assert not restarts((0, 100, 480), (60, 100, 480))
    assert not restarts((0, 400, 470), (60, 400, 470))


def test_an_api_that_grows_again_at_once_is_not_restarted_again_and_again() -> None:
    pause = TIMING.api_restart_pause_seconds
    assert restarts(*((float(now), 300, 480) for now in range(0, 3 * int(pause), 5))) == [
        10,
        10 + pause,
        10 + 2 * pause,
    ]


def test_an_api_may_be_larger_where_there_is_more_memory() -> None:
    assert MARKS.api == API_GROWN_BYTES
    assert Marks(soft=2000 * MB, hard=None).api == 600 * MB
