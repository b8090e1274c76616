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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from ops.verify.checks.work import workers
from ops.verify.report import FailedError, Report, Verdict
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions, Visit
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost, load_booster
from shared.models.catalog import ModelCatalog
from shared.models.store import ModelDraft, write_model_folder
from shared.settings import KEY_NAMES
from tests.support.client import probes, stopped, until
from tests.support.faults.placing import STARTUP
from tests.support.faults.supervised import Supervisor

#: Seconds until a stopped worker counts as gone, and a little.
LEASE = 12.0
#: MB that a hog takes: with all else it is more than MEMORY_LIMIT_MB.
HOG_MB = 340
#: Checks that are skipped for an appliance on this machine without an expected commit.
ALWAYS_SKIPPED = {"commit", "TLS"}
OFF = 1e-3


def shift_leaves(models: Path, name: str) -> None:
    """Make another model of a name and version, with slightly larger leaves in one tree."""
    version = ModelCatalog.load(models).get(name)
    booster = load_booster(version.model_path)
    document = json.loads(bytes(booster.save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    for node, child in enumerate(tree["left_children"]):
        if child == -1:
            tree["split_conditions"][node] += OFF
    shifted = import_xgboost().Booster(model_file=bytearray(json.dumps(document).encode()))
    draft = ModelDraft(version.contract, bytes(shifted.save_raw("ubj")))
    write_model_folder(models, draft, replace=True)


def broken_models(folder: Path) -> Path:
    """Make a MODELS_DIR with one damaged model, and another one under the name of a third."""
    shutil.copytree(ROOT / "models", folder)
    os.truncate(folder / "diabetes" / "1" / "model.ubj", 1000)
    shift_leaves(folder, "breast-cancer")
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Appliance]]:
    """Run a sound appliance, one with a wrong engine and a hog, and one with wrong models."""
    folder = tmp_path_factory.mktemp("boxes")
    wrong_engine = {
        "PYTHONPATH": str(STARTUP),
        "SHAPBOX_TEST_WRONG_VALUES": "wine=sum,breast-cancer=swap",
        "SHAPBOX_TEST_HOG_MB": str(HOG_MB),
    }
    wrong_models = {"MODELS_DIR": str(broken_models(folder / "models")), "ALLOW_FALLBACK_MODEL": "true"}
    made = {
        "sound": Appliance(folder / "sound"),
        "wrong engine": Appliance(folder / "wrong-engine", wrong_engine),
        "wrong models": Appliance(folder / "wrong-models", wrong_models),
    }
    with ThreadPoolExecutor(len(made)) as threads:
        try:
            list(threads.map(Appliance.start, made.values()))
            yield made
        finally:
            list(threads.map(Appliance.stop, made.values()))


@pytest.fixture
def appliance(boxes: dict[str, Appliance]) -> Appliance:
    return boxes["sound"]


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


