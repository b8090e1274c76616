"""The main job of an appliance: exact values over REST, even while programs are killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shap
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.reference import EXACT, distance, reference_contributions
from ops.lab.trial_appliance import NO_ANSWER, Appliance
from services.api.explain.inline import MOST_ROWS
from shared.appliance.heartbeats import Heartbeats
from shared.build import ROOT
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from shared.treeshap.library import find_library
from tests.appliance.client import forget_tables, until
from tests.appliance.conftest import MakeAppliance
from tests.appliance.faults.submitted import eventually
from tests.support.quick import check_quick_by_own_clock

type Matrix = NDArray[np.float32]

#: Batches of the jobs in which something is killed.
BATCHES = 100
#: Seconds within which a killed worker's batch must run again.
RECOVERY_SECONDS = 3.0


def the_model(name: str) -> ModelVersion:
    return ModelCatalog.load(ROOT / "models").get(name)


def example_rows(version: ModelVersion, rows: int) -> Matrix:
    examples = np.load(version.examples_path or "")
    generator = np.random.default_rng(7)
    picked = examples[generator.integers(0, len(examples), rows)]
    return np.asarray(picked * generator.uniform(0.9, 1.1, picked.shape), dtype=np.float32)


def as_npy(rows: Matrix) -> bytes:
    body = io.BytesIO()
    np.save(body, rows)
    return body.getvalue()


def cells(row: Matrix) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]


def submit(appliance: Appliance, model: str, rows: Matrix) -> dict[str, Any]:
    answer = appliance.call(
        "POST", f"/v1/jobs?model={model}", as_npy(rows), headers={"Content-Type": "application/x-npy"}
    )
    assert answer.status == 202, answer
    return dict(answer.json())


def job(appliance: Appliance, job_id: str) -> dict[str, Any]:
    """Return the job document, asking again while the api or Redis is away."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            answer = appliance.get(f"/v1/jobs/{job_id}")
        except NO_ANSWER:
            time.sleep(0.05)
            continue
        if answer.status == 200:
            return dict(answer.json())
        assert answer.status == 503, answer
        time.sleep(0.05)
    raise AssertionError(appliance.log_tail())


def finish(appliance: Appliance, job_id: str, seconds: float = 300) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        document = job(appliance, job_id)
        if document["finished_at"]:
            return document
        time.sleep(0.1)
    raise AssertionError(f"{document}\n{appliance.log_tail()}")


def check_values(appliance: Appliance, job_id: str, version: ModelVersion, rows: Matrix) -> None:
    answer = appliance.get(f"/v1/jobs/{job_id}/result", headers={"Accept": "application/x-npy"})
    values = np.load(io.BytesIO(answer.body))
    wanted = reference_contributions(version.model_path, rows)
    assert distance(values, wanted) <= EXACT


def wait_for_progress(appliance: Appliance, job_id: str, batches: int) -> None:
    while job(appliance, job_id)["batches"]["completed"] < batches:
        time.sleep(0.01)


def metrics(appliance: Appliance) -> dict[str, float]:
    answer = appliance.get("/metrics", key=appliance.metrics_token)
    assert answer.status == 200
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def bodies(version: ModelVersion, rows: Matrix) -> dict[str, tuple[str, bytes]]:
    """Return the same rows in every form that is read: name → (content type, body)."""
    order = np.random.default_rng(3).permutation(len(version.features))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow([version.features[column] for column in order])
    for row in rows:
        writer.writerow(["" if np.isnan(row[column]) else repr(float(row[column])) for column in order])
    objects = [dict(zip(version.features, cells(row), strict=True)) for row in rows]
    arrays = [cells(row) for row in rows]
    return {
        "csv with shuffled columns": ("text/csv", table.getvalue().encode()),
        "json arrays": ("application/json", json.dumps({"model": version.id, "rows": arrays}).encode()),
        "json objects": ("application/json", json.dumps({"rows": objects, "model": version.name}).encode()),
        "ndjson": ("application/x-ndjson", "\n".join(json.dumps(row) for row in objects).encode()),
        "npy": ("application/x-npy", as_npy(rows)),
    }


