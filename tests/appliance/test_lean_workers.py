"""Workers give shap's memory back one by one, and no batch is affected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

import redis

from ops.lab.trial_appliance import Appliance
from shared.appliance.heartbeats import Heartbeats
from shared.jobs import keys
from shared.memory import process_pss_bytes
from shared.redis.connection import Patience, connect
from tests.appliance.client import forget_tables
from tests.appliance.conftest import MakeAppliance, Say
from tests.appliance.faults.load import Load
from tests.appliance.faults.placing import Faults
from tests.appliance.faults.submitted import (
    BATCH_ROWS,
    Submitted,
    as_request,
    counters,
    eventually,
    nothing_is_left,
    submit,
)

MB = 2**20
#: Seconds without an interventional batch after which the workers here give shap back.
IDLE_SECONDS = 4.0
#: MB that shap takes at least, and by which lean workers may differ.
SHAP_MB, MARGIN_MB = 50, 20


def sizes(appliance: Appliance) -> Mapping[int, int]:
    """Return the workers' PSS in MB, by process."""
    return {pid: process_pss_bytes(pid) // MB for pid in appliance.worker_pids()}


def explain_against_background(appliance: Appliance, like: Submitted, faults: Faults) -> str:
    """Submit an interventional job; return its id once each worker has begun a batch of it."""
    path, body, _, headers = as_request(like.version, like.rows)
    with faults.held():
        answer = appliance.call("POST", f"{path}&method=interventional", body, headers=headers)
        assert answer.status == 202, answer
        job_id = str(answer.json()["id"])
        eventually(
            lambda: len({step.pid for step in faults.steps("unclaimed") if step.job_id == job_id}) == 2,
            appliance.log_tail,
        )
    return job_id


def watch_until_lean(
    appliance: Appliance, loaded: Mapping[int, int], connection: redis.Redis
) -> tuple[Mapping[int, int], int]:
    """Return the workers' sizes once all with shap are gone, and the fewest that ran."""
    heartbeats, fewest = Heartbeats(connection), 2

    def lean() -> Mapping[int, int] | None:
        nonlocal fewest
        alive = {heartbeat.pid for heartbeat in heartbeats.alive().values()}
        fewest = min(fewest, len(alive))
        return sizes(appliance) if len(alive) == 2 and not alive & loaded.keys() else None

    found = eventually(lean, appliance.log_tail)
    return dict(found), fewest


def test_after_an_interventional_job_each_worker_is_lean_again_and_no_batch_notices(
    make_appliance: MakeAppliance, faults: Faults, say: Say
) -> None:
    appliance = make_appliance(**faults.environment(), SHAPBOX_TEST_SHAP_SECONDS=str(IDLE_SECONDS))
    appliance.start()
    forget_tables(appliance)
    plain = submit(appliance, "diabetes", 2 * BATCH_ROWS)
    plain.check_completed()
    fresh = sizes(appliance)

    job_id = explain_against_background(appliance, plain, faults)
    against_background = Submitted(appliance, job_id, plain.version, plain.rows)
    assert against_background.finish()["status"] == "completed"
    loaded = sizes(appliance)
    assert loaded.keys() == fresh.keys()
    assert min(loaded.values()) > max(fresh.values()) + SHAP_MB

    started = time.monotonic()
    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        with Load(appliance, "wine", (1, BATCH_ROWS, 3 * BATCH_ROWS)) as load:
            lean, fewest = watch_until_lean(appliance, loaded, connection)
            seconds = time.monotonic() - started
        say(
            f"PSS of two workers in MB: fresh {sorted(fresh.values())}, with shap {sorted(loaded.values())}, "
            f"{seconds:.0f} s later {sorted(lean.values())}; {len(load.accepted)} jobs meanwhile"
        )
        assert max(lean.values()) < max(fresh.values()) + MARGIN_MB
        assert fewest == 1  # never both at once
        assert {asked.status for asked in load.asked} <= {200, 202}
        for job in load.accepted:
            job.check_completed()
        assert not [job.id for job in (plain, *load.accepted) if connection.exists(keys.deaths(job.id))]
        eventually(lambda: nothing_is_left(connection), appliance.log_tail)
        count = counters(connection)
    assert count["worker_recycles_total|shap"] == 2
    assert not [name for name in count if name.startswith("batches_recovered_total")]
    assert appliance.log().count("(exit status 0; expected)") >= 2
    assert "exited too quickly" not in appliance.log()