def command(box: Appliance, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DATA_DIR": str(box.data_dir), "PORT": box.environment["PORT"]}
    return subprocess.Popen(
        [sys.executable, "-m", "ops.verify", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sound_appliance_passes_the_command_which_leaves_no_job_and_tells_no_key(
    appliance: Appliance,
) -> None:
    commit = appliance.get("/version").json()["commit"]
    with command(appliance, "--format=json", f"--expect-commit={commit[:10]}", "--soak=0.05") as running:
        printed, errors = running.communicate(timeout=300)
    assert running.returncode == 0, (printed, errors)
    report = json.loads(printed)
    assert report["passed"]
    assert [check["name"] for check in report["checks"] if check["verdict"] == "SKIP"] == ["TLS"]
    measured = {check["name"]: check["measured"] for check in report["checks"]}
    for name in ("breast-cancer@1", "diabetes@1", "wine@1", "job"):
        assert "XGBoost's own" in measured[name]
    assert re.search(r", largest residual \de-0[678]$", measured["job"])
    assert "jobs meanwhile, all exact" in measured["recycle"]
    assert "of 475 MB" in measured["memory"]
    assert jobs_of(appliance) == []
    for name in KEY_NAMES:
        assert appliance.key(name) not in printed + errors


def test_a_wrong_key_and_another_commit_are_named_and_nothing_else_fails(appliance: Appliance) -> None:
    wrong = "a-key-that-is-not-this-one"
    keys = {**options_for(appliance).keys, "API_KEY": wrong}
    report = run_verify(replace(options_for(appliance), keys=keys, expect_commit="0123456"))
    assert of(report, Verdict.FAIL) == {"API_KEY", "commit"}
    assert "API_KEY is refused (401" in said_of(report, "API_KEY")
    assert "0123456 is expected" in said_of(report, "commit")
    assert said_of(report, "job").startswith("not checked because API_KEY failed")
    assert of(report, Verdict.PASS) >= {"ADMIN_API_KEY", "METRICS_TOKEN", "metrics", "workers", "Redis"}
    assert wrong not in str(report)


def test_what_lacks_its_key_is_not_checked_and_says_which(appliance: Appliance) -> None:
    report = run_verify(replace(options_for(appliance), keys={"API_KEY": appliance.api_key}))
    assert report.passed
    lacking = {"ADMIN_API_KEY", "METRICS_TOKEN", "metrics", "workers", "recycle", "memory"}
    assert of(report, Verdict.SKIP) == ALWAYS_SKIPPED | lacking
    assert said_of(report, "memory") == "not checked: it takes a key. Set METRICS_TOKEN or ADMIN_API_KEY."
    assert said_of(report, "recycle") == "not checked: it takes a key. Set ADMIN_API_KEY."
    assert "job" in of(report, Verdict.PASS)


def test_an_interrupted_visit_leaves_no_job(appliance: Appliance) -> None:
    accepted = "POST /v1/jobs 202"
    before = appliance.log().count(accepted)
    with command(appliance) as running:
        # Then it waits for a job, and is not in the middle of XGBoost, which may swallow the signal.
        until("a job", lambda: appliance.log().count(accepted) > before, appliance=appliance)
        with stopped(*appliance.worker_pids()):
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=120)
            assert running.returncode == 130
            assert "interrupted" in errors
            assert jobs_of(appliance) == []
    until("ready", lambda: probes(appliance)[1]["workers"].get("alive") == 2, appliance=appliance)


def test_workers_that_hang_in_the_middle_of_it_are_the_one_cause(appliance: Appliance) -> None:
    options = replace(options_for(appliance), answer_seconds=LEASE, ready_seconds=1)
    hung = appliance.worker_pids()
    with stopped(*hung):
        report = run_verify(options)
        # Now that they are known to be gone, one comes back.
        os.kill(hung[0], signal.SIGCONT)
        until("one back", lambda: probes(appliance)[1]["workers"].get("alive") == 1, appliance=appliance)
        with pytest.raises(FailedError) as one_is_dead:
            workers(Visit(options))
    until("ready", lambda: probes(appliance)[1]["workers"].get("alive") == 2, appliance=appliance)
    assert of(report, Verdict.FAIL) == {"job"}
    said = said_of(report, "job")
    assert "the job is queued after" in said
    assert (
        "workers: 0 workers are alive; worker-1 runs and says nothing (stopped, or hung); worker-2 runs"
        in said
    )
    assert "it is not well any more: workers (see job)" in said_of(report, "sync call")
    # A few rows are explained without workers.
    assert of(report, Verdict.PASS) >= {"breast-cancer@1", "diabetes@1", "wine@1"}
    assert re.match(r"A worker is dead: worker-\d runs and says nothing", one_is_dead.value.detail)
    assert jobs_of(appliance) == []


def test_workers_that_are_stopped_are_named(appliance: Appliance) -> None:
    supervisor = Supervisor(appliance.settings().supervisor_socket)
    supervisor.stop("worker")
    try:
        report = run_verify(replace(options_for(appliance), ready_seconds=0))
    finally:
        supervisor.start("worker")
        supervisor.close()
    until("ready", lambda: probes(appliance)[1]["workers"].get("alive") == 2, appliance=appliance)
    assert of(report, Verdict.FAIL) == {"readyz"}
    assert "supervisord does not have worker-1 running; supervisord does not have worker-2" in said_of(
        report, "readyz"
    )


def test_a_redis_that_is_stopped_is_the_one_cause(appliance: Appliance) -> None:
    with stopped(*appliance.pids_of("redis-server")):
        report = run_verify(replace(options_for(appliance), ready_seconds=0))
    until("ready", lambda: probes(appliance)[0] == 200, appliance=appliance)
    assert of(report, Verdict.FAIL) == {"readyz"}
    assert said_of(report, "readyz").startswith("redis: Redis does not answer")
    assert of(report, Verdict.PASS) >= {"reachable", "closed", "API_KEY", "METRICS_TOKEN"}
    assert said_of(report, "job").startswith("not checked because readyz failed")


def test_an_engine_off_by_a_thousandth_and_a_memory_hog_are_both_named(boxes: dict[str, Appliance]) -> None:
    report = run_verify(options_for(boxes["wrong engine"]))
    assert of(report, Verdict.FAIL) == {"wine@1", "breast-cancer@1", "memory"}
    wine, cancer = said_of(report, "wine@1"), said_of(report, "breast-cancer@1")
    assert "values of model wine@1 are 0.001 off their margin" in wine
    assert "breast-cancer@1 gives wrong values: they differ from XGBoost's own" in cancer
    assert "rows are wrong; row " in cancer
    memory = said_of(report, "memory")
    assert "and the limit is 475 MB. Largest: monitor " in memory


def test_a_fallback_and_another_model_under_the_same_name_are_both_named(boxes: dict[str, Appliance]) -> None:
    report = run_verify(options_for(boxes["wrong models"]))
    assert of(report, Verdict.FAIL) == {"diabetes@1", "breast-cancer@1"}
    assert said_of(report, "diabetes@1").startswith("diabetes@1 is a fallback")
    cancer = said_of(report, "breast-cancer@1")
    assert "breast-cancer@1 is not the model that lies in" in cancer
    assert re.search(r"the values differ: \d+ rows are wrong; row \d+, \w+", cancer)
    assert of(report, Verdict.PASS) >= {"wine@1", "job", "recycle", "memory"}