@pytest.mark.parametrize("model", ["breast-cancer", "wine", "diabetes"])
def test_the_same_rows_in_every_form_give_the_same_exact_values(appliance: Appliance, model: str) -> None:
    version = the_model(model)
    rows = example_rows(version, 12)
    rows[2, 3] = np.nan
    wanted = reference_contributions(version.model_path, rows)

    for name, (content_type, body) in bodies(version, rows).items():
        query = "" if content_type == "application/json" else f"?model={version.id}"
        answer = appliance.call(
            "POST",
            f"/v1/explain{query}",
            body,
            headers={"Content-Type": content_type, "Accept": "application/x-npy"},
        )
        assert answer.status == 200, (name, answer)
        values = np.load(io.BytesIO(answer.body))
        assert distance(values, wanted) <= EXACT, name


@pytest.mark.parametrize("model", ["breast-cancer", "wine"])
def test_every_form_of_a_result_says_the_same_and_json_loads_into_shap(
    appliance: Appliance, model: str
) -> None:
    version = the_model(model)
    rows = example_rows(version, 30)
    document = submit(appliance, version.id, rows)
    finish(appliance, document["id"])
    path = document["links"]["result"]

    wanted = np.load(io.BytesIO(appliance.get(path, headers={"Accept": "application/x-npy"}).body))
    wanted = wanted.reshape(len(rows), len(version.outputs), -1)
    result = appliance.get(path).json()
    as_json = np.array(result["values"]).reshape(len(rows), -1, len(version.outputs)).swapaxes(1, 2)
    lines = appliance.get(path, headers={"Accept": "application/x-ndjson"}).body.splitlines()
    as_ndjson = np.array([json.loads(line)["values"] for line in lines])
    as_ndjson = as_ndjson.reshape(len(rows), -1, len(version.outputs)).swapaxes(1, 2)
    table = list(
        csv.DictReader(io.StringIO(appliance.get(path, headers={"Accept": "text/csv"}).body.decode()))
    )
    as_csv = np.array([[float(line[name]) for name in version.features] for line in table])

    np.testing.assert_array_equal(as_json.astype(np.float32), wanted[:, :, :-1])
    np.testing.assert_array_equal(as_ndjson.astype(np.float32), wanted[:, :, :-1])
    np.testing.assert_array_equal(as_csv.reshape(as_json.shape).astype(np.float32), wanted[:, :, :-1])
    explanation = shap.Explanation(
        values=np.array(result["values"]),
        base_values=np.array(result["base_values"]),
        data=rows,
        feature_names=result["feature_names"],
    )
    totals = explanation.values.sum(axis=1) + explanation.base_values
    np.testing.assert_allclose(totals, np.array(result["predictions"]), atol=1e-4)


def test_interventional_values_come_over_rest_as_well(appliance: Appliance) -> None:
    version = the_model("diabetes")
    rows = [cells(row) for row in example_rows(version, 5)]
    body = json.dumps({"model": version.name, "rows": rows, "method": "interventional"}).encode()

    answer = appliance.call(
        "POST", "/v1/explain", body, headers={"Content-Type": "application/json", "Prefer": "wait=60"}
    )

    result = answer.json()
    assert answer.status == 200, result
    totals = np.array(result["values"]).sum(axis=1) + np.array(result["base_values"])
    np.testing.assert_allclose(totals, result["predictions"], rtol=1e-4)


def test_a_killed_workers_batch_runs_again_within_three_seconds_and_the_values_are_whole(
    appliance: Appliance,
) -> None:
    version = the_model("breast-cancer")
    rows = example_rows(version, 500 * BATCHES)
    settings = Settings(data_dir=appliance.data_dir)
    connection = connect(settings, Patience.STEADY, name="test")
    store = JobStore(connection, settings)
    recovery = Recovery(connection, store)

    def kill_one() -> float:
        until("both alive", lambda: len(Heartbeats(connection).alive()) == 2, appliance=appliance)
        document = submit(appliance, version.id, rows)
        assert document["batches"]["total"] == BATCHES
        wait_for_progress(appliance, document["id"], 10)

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

        assert finish(appliance, document["id"])["status"] == "completed"
        check_values(appliance, document["id"], version, rows)
        return seconds

    check_quick_by_own_clock(RECOVERY_SECONDS, kill_one)
    connection.close()


def test_a_killed_redis_costs_no_accepted_job(appliance: Appliance) -> None:
    version = the_model("wine")
    rows = example_rows(version, 500 * 20)
    document = submit(appliance, version.id, rows)

    os.kill(appliance.pids_of("redis-server")[0], signal.SIGKILL)

    assert finish(appliance, document["id"])["status"] == "completed"
    check_values(appliance, document["id"], version, rows)


