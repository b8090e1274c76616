"""All output of an appliance with a killed worker and a killed Redis, in both formats."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import Appliance
from ops.run.announce import announcement
from ops.run.output import redis_record
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.settings import LogFormat
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import (
    BATCH_ROWS,
    SMALL_BATCHES,
    as_request,
    eventually,
    shaken_examples,
)

#: How the client calls its request.
REQUEST = "follow-me.1"
#: A line of text: time, level, who, what. Below it only what belongs to it, indented.
TEXT_LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) +([a-z]+)(-\d+)? +\S.*")


@dataclass(frozen=True)
class Life:
    """The output from the first line to the last, and the followed job."""

    log: str
    job: str
    announced: str


def live(folder: Path, log_format: LogFormat) -> Life:
    """Run an appliance, kill a worker in a batch, an idle one, and Redis, and stop it."""
    faults = Faults(folder / "faults")
    appliance = Appliance(
        folder / "data", {**SMALL_BATCHES, **faults.environment(), "LOG_FORMAT": log_format.value}
    )
    appliance.start()
    try:
        with faults.held():
            job = follow(appliance)
            faults.place(job, 1, "compute", "kill")
        eventually(
            lambda: appliance.get(f"/v1/jobs/{job}").json()["status"] == "completed", appliance.log_tail
        )
        appliance.call("GET", "/%0A12:00:00%20INFO%20%20%20%20api%20forged%1B[31m")
        os.kill(appliance.worker_pids()[0], signal.SIGSEGV)  # dies with words that are not logged
        os.kill(appliance.pids_of("redis-server")[0], signal.SIGKILL)
        eventually(lambda: len(appliance.worker_pids()) == 2 and appliance.is_ready(), appliance.log_tail)
        announced = announcement(appliance.settings(), appliance.environment)
    finally:
        appliance.stop()
    return Life(appliance.log(), job, announced)


def follow(appliance: Appliance) -> str:
    version = ModelCatalog.load(ROOT / "models").get("diabetes")
    path, body, key, headers = as_request(version, shaken_examples(version, 3 * BATCH_ROWS))
    answer = appliance.call("POST", path, body, key, {**headers, "X-Request-Id": REQUEST})
    assert answer.status == 202, answer
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Life, list[dict[str, Any]]]:
    life = live(tmp_path_factory.mktemp("json"), LogFormat.JSON)
    assert life.log.endswith("\n")
    return life, [json.loads(line) for line in life.log.split("\n")[:-1]]


def test_every_line_is_json_with_the_fields_that_all_have(records: tuple[Life, list[dict[str, Any]]]) -> None:
    for record in records[1]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
        assert record["level"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        assert record["service"]
        assert record["logger"]
        assert isinstance(record["message"], str)
        assert redis_record(record["message"], 0.0) is None
    assert {(record["service"], record.get("process")) for record in records[1]} == {
        ("boot", None),
        ("supervisor", None),
        ("redis", None),
        ("monitor", None),
        ("api", None),
        ("worker", "worker-1"),
        ("worker", "worker-2"),
        ("announce", None),
    }
    assert [record["message"] for record in records[1] if record["service"] == "announce"] == ["ready"]


def test_one_request_is_followed_from_the_api_over_two_workers_and_the_monitor(
    records: tuple[Life, list[dict[str, Any]]],
) -> None:
    life, all_records = records
    about = [record for record in all_records if record.get("request") == REQUEST]
    said = [(record["service"], record["message"], record.get("batch")) for record in about]

    assert {record.get("job") for record in about} == {life.job}
    assert said[0] == ("api", "job accepted", None)
    assert ("api", "POST /v1/jobs 202", None) in said
    assert ("monitor", "batch runs again", 1) in said
    explained = [record["batch"] for record in about if record["message"] == "batch explained"]
    assert sorted(explained) == [0, 1, 2]
    # The other way round: what is about the job, and about no other request, carries this one's id.
    later = [record for record in all_records if record.get("job") == life.job and record not in about]
    assert {record["service"] for record in later} == {"api"}


def test_a_process_that_dies_in_native_code_leaves_one_record_with_its_stack(
    records: tuple[Life, list[dict[str, Any]]],
) -> None:
    raw = [record for record in records[1] if record["logger"] == "raw"]
    [last] = [record for record in raw if record["service"] == "worker"]
    assert last["level"] == "ERROR"
    assert last["message"] == "Fatal Python error: Segmentation fault"
    assert "most recent call first" in last["exception"]


def test_in_text_every_line_has_a_head_or_belongs_to_the_one_above(tmp_path: Path) -> None:
    life = live(tmp_path, LogFormat.TEXT)
    assert life.log.count(life.announced) == 1
    heads = []
    for line in life.log.replace(f"{life.announced}\n", "").split("\n")[:-1]:
        assert line.isprintable()
        if not line.startswith("  "):
            found = TEXT_LINE.fullmatch(line)
            assert found, line
            heads.append(found[2])
    assert set(heads) == {"boot", "supervisor", "redis", "monitor", "api", "worker"}
    followed = [line for line in life.log.splitlines() if f"request={REQUEST} job={life.job}" in line]
    assert {line.split()[2] for line in followed} >= {"api", "monitor"}
    assert sum("batch explained" in line for line in followed) == 3
    assert "forged" in life.log
