from __future__ import annotations

import math
import random

import pytest

from ops.lab.soak.growth import course_of
from ops.lab.soak.history import History, ProcessRun
from ops.lab.soak.report import report
from ops.lab.soak.trend import Point, median_around, slope_per_hour, thin
from ops.lab.soak.verdict import judge

HOUR = 3600
MB = 2**20
FACTS = {"minutes": 60, "warm_up_seconds": 300, "workers": 2, "limit_mb": 512, "soft_limit_mb": 475}
WELL = {"jobs_done": 10, "values_checked": 100}


def series(start_mb: float, growth_mb: float, seconds: tuple[int, int] = (0, HOUR)) -> list[Point]:
    """Every 5 s: a line from `start_mb`, with noise and a peak now and then."""
    chance = random.Random(1)
    first, last = seconds
    return [
        (
            float(t),
            MB
            * (start_mb + growth_mb * (t - first) / HOUR + chance.gauss(0, 1) + 40 * (chance.random() < 0.1)),
        )
        for t in range(first, last + 1, 5)
    ]


def history(counts: dict[str, int] | None = None, **runs: list[ProcessRun]) -> History:
    named = {name.replace("_", "-"): of_name for name, of_name in runs.items()}
    return History(FACTS, "cgroup", series(300, 0), named, WELL | (counts or {}))


@pytest.mark.parametrize("growth", [-20.0, 0.0, 3.0, 8.0])
def test_growth_is_found_under_noise_and_peaks(growth: float) -> None:
    assert slope_per_hour(series(100, growth)) / MB == pytest.approx(growth, abs=1)


def test_a_sawtooth_fools_neither_median_nor_slope() -> None:
    saw = [(float(t), 100.0 + t % 30) for t in range(HOUR)]

    assert median_around(saw, 1800, 60) == pytest.approx(114.5, abs=1)
    assert slope_per_hour(saw) == pytest.approx(0, abs=1)


def test_nothing_measured_has_no_median_and_no_slope() -> None:
    assert median_around([(0.0, 1.0)], 100, 60) is None
    assert slope_per_hour([]) == slope_per_hour([(1.0, 5.0)]) == slope_per_hour([(1.0, 5.0), (1.0, 6.0)]) == 0


def test_thinning_keeps_the_course() -> None:
    thinned = thin([(float(t), 2.0 * t) for t in range(10_000)], 100)

    assert len(thinned) == 100
    assert all(math.isclose(value, 2 * t) for t, value in thinned)


def test_the_warm_up_is_no_growth() -> None:
    warming = [(t, value + min(t, 290) * MB) for t, value in series(60, 0)]

    course = course_of("api", history(api=[ProcessRun(7, warming)]))

    assert course.growth == pytest.approx(0, abs=1)
    assert course.warm == pytest.approx(350, abs=3)


def test_each_life_is_judged_for_itself() -> None:
    runs = [ProcessRun(1, series(60, 40, (0, 1800))), ProcessRun(2, series(60, 40, (1805, HOUR)))]

    course = course_of("worker-1", history(worker_1=runs))

    assert course.runs == 2
    assert course.growth == pytest.approx(40, abs=3)
    assert course.end == pytest.approx(60 + 20, abs=3)


def test_a_life_that_is_too_short_tells_nothing() -> None:
    runs = [ProcessRun(1, series(60, 0, (0, 3000))), ProcessRun(2, series(60, 900, (3005, HOUR)))]

    assert course_of("worker-1", history(worker_1=runs)).growth == pytest.approx(0, abs=1)


def test_a_process_that_grows_is_a_fault_and_a_steady_one_is_none() -> None:
    assert judge(history(api=[ProcessRun(1, series(60, 2))])).passed

    verdict = judge(history(api=[ProcessRun(1, series(60, 9))]))

    assert not verdict.passed
    assert "api grows by" in verdict.faults[0]
    assert "Not passed: api grows by" in report(history(api=[ProcessRun(1, series(60, 9))]), verdict)


def test_a_worker_whose_recycle_bounds_its_growth_is_remarked_and_no_fault() -> None:
    runs = [ProcessRun(1, series(60, 60, (0, 1800))), ProcessRun(2, series(60, 60, (1805, HOUR)))]

    verdict = judge(history(worker_1=runs))

    assert verdict.passed
    assert "its recycle bounds it (2 runs" in verdict.remarks[0]
    assert not judge(history(worker_1=runs[:1])).passed
    assert not judge(history(api=runs)).passed


def test_a_short_run_says_that_it_cannot_tell() -> None:
    facts = FACTS | {"minutes": 10, "warm_up_seconds": 60}
    short = History(
        facts, "cgroup", series(300, 0, (0, 600)), {"api": [ProcessRun(1, series(60, 90, (0, 600)))]}, WELL
    )

    verdict = judge(short)

    assert verdict.passed
    assert "shorter than 20 minutes" in verdict.remarks[0]


@pytest.mark.parametrize("count", ["jobs_failed", "values_wrong", "calls_broken", "oom_kills"])
def test_anything_that_went_wrong_fails_the_soak(count: str) -> None:
    steady = [ProcessRun(1, series(60, 0))]

    assert judge(history({count: 0}, api=steady)).passed
    assert not judge(history({count: 1}, api=steady)).passed


def test_a_soak_that_did_nothing_has_not_passed() -> None:
    assert not judge(history({"jobs_done": 0}, api=[ProcessRun(1, series(60, 0))])).passed


def test_samples_that_end_early_are_a_fault() -> None:
    broken_off = History(
        FACTS, "cgroup", series(300, 0, (0, 1500)), {"api": [ProcessRun(1, series(60, 0))]}, WELL
    )

    assert judge(broken_off).faults == ["the samples end after 25.0 minutes"]


def test_the_report_has_a_line_for_each_process_and_the_whole() -> None:
    one = history(
        {"recycles_self": 3}, api=[ProcessRun(1, series(60, 1))], worker_1=[ProcessRun(2, series(90, 1))]
    )

    text = report(one, judge(one), ["values_wrong: here"])

    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")] == [
        "| MB",
        "| api",
        "| worker-1",
        "| working set",
    ]
    assert "3 (self)" in text
    assert "values_wrong: here" in text
    assert "Passed." in text
