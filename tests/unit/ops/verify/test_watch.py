from __future__ import annotations

import pytest

from ops.verify.appliance import Scrape
from ops.verify.checks.work import OPTIONAL, missing_metrics
from ops.verify.report import FailedError
from ops.verify.watch import MB, Seen
from shared.metrics import METRICS, PREFIX, QUEUE_BATCHES, MetricKind

LIMIT = 475 * MB
PROCESSES = {"api": 60.0 * MB, "worker-1": 300.0 * MB, "worker-2": 80.0 * MB, "redis": 9.0 * MB}


def seen(megabytes: float, grown: dict[str, float] | None = None, fallen: tuple[str, ...] = ()) -> Seen:
    return Seen(megabytes * MB, LIMIT, PROCESSES, 9, 1, {}, grown or {}, set(fallen))


def scrape(working_set: float, recycles: float, jobs: float) -> Scrape:
    return Scrape.of(
        (
            f"shapbox_memory_working_set_bytes {working_set * MB}\nshapbox_memory_limit_bytes {LIMIT}\n"
            f'shapbox_worker_recycles_total{{reason="memory_hard"}} {recycles}\n'
            f'shapbox_jobs_total{{status="completed"}} {jobs}\n'
        ).encode()
    )


@pytest.mark.parametrize(
    "grown",
    [{}, {"worker_recycles_total{reason=admin}": 1.0, "jobs_total{status=completed}": 9}],
)
def test_memory_below_its_limit_passes_with_the_peak(grown: dict[str, float]) -> None:
    assert seen(231, grown).judge_memory() == "peak 231 of 475 MB in 9 looks"


def test_a_hog_is_named_with_what_the_monitor_did() -> None:
    with pytest.raises(FailedError) as caught:
        seen(480, {"worker_recycles_total{reason=memory_soft}": 2.0}).judge_memory()
    detail = caught.value.detail
    assert "came to 480 MB, and the limit is 475 MB" in detail
    assert "Largest: worker-1 300 MB, worker-2 80 MB, api 60 MB" in detail
    assert "memory_soft 2" in detail


@pytest.mark.parametrize("counter", ["worker_recycles_total{reason=memory_hard}", "memory_unrelieved_total"])
def test_a_worker_that_was_recycled_between_two_looks_is_no_pass(counter: str) -> None:
    with pytest.raises(FailedError, match="Memory was short"):
        seen(300, {counter: 1.0}).judge_memory()


def test_memory_that_nobody_told_is_no_pass() -> None:
    with pytest.raises(FailedError, match="no memory in 3 looks"):
        Seen(missed=3).judge_memory()


def test_the_peak_and_the_counters_that_grew_or_fell_are_kept() -> None:
    watched = Seen()
    for one in (scrape(200, 1, 10), scrape(480, 3, 12), scrape(210, 3, 4)):
        watched.take(one)
    assert (watched.peak, watched.looks) == (480 * MB, 3)
    assert watched.grown("worker_recycles_total{reason=memory_hard}") == 2
    assert watched.fallen == {"jobs_total{status=completed}"}


def test_counters_that_fell_are_a_restart_and_deaths_are_named() -> None:
    seen(200, {"batches_recovered_total{cause=left}": 1.0}).judge_restarts()
    with pytest.raises(FailedError, match="Counters fell"):
        seen(200, fallen=("jobs_total{status=completed}",)).judge_restarts()
    with pytest.raises(FailedError, match="worker_died 2"):
        seen(200, {"batches_recovered_total{cause=worker_died}": 2.0}).judge_restarts()


def test_a_metric_without_its_labels_is_missing() -> None:
    lines = {}
    for metric in METRICS:
        labels = [f'{label}="x"' for label in metric.labels]
        histogram = metric.kind is MetricKind.HISTOGRAM
        name = PREFIX + metric.name + ("_bucket" if histogram else "")
        lines[metric] = f"{name}{{{','.join([*labels, *(['le="1"'] if histogram else [])])}}} 1\n"
    for metric in OPTIONAL:
        del lines[metric]
    for line, missing in (
        (lines[QUEUE_BATCHES], []),
        ("", ["queue_batches"]),
        ("shapbox_queue_batches 1\n", ["queue_batches"]),
    ):
        lines[QUEUE_BATCHES] = line
        assert missing_metrics(Scrape.of("".join(lines.values()).encode())) == missing


def test_a_page_that_cannot_be_parsed_is_a_failure() -> None:
    with pytest.raises(FailedError, match="cannot be parsed"):
        Scrape.of(b"<html>not metrics</html>\n")
