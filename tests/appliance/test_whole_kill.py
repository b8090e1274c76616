"""The whole appliance killed in mid-job: the next start does only the remaining work."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ops.lab.trial_appliance import Appliance
from shared.redis.connection import Patience, connect
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.faults.placing import Faults, Step
from tests.support.faults.submitted import BATCH_ROWS, Submitted, counters, submit

#: Batches of the job, and how many are recorded when everything is killed.
BATCHES, BEFORE = 160, 40
#: Workers, each of which holds one batch at most.
WORKERS = 2


def result_times(appliance: Appliance, job: Submitted) -> dict[int, int]:
    """Return when each batch's result was written, in nanoseconds."""
    folder = Path(appliance.settings().objects_dir) / "jobs" / job.id / "result"
    return {int(path.stem): path.stat().st_mtime_ns for path in folder.glob("*.npy")}


def batches(steps: list[Step]) -> set[int]:
    return {step.batch for step in steps}


def test_after_a_kill_of_everything_only_unfinished_batches_are_run_again(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    first = make_appliance(**faults.environment(), WORKERS=str(WORKERS))
    first.start()
    job = submit(first, "breast-cancer", BATCHES * BATCH_ROWS - 1)
    job.wait_for(BEFORE)
    first.kill()
    stored = result_times(first, job)
    begun, recorded = batches(faults.steps("read")), batches(faults.steps("recorded"))
    reads = len(faults.steps("read"))

    second = make_appliance(**faults.environment(), WORKERS=str(WORKERS))
    second.start()
    again = Submitted(second, job.id, job.version, job.rows)
    again.check_completed()

    run = faults.steps("read")[reads:]
    # Redis may have recorded a batch whose worker was killed before it could note so: that one is done as well.
    unnoted = begun - recorded - batches(run)
    recorded |= unnoted
    say(
        f"killed with {len(recorded)} of {BATCHES} batches recorded and {len(begun - recorded)} running; after "
        f"the start {len(run)} were run, {len(batches(run) & begun)} of them for the second time"
    )
    assert BEFORE <= len(recorded) < BATCHES
    assert len(unnoted) <= WORKERS
    assert not batches(run) & recorded
    assert batches(run) == set(range(BATCHES)) - recorded
    assert len(run) == BATCHES - len(recorded)
    assert len(batches(run) & begun) <= WORKERS
    kept = result_times(second, job)
    assert {batch: kept[batch] for batch in recorded} == {batch: stored.get(batch) for batch in recorded}
    with closing(connect(second.settings(), Patience.STEADY, name="test")) as connection:
        count = counters(connection)
    assert count["rows_explained_total|breast-cancer@1"] == len(job.rows)
    assert count["jobs_total|completed"] == 1
