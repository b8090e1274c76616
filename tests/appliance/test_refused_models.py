"""A model that cannot be served affects only itself, and activation records are reused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import Response
from shared.build import ROOT
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.model_cases import too_few_names

#: The model that is served, and those that are not with what their reasons must say.
SERVED = "diabetes"
REFUSED = {"five-names": "has 5 features and 2 feature names", "wine": "Restore"}


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Alter a shipped model, and add a model of 5 features and 2 names, of which its manifest lists 5."""
    models_dir = tmp_path / "models"
    for name in (SERVED, "wine"):
        shutil.copytree(ROOT / "models" / name, models_dir / name)
    with (models_dir / "wine" / "1" / "model.ubj").open("r+b") as file:
        file.seek(100)
        file.write(b"altered")
    folder = models_dir / "five-names" / "1"
    folder.mkdir(parents=True)
    too_few_names().save_model(folder / "model.ubj")
    manifest = {  # of format 1, as the first edition wrote them
        "name": "five-names",
        "version": 1,
        "sha256": hashlib.sha256((folder / "model.ubj").read_bytes()).hexdigest(),
        "features": ["first", "second", "third", "fourth", "fifth"],
        "outputs": ["output"],
        "objective": "reg:squarederror",
        "xgboost_version": "3.4.1",
        "training": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return models_dir


def activated(log: str) -> list[dict[str, float]]:
    """Return the figures of each line that tells of an activation."""
    lines = [line.split("activated")[1] for line in log.splitlines() if "models activated" in line]
    return [{name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)} for line in lines]


def test_models_that_cannot_be_served_are_the_only_ones_refused_and_a_second_start_verifies_nothing(
    make_appliance: MakeAppliance, models_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Appliance, "kept_models", None)
    appliance = make_appliance(MODELS_DIR=str(models_dir))
    appliance.start()
    check_refusals(appliance)
    [line] = [line for line in appliance.log().splitlines() if "model refused" in line and "wine@1" in line]
    assert "Restore" in line
    appliance.stop()
    appliance.start()
    check_refusals(appliance)
    before, after = activated(appliance.log())
    assert before["verified"] >= 2  # what was altered need not be verified
    assert after["verified"] == 0
    assert before["versions"] == after["versions"]
    assert "Traceback" not in appliance.log()
    say(f"activation took {before['seconds']} s at the first start, {after['seconds']} s at the second")


def check_refusals(appliance: Appliance) -> None:
    """Check that models that cannot be served are listed with the reason, and others served."""
    ready = appliance.get("/readyz")
    assert ready.status == 200
    assert ready.json()["probes"]["models"]["refused"] == [f"{name}@1" for name in REFUSED]
    documents = {one["name"]: one for one in appliance.get("/v1/models").json()["models"]}
    assert [name for name, one in documents.items() if one["state"] == "ready"] == [SERVED]
    for name, reason in REFUSED.items():
        assert documents[name]["state"] == "refused"
        assert reason in documents[name]["reason"]
        refused = explain(appliance, name, [[1, 2, 3, 4, 5]])
        assert (refused.status, refused.json()["type"]) == (422, "/problems/model-refused")
        assert documents[name]["reason"] in refused.json()["detail"]
    example = appliance.get(f"/v1/models/{SERVED}/examples?limit=1", headers={"Accept": "application/json"})
    assert explain(appliance, SERVED, example.json()["rows"]).status == 200
    assert len(appliance.worker_pids()) == 2


def explain(appliance: Appliance, model: str, rows: list[list[float]]) -> Response:
    body = json.dumps({"model": model, "rows": rows}).encode()
    headers = {"Content-Type": "application/json", "Prefer": "wait=30", "Accept": "application/json"}
    return appliance.call("POST", "/v1/explain", body, headers=headers)