def test_a_killed_monitor_and_api_are_back_and_the_job_does_not_notice(appliance: Appliance) -> None:
    version = the_model("wine")
    rows = example_rows(version, 500 * 20)
    document = submit(appliance, version.id, rows)

    for name in ("services.monitor", "services.api"):
        os.kill(appliance.pids_of(name)[0], signal.SIGKILL)

    assert finish(appliance, document["id"])["status"] == "completed"
    check_values(appliance, document["id"], version, rows)
    deadline = time.monotonic() + 120
    while (
        appliance.get("/readyz").status != 200
        or appliance.get("/metrics", key=appliance.metrics_token).status != 200
    ):
        assert time.monotonic() < deadline, appliance.log_tail()
        time.sleep(0.2)


def test_after_everything_was_killed_a_new_start_goes_on_after_the_last_recorded_batch(
    make_appliance: MakeAppliance, tmp_path: Path
) -> None:
    version = the_model("breast-cancer")
    rows = example_rows(version, 500 * BATCHES)
    first = make_appliance(DATA_DIR=str(tmp_path / "data"))
    first.start()
    document = submit(first, version.id, rows)
    wait_for_progress(first, document["id"], 20)
    first.kill()

    second = make_appliance(DATA_DIR=str(tmp_path / "data"))
    second.start()

    assert job(second, document["id"])["batches"]["completed"] >= 20
    assert finish(second, document["id"])["status"] == "completed"
    check_values(second, document["id"], version, rows)
    # The monitor looks once a second.
    explained = "shapbox_rows_explained_total|breast-cancer@1"
    eventually(lambda: metrics(second)[explained] == len(rows), lambda: metrics(second)[explained])


def test_a_worker_that_grows_is_recycled_and_its_job_completes(make_appliance: MakeAppliance) -> None:
    # Loading shap for interventional values takes a worker beyond this mark.
    appliance = make_appliance(WORKERS="1", WORKER_MEMORY_LIMIT_MB="100")
    appliance.start()
    forget_tables(appliance)
    version = the_model("diabetes")
    body = json.dumps(
        {
            "model": version.name,
            "rows": [cells(row) for row in example_rows(version, MOST_ROWS + 1)],  # not the api's own
            "method": "interventional",
        }
    ).encode()
    pid = appliance.worker_pids()

    for _ in range(2):
        answer = appliance.call(
            "POST", "/v1/explain", body, headers={"Content-Type": "application/json", "Prefer": "wait=60"}
        )
        assert answer.status == 200, answer

    deadline = time.monotonic() + 120
    while metrics(appliance)["shapbox_worker_recycles_total|self"] < 1:
        assert time.monotonic() < deadline, appliance.log_tail()
        time.sleep(0.2)
    assert appliance.worker_pids() != pid


def test_the_guard_recycles_the_largest_worker_at_the_memory_limit(make_appliance: MakeAppliance) -> None:
    # With two workers that have loaded shap, the whole appliance is far above 250 MB.
    appliance = make_appliance(WORKERS="2", MEMORY_LIMIT_MB="250", WORKER_MEMORY_LIMIT_MB="249")
    appliance.start()
    forget_tables(appliance)
    version = the_model("diabetes")
    rows = [cells(row) for row in example_rows(version, MOST_ROWS + 1)]  # not the api's own
    body = json.dumps({"model": version.name, "rows": rows, "method": "interventional"}).encode()

    deadline = time.monotonic() + 120
    while metrics(appliance)["shapbox_worker_recycles_total|memory_soft"] < 1:
        assert time.monotonic() < deadline, appliance.log_tail()
        answer = appliance.call(
            "POST", "/v1/explain", body, headers={"Content-Type": "application/json", "Prefer": "wait=60"}
        )
        assert answer.status == 200, answer
        time.sleep(0.2)


def test_version_models_and_metrics_tell_the_same_engine(appliance: Appliance) -> None:
    library = find_library()
    engine = "xgboost" if library is None else library.kernels()[0].engine
    assert appliance.get("/version").json()["engine"] == engine
    assert {model["engine"] for model in appliance.get("/v1/models").json()["models"]} == {engine}
    told = [name for name in metrics(appliance) if name.startswith("shapbox_model_info")]
    assert len(told) == 3
    assert all(f"|{engine}|" in name for name in told)
