"""The main job of an appliance: exact values over REST, even while programs are killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.reference import EXACT, distance, reference_contributions
from ops.lab.trial_appliance import Appliance
from shared.appliance.heartbeats import Heartbeats
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.version import ModelVersion
from shared.redis.connection import Patience, connect
from shared.treeshap.library import find_library
from tests.support.client import the_model, until
from tests.support.faults.submitted import BATCH_ROWS, Matrix, as_request, shaken_examples, submit
from tests.support.quick import check_quick_by_own_clock

#: Batches of the job in which a worker is killed.
BATCHES = 100
#: Seconds within which a killed worker's batch must run again.
RECOVERY_SECONDS = 3.0


def bodies(version: ModelVersion, rows: Matrix) -> dict[str, tuple[str, bytes]]:
    """Return the same rows in every form that is read: name → (content type, body)."""
    arrays = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
    objects = [dict(zip(version.features, row, strict=True)) for row in arrays]
    order = np.random.default_rng(3).permutation(version.features).tolist()
    table = io.StringIO()
    writer = csv.DictWriter(table, order)
    writer.writeheader()
    writer.writerows(objects)
    return {
        "csv with shuffled columns": ("text/csv", table.getvalue().encode()),
        "json arrays": ("application/json", json.dumps({"model": version.id, "rows": arrays}).encode()),
        "json objects": ("application/json", json.dumps({"rows": objects, "model": version.name}).encode()),
        "ndjson": ("application/x-ndjson", "\n".join(map(json.dumps, objects)).encode()),
        "npy": ("application/x-npy", as_request(version, rows)[1]),
    }


@pytest.mark.parametrize("model", ["breast-cancer", "wine", "diabetes"])
def test_the_same_rows_in_every_form_give_the_same_exact_values(appliance: Appliance, model: str) -> None:
    version = the_model(model)
    rows = shaken_examples(version, 12)
    rows[2, 3] = np.nan
    wanted = reference_contributions(version.model_path, rows)
    for name, (content_type, body) in bodies(version, rows).items():
        query = "" if content_type == "application/json" else f"?model={version.id}"
        headers = {"Content-Type": content_type, "Accept": "application/x-npy"}
        answer = appliance.call("POST", f"/v1/explain{query}", body, headers=headers)
        assert answer.status == 200, (name, answer)
        assert distance(np.load(io.BytesIO(answer.body)), wanted) <= EXACT, name


def test_interventional_values_come_over_rest_as_well(appliance: Appliance) -> None:
    version = the_model("diabetes")
    rows = shaken_examples(version, 5).tolist()
    body = json.dumps({"model": version.name, "rows": rows, "method": "interventional"}).encode()
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
    answer = appliance.call("POST", "/v1/explain", body, headers=headers)
    result = answer.json()
    assert answer.status == 200, result
    totals = np.array(result["values"]).sum(axis=1) + np.array(result["base_values"])
    np.testing.assert_allclose(totals, result["predictions"], rtol=1e-4)


def test_version_models_and_metrics_tell_the_same_engine(appliance: Appliance) -> None:
    library = find_library()
    engine = "xgboost" if library is None else library.kernels()[0].engine
    assert appliance.get("/version").json()["engine"] == engine
    assert {model["engine"] for model in appliance.get("/v1/models").json()["models"]} == {engine}
    answer = appliance.get("/metrics", key=appliance.metrics_token)
    families = text_string_to_metric_families(answer.body.decode())
    told = [s.labels["engine"] for f in families for s in f.samples if s.name == "shapbox_model_info"]
    assert told == [engine] * 3


def test_a_killed_workers_batch_runs_again_within_three_seconds_and_the_values_are_whole(
    appliance: Appliance,
) -> None:
    settings = appliance.settings()
    connection = connect(settings, Patience.STEADY, name="test")
    store = JobStore(connection, settings)
    recovery = Recovery(connection, store)

    def kill_one() -> float:
        until("both alive", lambda: len(Heartbeats(connection).alive()) == 2, appliance=appliance)
        job = submit(appliance, "breast-cancer", BATCH_ROWS * BATCHES)
        job.wait_for(10)
        while not (held := recovery.running()):
            time.sleep(0.001)
        victim = held[0]
        os.kill(Heartbeats(connection).alive()[victim.owner].pid, signal.SIGKILL)
        killed = time.monotonic()
        while victim.batch in store.todo(victim.job_id):
            if any(o.batch == victim.batch and o.token != victim.token for o in recovery.running()):
                break
            time.sleep(0.005)
        seconds = time.monotonic() - killed
        job.check_completed()
        return seconds

    check_quick_by_own_clock(RECOVERY_SECONDS, kill_one)
    connection.close()


def test_killed_programs_are_back_and_cost_no_accepted_job(appliance: Appliance) -> None:
    for names in (["redis-server"], ["services.monitor", "services.api"]):
        job = submit(appliance, "wine", 20 * BATCH_ROWS)
        for name in names:
            os.kill(appliance.pids_of(name)[0], signal.SIGKILL)
        job.check_completed()
        until("ready", appliance.is_ready, appliance=appliance)
        until(
            "scraped",
            lambda: appliance.get("/metrics", key=appliance.metrics_token).status == 200,
            appliance=appliance,
        )
