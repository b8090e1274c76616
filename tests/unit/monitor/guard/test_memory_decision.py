from __future__ import annotations

import pytest

from services.monitor.guard.memory_decision import (
    API_GROWN_BYTES,
    WORTH_RECYCLING,
    ApiGrowth,
    Kill,
    Marks,
    NoAction,
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
TINY = WorkerMemory("worker-3", 13, 50 * MB)


def test_below_the_soft_mark_nothing_is_done() -> None:
    assert decide(475 * MB - 1, MARKS, (SMALL, LARGE)) == NoAction.CALM


def test_at_the_soft_mark_the_largest_worker_is_recycled() -> None:
    assert decide(475 * MB, MARKS, (SMALL, LARGE, TINY)) == Recycle(LARGE)


def test_while_one_is_recycled_no_other_is() -> None:
    assert decide(480 * MB, MARKS, (SMALL, LARGE), recycling=True) == NoAction.WAIT


def test_after_a_kill_the_memory_gets_time_to_come_back() -> None:
    assert decide(480 * MB, MARKS, (SMALL, LARGE), killing=True) == NoAction.WAIT
    assert decide(500 * MB, MARKS, (SMALL, LARGE), killing=True) == NoAction.WAIT


@pytest.mark.parametrize("workers", [(), (TINY,), (WorkerMemory("worker-1", 1, WORTH_RECYCLING - 1),)])
def test_no_worker_is_recycled_without_effect(workers: tuple[WorkerMemory, ...]) -> None:
    assert decide(490 * MB, MARKS, workers) == NoAction.UNRELIEVED


def test_a_worker_just_large_enough_is_recycled() -> None:
    worker = WorkerMemory("worker-1", 1, WORTH_RECYCLING)
    assert decide(490 * MB, MARKS, (worker,)) == Recycle(worker)


def test_a_worker_that_was_asked_to_leave_is_not_asked_again() -> None:
    leaving = WorkerMemory("worker-2", 12, 180 * MB, leaving=True)
    assert decide(480 * MB, MARKS, (leaving, SMALL)) == Recycle(SMALL)
    assert decide(480 * MB, MARKS, (leaving,)) == NoAction.UNRELIEVED


def test_at_the_hard_mark_the_largest_worker_is_killed_though_one_is_leaving() -> None:
    leaving = WorkerMemory("worker-2", 12, 180 * MB, leaving=True)
    assert decide(496 * MB, MARKS, (SMALL, leaving), recycling=True) == Kill(leaving)


def test_at_the_hard_mark_even_a_small_worker_is_killed() -> None:
    assert decide(496 * MB, MARKS, (TINY,)) == Kill(TINY)


def test_at_the_hard_mark_without_workers_the_shortage_is_reported() -> None:
    assert decide(512 * MB, MARKS, ()) == NoAction.UNRELIEVED


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
    assert decide(100 * MB, MARKS, (SMALL, LARGE), requested=True, recycling=True) == NoAction.CALM
    assert decide(100 * MB, MARKS, (leaving, SMALL), requested=True) == Recycle(SMALL, RecycleReason.ADMIN)
    assert decide(100 * MB, MARKS, (leaving,), requested=True) == NoAction.CALM
    assert decide(100 * MB, MARKS, (), requested=True) == NoAction.CALM


def test_the_hard_mark_goes_before_an_admins_request() -> None:
    assert decide(496 * MB, MARKS, (SMALL, LARGE), requested=True) == Kill(LARGE)


def restarts(*steps: tuple[float, int, int], helping: tuple[float, float] = (0.0, 0.0)) -> list[float]:
    """Return when the api is restarted.

    A step is the time and two sizes in MB. From `helping[0]` until before `helping[1]` a worker is being replaced.
    """
    growth, done = ApiGrowth(TIMING), []
    for now, api, used in steps:
        may_help = helping[0] <= now < helping[1]
        if growth.is_restart_due(now, api * MB, used * MB, MARKS, workers_may_help=may_help):
            growth.restarted(now)
            done.append(now)
    return done


def test_an_api_that_stays_large_while_memory_is_at_its_limit_is_restarted() -> None:
    assert restarts((0, 300, 480), (30, 300, 480), (60, 300, 480), (60.1, 60, 480)) == [60]


def test_memory_that_varies_around_its_limit_counts_as_at_its_limit() -> None:
    assert restarts((0, 300, 480), (30, 300, 460), (60, 300, 470), (61, 300, 476)) == [61]


def test_an_api_that_shrinks_again_or_is_not_to_blame_is_left_alone() -> None:
    assert not restarts((0, 300, 480), (59, 100, 480), (60, 300, 480), (119, 300, 480))
    assert not restarts((0, 300, 480), (59, 300, 400), (60, 300, 480), (119, 300, 480))
    assert not restarts((0, 100, 480), (100, 100, 480))
    assert not restarts((0, 400, 470), (100, 400, 470))


def test_while_a_worker_is_being_replaced_the_api_is_left_alone() -> None:
    at_the_limit = tuple((float(now), 300, 480) for now in range(0, 200, 2))
    assert restarts(*at_the_limit, helping=(0, 50)) == [108]
    assert restarts(*at_the_limit, helping=(60, 70)) == [70]
    assert not restarts(*at_the_limit, helping=(0, 200))


def test_workers_that_are_recycled_once_a_minute_do_not_protect_the_api() -> None:
    growth = ApiGrowth(TIMING)
    due = [
        now
        for now in range(200)
        if growth.is_restart_due(now, 300 * MB, 480 * MB, MARKS, workers_may_help=now % 60 < 5)
    ]
    assert due[0] == 69


def test_the_pause_begins_with_a_restart_and_not_when_one_is_due() -> None:
    growth = ApiGrowth(TIMING)

    def is_due(now: float) -> bool:
        return growth.is_restart_due(now, 300 * MB, 480 * MB, MARKS, workers_may_help=False)

    assert [is_due(now) for now in (0, 59, 60, 61)] == [False, False, True, True]
    growth.restarted(61)
    pause = TIMING.api_restart_pause_seconds
    assert [is_due(now) for now in (62, 122, 61 + pause - 1, 61 + pause)] == [False, False, False, True]


def test_an_api_that_grows_again_at_once_is_not_restarted_again_and_again() -> None:
    pause = TIMING.api_restart_pause_seconds
    assert restarts(*((float(now), 300, 480) for now in range(0, 3 * int(pause), 5))) == [
        60,
        60 + pause,
        60 + 2 * pause,
    ]


def test_an_api_may_be_larger_where_there_is_more_memory() -> None:
    assert MARKS.api == API_GROWN_BYTES + 475 * MB // 4
    assert Marks(soft=2000 * MB, hard=None).api == pytest.approx(1100 * MB, abs=1)


@pytest.mark.parametrize("soft_mb", [185, LEAST_MEMORY_LIMIT_MB, 237, 475, 2000])
def test_an_api_may_map_its_models_and_always_grow_too_large(soft_mb: int) -> None:
    marks = Marks(soft=soft_mb * MB, hard=None)
    assert MAPPED_SHARE * marks.soft + 90 * MB < marks.api < 0.9 * marks.soft
