"""The main job of an appliance: exact values in spite of kills and too much work."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.trial_appliance import Appliance
from ops.run.output import redis_record
from shapbox import Response
from shared.models.version import ModelVersion
from shared.redis.connection import Patience, connect
from shared.treeshap.library import find_library
from tests.support.client import (
    causes,
    check_refusal,
    finish,
    full_redis,
    is_ready,
    offer,
    probes,
    send,
    send_obeying,
    stopped,
    the_model,
    until,
)
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import Matrix, Submitted, as_request, shaken_examples
from tests.support.quick import check_quick_by_own_clock

#: Batches that may wait, rows of one batch, and batches of one job.
LIMIT, BATCH_ROWS, BATCHES = 40, 100, 10
#: Seconds within which a killed worker's batch must run again.
RECOVERY_SECONDS = 3.0
#: How a client calls the request that is followed through the log.
REQUEST = "follow-me.1"

type Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory, faults: Faults) -> Iterator[Appliance]:
    settings = {
        "MAX_QUEUED_BATCHES": str(LIMIT),
        "BATCH_ROWS": str(BATCH_ROWS),
        "LOG_FORMAT": "json",
        **faults.environment(),
    }
    running = Appliance(tmp_path_factory.mktemp("box") / "data", settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def _ready(appliance: Appliance) -> None:
    until("ready", lambda: is_whole(appliance), appliance=appliance)


def is_whole(appliance: Appliance) -> bool:
    """Return whether nothing waits, all programs run, and the monitor is scraped."""
    status, found = probes(appliance)
    metrics = appliance.get("/metrics", key=appliance.metrics_token)
    workers = len(appliance.worker_pids())
    return (status, metrics.status, workers, found["queue"].get("waiting")) == (200, 200, 2, 0)


def bodies(version: ModelVersion, rows: Matrix) -> dict[str, tuple[str, bytes]]:
    """Return the same rows in every form that is read: name → (content type, body)."""
    arrays = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
    objects = [dict(zip(version.features, row, strict=True)) for row in arrays]
    table = io.StringIO()
    writer = csv.DictWriter(table, sorted(version.features))
    writer.writeheader()
    writer.writerows(objects)
    return {
        "csv with shuffled columns": ("text/csv", table.getvalue().encode()),
        "json arrays": ("application/json", json.dumps({"model": version.id, "rows": arrays}).encode()),
        "json objects": ("application/json", json.dumps({"rows": objects, "model": version.name}).encode()),
        "ndjson": ("application/x-ndjson", "\n".join(map(json.dumps, objects)).encode()),
        "npy": ("application/x-npy", as_request(version, rows)[1]),
    }


def test_the_same_rows_in_every_form_give_the_same_exact_values(appliance: Appliance) -> None:
    version = the_model("wine")
    rows = shaken_examples(version, BATCH_ROWS + 1)
    rows[2, 3] = np.nan
    for name, (content_type, body) in bodies(version, rows).items():
        query = "" if content_type == "application/json" else f"?model={version.id}"
        answer = appliance.call("POST", f"/v1/jobs{query}", body, headers={"Content-Type": content_type})
        assert answer.status == 202, (name, answer)
        finish(Submitted(appliance, answer.json()["id"], version, rows))


def test_version_models_and_metrics_tell_the_same_engine(appliance: Appliance) -> None:
    library = find_library()
    engine = "xgboost" if library is None else library.kernels()[0].engine
    assert appliance.get("/version").json()["engine"] == engine
    assert {model["engine"] for model in appliance.get("/v1/models").json()["models"]} == {engine}
    answer = appliance.get("/metrics", key=appliance.metrics_token)
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.body.decode())
    told = [s.labels["engine"] for f in families for s in f.samples if s.name == "shapbox_model_info"]
    assert told == [engine] * 3


# --- Killed programs ---


def test_a_killed_workers_batch_runs_again_within_three_seconds(appliance: Appliance, faults: Faults) -> None:
    def kill_one() -> float:
        until("whole", lambda: is_whole(appliance), appliance=appliance)
        with faults.held():
            job = send(appliance, the_model(), shaken_examples(the_model(), 3 * BATCH_ROWS))
            faults.place(job.id, 1, "compute", "kill")
        finish(job)
        return faults.recovery_seconds()[-1]

    check_quick_by_own_clock(RECOVERY_SECONDS, kill_one)


def test_killed_programs_are_back_and_cost_no_accepted_job(appliance: Appliance) -> None:
    version = the_model("wine")
    for names in (["redis-server"], ["services.monitor", "services.api"]):
        job = send(appliance, version, shaken_examples(version, 2 * BATCHES * BATCH_ROWS))
        for name in names:
            os.kill(appliance.pids_of(name)[0], signal.SIGKILL)
        finish(job)
        until("back", lambda: is_whole(appliance), appliance=appliance)


# --- Too much work ---


def test_a_full_queue_refuses_and_a_client_that_obeys_gets_in_when_it_has_drained(
    appliance: Appliance,
) -> None:
    version = the_model()
    never = offer(appliance, version, shaken_examples(version, (LIMIT + 1) * BATCH_ROWS))
    assert never.status == 413, never
    assert "retry-after" not in never.headers
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)
    sent: list[Submitted] = []

    def note(answer: Response, rows: Matrix) -> None:
        if answer.status == 202:
            sent.append(Submitted(appliance, answer.json()["id"], version, rows))
        else:
            check_refusal(answer, 429, "queue-full")

    with stopped(*appliance.worker_pids()):
        with ThreadPoolExecutor(16) as clients:
            for answer in clients.map(lambda _: offer(appliance, version, rows), range(16)):
                note(answer, rows)
        assert 1 < len(sent) <= LIMIT // BATCHES + 1  # the stopped workers may hold a batch each
        while (answer := offer(appliance, version, rows[:1])).status == 202:  # small ones fit in for a while
            note(answer, rows[:1])
        note(answer, rows[:1])
        assert offer(appliance, version, rows[:1], "/v1/explain").status == 200  # it needs no place
        status, found = probes(appliance)
        assert status == 503
        assert not found["queue"]["ok"]
        assert str(LIMIT) in found["queue"]["detail"]
        assert causes(appliance) == set()  # a restart would not empty it

        client = threading.Thread(target=lambda: sent.append(send_obeying(appliance, version, rows)))
        accepted = len(sent)
        client.start()
    client.join(300)
    assert len(sent) == accepted + 1
    for one in sent:
        finish(one)
    assert is_ready(appliance)


def test_a_filling_redis_refuses_new_jobs_and_one_that_is_full_to_the_brim_loses_nothing(
    appliance: Appliance,
) -> None:
    version = the_model()
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)

    def check_full(slug: str | None = None) -> None:
        until(
            "not ready", lambda: not is_ready(appliance), appliance=appliance
        )  # memory is read now and then
        for some in (rows, rows[:1]):
            check_refusal(offer(appliance, version, some), 503, slug)
        assert offer(appliance, version, rows[:1], "/v1/explain").status == 200  # it needs no Redis
        assert causes(appliance) == set()

    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        with ExitStack() as fullness:
            with stopped(*appliance.worker_pids()):
                accepted = [send(appliance, version, rows) for _ in range(2)]
                fullness.enter_context(full_redis(connection, 0.9))
                check_full("redis-full")
            for one in accepted:  # they go on while Redis is that full
                finish(one)
        until("ready", lambda: is_ready(appliance), appliance=appliance)
        sent = [send(appliance, version, rows) for _ in range(3)]
        with full_redis(connection):
            check_full()
    until("ready", lambda: is_ready(appliance), appliance=appliance)
    sent.append(send_obeying(appliance, version, rows))
    for one in sent:
        finish(one)
    assert causes(appliance) == set()


# --- The log ---


@pytest.fixture(scope="module")
def followed(appliance: Appliance, faults: Faults) -> tuple[str, Records]:
    """Follow a job whose worker is killed, and have one crash; return its id and the log."""
    until("whole", lambda: is_whole(appliance), appliance=appliance)
    version = the_model("diabetes")
    with faults.held():
        path, body, key, headers = as_request(version, shaken_examples(version, 3 * BATCH_ROWS))
        answer = appliance.call("POST", path, body, key, {**headers, "X-Request-Id": REQUEST})
        job = str(answer.json()["id"])
        faults.place(job, 1, "compute", "kill")
    until("done", lambda: appliance.get(f"/v1/jobs/{job}").json()["status"] == "completed", 300, appliance)
    appliance.call("GET", "/%0A12:00:00%20INFO%20%20%20%20api%20forged%1B[31m")
    os.kill(appliance.worker_pids()[0], signal.SIGSEGV)  # it dies with words that are not logged
    os.kill(appliance.pids_of("redis-server")[0], signal.SIGKILL)
    until("back", lambda: is_whole(appliance), appliance=appliance)
    return job, [json.loads(line) for line in appliance.log().split("\n")[:-1]]


def test_every_line_is_json_with_the_fields_that_all_have(followed: tuple[str, Records]) -> None:
    for record in followed[1]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert record["level"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        assert record["service"]
        assert record["logger"]
        assert isinstance(record["message"], str)
        assert redis_record(record["message"], 0.0) is None
    assert {(record["service"], record.get("process")) for record in followed[1]} == {
        *((service, None) for service in ("boot", "supervisor", "redis", "monitor", "api", "announce")),
        *(("worker", "worker-1"), ("worker", "worker-2")),
    }
    assert [record["message"] for record in followed[1] if record["service"] == "announce"] == ["ready"]
    assert any("forged" in record["message"] for record in followed[1])


def test_one_request_is_followed_from_the_api_over_two_workers_and_the_monitor(
    followed: tuple[str, Records],
) -> None:
    job, records = followed
    about = [record for record in records if record.get("request") == REQUEST]
    said = [(record["service"], record["message"], record.get("batch")) for record in about]
    assert {record.get("job") for record in about} == {job}
    assert said[0] == ("api", "job accepted", None)
    assert ("api", "POST /v1/jobs 202", None) in said
    assert ("monitor", "batch runs again", 1) in said
    explained = [record["batch"] for record in about if record["message"] == "batch explained"]
    assert sorted(explained) == [0, 1, 2]
    # The other way round: what is about the job, and about no other request, carries this one's id.
    later = [record for record in records if record.get("job") == job and record not in about]
    assert {record["service"] for record in later} == {"api"}


def test_a_process_that_dies_in_native_code_leaves_one_record_with_its_stack(
    followed: tuple[str, Records],
) -> None:
    raw = [record for record in followed[1] if record["logger"] == "raw"]
    [last] = [record for record in raw if record["service"] == "worker"]
    assert last["level"] == "ERROR"
    assert last["message"] == "Fatal Python error: Segmentation fault"
    assert "most recent call first" in last["exception"]
