from __future__ import annotations

import pytest

from ops.verify.checks.memory import judge
from ops.verify.checks.metrics import NAMES, missing_names
from ops.verify.checks.soak import complain_of_restarts
from ops.verify.options import VerifyOptions
from ops.verify.outcome import FailedError
from ops.verify.scrape import Scrape
from ops.verify.target import Target
from ops.verify.watch import MB, MemorySample, Watch, Watched

LIMIT = 475 * MB
PROCESSES = {"api": 60.0 * MB, "worker-1": 300.0 * MB, "worker-2": 80.0 * MB, "redis": 9.0 * MB}


def watched(megabytes: float, grown: dict[str, float] | None = None, fallen: tuple[str, ...] = ()) -> Watched:
    return Watched(MemorySample(megabytes * MB, LIMIT, PROCESSES), 9, 1, grown or {}, fallen)


def exposition(working_set: float, recycles: float, jobs: float) -> bytes:
    return (
        f"shapbox_memory_working_set_bytes {working_set * MB}\nshapbox_memory_limit_bytes {LIMIT}\n"
        "# TYPE shapbox_worker_recycles counter\n"
        f'shapbox_worker_recycles_total{{reason="memory_hard"}} {recycles}\n'
        f'# TYPE shapbox_jobs counter\nshapbox_jobs_total{{status="completed"}} {jobs}\n'
    ).encode()


class Played(Target):
    """Gives one exposition after the other."""

    def __init__(self, *bodies: bytes) -> None:
        super().__init__(VerifyOptions("http://127.0.0.1:1"))
        self.bodies = list(bodies)

    def scrape(self) -> Scrape:
        if not self.bodies:
            raise ConnectionRefusedError
        return Scrape.of(self.bodies.pop(0))


def test_memory_below_its_limit_passes_with_the_peak() -> None:
    assert judge(watched(231)) == "peak 231 of 475 MB in 9 looks"


def test_a_hog_is_named_with_what_the_monitor_did() -> None:
    with pytest.raises(FailedError) as caught:
        judge(watched(480, {"worker_recycles_total{reason=memory_soft}": 2.0}))
    detail = caught.value.detail
    assert "came to 480 MB, and the limit is 475 MB" in detail
    assert "Largest: worker-1 300 MB, worker-2 80 MB, api 60 MB" in detail
    assert "memory_soft 2" in detail


@pytest.mark.parametrize("counter", ["worker_recycles_total{reason=memory_hard}", "memory_unrelieved_total"])
def test_a_worker_that_was_recycled_between_two_looks_is_no_pass(counter: str) -> None:
    with pytest.raises(FailedError, match="Memory was short"):
        judge(watched(300, {counter: 1.0}))


def test_other_recycles_are_no_fault_of_memory() -> None:
    assert judge(
        watched(300, {"worker_recycles_total{reason=admin}": 1.0, "jobs_total{status=completed}": 9})
    )


def test_memory_that_nobody_told_is_no_pass() -> None:
    with pytest.raises(FailedError, match="no memory in 3 looks"):
        judge(Watched(None, 0, 3, {}, ()))


def test_a_watch_keeps_the_peak_and_what_has_grown_and_fallen() -> None:
    target = Played(exposition(200, 1, 10), exposition(480, 3, 12), exposition(210, 3, 4))
    watch = Watch(target)
    for _ in range(5):
        watch.look()
    seen = watch.seen()
    assert seen.peak is not None
    assert seen.peak.working_set == 480 * MB
    assert (seen.looks, seen.missed) == (3, 2)
    assert seen.memory_recycles() == {"memory_hard": 2}
    assert seen.fallen == ("jobs_total{status=completed}",)


def test_counters_that_fell_are_a_restart_and_deaths_are_named() -> None:
    complain_of_restarts(watched(200, {"batches_recovered_total{cause=left}": 1.0}))
    with pytest.raises(FailedError, match="Counters fell"):
        complain_of_restarts(watched(200, fallen=("jobs_total{status=completed}",)))
    with pytest.raises(FailedError, match="worker_died 2"):
        complain_of_restarts(watched(200, {"batches_recovered_total{cause=worker_died}": 2.0}))


def test_a_metric_without_its_labels_is_missing() -> None:
    lines = [
        f"shapbox_{name}"
        + ("{" + ",".join(f'{label}="x"' for label in labels) + "}" if labels else "")
        + " 1"
        for name, labels in NAMES.items()
    ]
    assert missing_names(Scrape.of("\n".join([*lines, ""]).encode())) == []
    without = [line for line in lines if "queue_batches" not in line]
    bare = ["shapbox_queue_batches 1" if "queue_batches" in line else line for line in lines]
    for text in (without, bare):
        assert missing_names(Scrape.of("\n".join([*text, ""]).encode())) == ["queue_batches"]


def test_what_cannot_be_parsed_is_a_failure() -> None:
    with pytest.raises(FailedError, match="cannot be parsed"):
        Scrape.of(b"<html>not metrics</html>\n")
