"""`make verify` passes sound appliances, and names exactly the cause of a fault."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.lab import demo
from ops.lab.trial_appliance import Appliance
from ops.verify import __main__ as program
from ops.verify.checks.work import workers
from ops.verify.jobs import Jobs
from ops.verify.report import FailedError, Report, Verdict
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions, Visit
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.models.catalog import ModelCatalog
from shared.models.store import ModelDraft, write_model_folder
from shared.settings import KEY_NAMES
from tests.support.client import probes, stopped, until
from tests.support.faults.placing import startup_path
from tests.support.faults.supervised import Supervisor

#: Seconds for each of three jobs: together longer than a stopped worker goes unnoticed (10 s).
ANSWER_SECONDS = 5.0
#: Values that are off by a thousandth: in one model's sums, and in two (one with a base value of 150) without.
#: The MB that a hog takes are with all else more than MEMORY_LIMIT_MB.
WRONG = {
    "PYTHONPATH": startup_path(),
    "SHAPBOX_TEST_WRONG_VALUES": "wine=sum,breast-cancer=swap,diabetes=swap",
    "SHAPBOX_TEST_HOG_MB": "340",
}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    yield from running(tmp_path_factory.mktemp("sound") / "data", {})


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    yield from running(tmp_path_factory.mktemp("wrong") / "data", WRONG)


def running(data_dir: Path, settings: dict[str, str]) -> Iterator[Appliance]:
    box = Appliance(data_dir, settings)
    box.start()
    try:
        yield box
    finally:
        box.stop()


@pytest.fixture
def shifted_models(tmp_path: Path) -> Path:
    """Make models of which one has slightly larger leaves under the same name."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    version = ModelCatalog.load(tmp_path / "models").get("breast-cancer")
    document = json.loads(bytes(load_booster(version.model_path).save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    for node, child in enumerate(tree["left_children"]):
        if child == -1:
            tree["split_conditions"][node] += 1e-3
    shifted = import_xgboost().Booster(model_file=bytearray(json.dumps(document).encode()))
    draft = ModelDraft(version.contract, bytes(shifted.save_raw("ubj")))
    write_model_folder(tmp_path / "models", draft, replace=True)
    return tmp_path / "models"


def options_for(box: Appliance) -> VerifyOptions:
    keys = {name: box.key(name) for name in KEY_NAMES}
    return VerifyOptions(box.url, keys, models_dir=ROOT / "models")


def of(report: Report, verdict: Verdict) -> set[str]:
    return {check.name for check in report.checks if check.verdict is verdict}


def said_of(report: Report, name: str) -> str:
    [check] = [check for check in report.checks if check.name == name]
    return f"{check.detail} {check.remedy}"


def jobs_of(box: Appliance) -> list[object]:
    return list(box.get("/v1/jobs").json()["jobs"])


def await_workers(box: Appliance, count: int) -> None:
    until(f"{count} workers", lambda: probes(box)[1]["workers"].get("alive") == count, appliance=box)


def test_a_sound_appliance_passes_the_command_which_leaves_no_job_and_tells_no_key(
    appliance: Appliance,
) -> None:
    commit = appliance.get("/version").json()["commit"]
    words = ["--format=json", f"--expect-commit={commit[:10]}", "--soak=0.05"]
    environment = {**os.environ, "DATA_DIR": str(appliance.data_dir), "PORT": appliance.environment["PORT"]}
    command = [sys.executable, "-m", "ops.verify", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["passed"]
    assert [check["name"] for check in report["checks"] if check["verdict"] == "SKIP"] == []
    measured = {check["name"]: check["measured"] for check in report["checks"]}
    for name in ("breast-cancer@1", "diabetes@1", "wine@1", "job"):
        assert "XGBoost's own" in measured[name]
    assert re.search(r", largest residual \de-0[678]$", measured["job"])
    assert "jobs meanwhile, all exact" in measured["recycle"]
    assert "of 475 MB" in measured["memory"]
    assert jobs_of(appliance) == []
    for name in KEY_NAMES:
        assert appliance.key(name) not in done.stdout + done.stderr


def test_a_wrong_key_and_another_commit_are_named_and_nothing_else_fails(appliance: Appliance) -> None:
    wrong_key = "a-key-that-is-not-this-one"
    keys = {**options_for(appliance).keys, "API_KEY": wrong_key}
    report = run_verify(replace(options_for(appliance), keys=keys, expect_commit="0123456"))
    assert of(report, Verdict.FAIL) == {"API_KEY", "commit"}
    assert "API_KEY is refused (401" in said_of(report, "API_KEY")
    assert "0123456 is expected" in said_of(report, "commit")
    assert said_of(report, "job").startswith("not checked because API_KEY failed")
    assert of(report, Verdict.PASS) >= {"ADMIN_API_KEY", "METRICS_TOKEN", "metrics", "workers"}
    assert wrong_key not in str(report)


def test_another_model_under_the_same_name_is_named_and_what_lacks_its_key_is_not_checked(
    appliance: Appliance, shifted_models: Path
) -> None:
    keys = {"API_KEY": appliance.api_key}
    report = run_verify(replace(options_for(appliance), keys=keys, models_dir=shifted_models))
    assert of(report, Verdict.FAIL) == {"breast-cancer@1"}
    cancer = said_of(report, "breast-cancer@1")
    assert "breast-cancer@1 is not the model that lies in" in cancer
    assert re.search(r"the values differ: \d+ rows are wrong; row \d+, \w+", cancer)
    lacking = {"ADMIN_API_KEY", "METRICS_TOKEN", "metrics", "workers", "recycle", "memory"}
    assert of(report, Verdict.SKIP) == {"commit"} | lacking
    assert said_of(report, "recycle") == "not checked: it takes a key. Set ADMIN_API_KEY."
    assert of(report, Verdict.PASS) >= {"wine@1", "diabetes@1", "job"}


def test_an_interrupted_visit_leaves_no_job(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        assert len(jobs_of(appliance)) == 3
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Jobs, "finish", interrupt)
    monkeypatch.setattr(sys, "argv", ["verify"])
    monkeypatch.setenv("DATA_DIR", str(appliance.data_dir))
    monkeypatch.setenv("PORT", appliance.environment["PORT"])
    assert program.main() == 130
    assert "interrupted" in capsys.readouterr().err
    assert jobs_of(appliance) == []


def test_workers_that_hang_in_the_middle_of_it_are_the_one_cause(appliance: Appliance) -> None:
    options = replace(options_for(appliance), answer_seconds=ANSWER_SECONDS)
    await_workers(appliance, 2)
    hung = appliance.worker_pids()
    with stopped(*hung):
        report = run_verify(options)
        # Now that they are known to be gone, one comes back.
        os.kill(hung[0], signal.SIGCONT)
        await_workers(appliance, 1)
        with pytest.raises(FailedError, match=r"A worker is dead: worker-\d runs and says nothing"):
            workers(Visit(replace(options, ready_seconds=1)))
    await_workers(appliance, 2)
    assert of(report, Verdict.FAIL) == {"job"}, report
    said = said_of(report, "job")
    assert "is queued after" in said
    assert "workers: 0 workers are alive; worker-1 runs and says nothing (stopped, or hung); worker-2" in said
    assert "it is not well any more: workers (see job)" in said_of(report, "latency")
    # A few rows are explained without workers.
    assert of(report, Verdict.PASS) >= {"breast-cancer@1", "diabetes@1", "wine@1"}
    assert jobs_of(appliance) == []


def test_workers_that_are_stopped_are_named(appliance: Appliance) -> None:
    supervisor = Supervisor(appliance.settings().supervisor_socket)
    supervisor.stop("worker")
    try:
        report = run_verify(replace(options_for(appliance), ready_seconds=0))
    finally:
        supervisor.start("worker")
        supervisor.close()
    await_workers(appliance, 2)
    assert of(report, Verdict.FAIL) == {"readyz"}
    missing = "supervisord does not have worker-1 running; supervisord does not have worker-2"
    assert missing in said_of(report, "readyz")


def test_a_redis_that_is_stopped_is_the_one_cause(appliance: Appliance) -> None:
    with stopped(*appliance.pids_of("redis-server")):
        report = run_verify(replace(options_for(appliance), ready_seconds=0))
    until("ready", lambda: probes(appliance)[0] == 200, appliance=appliance)
    assert of(report, Verdict.FAIL) == {"readyz"}
    assert said_of(report, "readyz").startswith("redis: Redis does not answer")
    assert of(report, Verdict.PASS) >= {"reachable", "closed", "API_KEY", "METRICS_TOKEN"}
    assert said_of(report, "job").startswith("not checked because readyz failed")


def test_values_that_are_off_by_a_thousandth_and_a_memory_hog_are_named(wrong: Appliance) -> None:
    report = run_verify(options_for(wrong))
    assert of(report, Verdict.FAIL) == {"wine@1", "breast-cancer@1", "diabetes@1", "memory"}
    assert "values of model wine@1 are 0.001 off their margin" in said_of(report, "wine@1")
    for name in ("breast-cancer@1", "diabetes@1"):
        found = f"{name} gives wrong values: they differ from XGBoost's own"
        assert found in said_of(report, name)
        assert "rows are wrong; row " in said_of(report, name)
    assert "and the limit is 475 MB. Largest: monitor " in said_of(report, "memory")


def test_the_demo_names_a_wrong_value(
    wrong: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(wrong.data_dir))
    monkeypatch.setenv("PORT", wrong.environment["PORT"])
    assert demo.main(["--output", str(tmp_path / "values.csv")]) == 1
    assert "row 0, mean radius, output 0" in capsys.readouterr().err
    assert not (tmp_path / "values.csv").exists()
