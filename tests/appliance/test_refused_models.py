"""A model that cannot be served affects only itself, and activation records are reused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import Appliance
from shared.build import ROOT
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.model_cases import too_few_names

SHIPPED = ("breast-cancer", "diabetes", "wine")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """Add a model of 5 features and 2 names by hand, described with 2 names and with 5."""
    models_dir = tmp_path / "models"
    shutil.copytree(ROOT / "models", models_dir, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    put_by_hand(models_dir / "two-names" / "1", ["first", "second"])
    put_by_hand(models_dir / "five-names" / "1", ["first", "second", "third", "fourth", "fifth"])
    return models_dir


def put_by_hand(folder: Path, features: list[str]) -> None:
    """Write a model's folder with a manifest of format 1, as the first edition wrote them."""
    folder.mkdir(parents=True)
    model = folder / "model.ubj"
    too_few_names().save_model(model)
    manifest = {
        "name": folder.parent.name,
        "version": int(folder.name),
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "features": features,
        "outputs": ["output"],
        "objective": "reg:squarederror",
        "xgboost_version": "3.4.1",
        "training": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def activated(log: str) -> list[dict[str, float]]:
    """Return the figures of each line that tells of an activation."""
    lines = [line for line in log.splitlines() if "models activated" in line]
    return [
        {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line.split("activated")[1])}
        for line in lines
    ]


def test_a_model_with_too_few_names_is_the_only_one_refused_and_a_second_start_verifies_nothing(
    make_appliance: MakeAppliance, models_dir: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Appliance, "kept_models", None)
    appliance = make_appliance(MODELS_DIR=str(models_dir))
    first = appliance.start()
    check_refusals(appliance)
    appliance.stop()
    second = appliance.start()
    check_refusals(appliance)

    before, after = activated(appliance.log())
    assert (before["verified"], before["versions"]) == (5, 5)
    assert (after["verified"], after["versions"]) == (0, 5)
    assert after["seconds"] < before["seconds"] / 2
    say(
        f"first start {first:.1f} s, {before['seconds']} s of it activation; "
        f"second start {second:.1f} s, {after['seconds']} s of it activation"
    )


def check_refusals(appliance: Any) -> None:
    """Check that models with too few names are listed with the reason, and others served."""
    ready = appliance.get("/readyz")
    assert ready.status == 200
    assert ready.json()["probes"]["models"]["refused"] == ["five-names@1", "two-names@1"]
    documents = {one["name"]: one for one in appliance.get("/v1/models").json()["models"]}
    assert {name for name, one in documents.items() if one["state"] == "ready"} == set(SHIPPED)
    for name in ("five-names", "two-names"):
        assert documents[name]["state"] == "refused"
        assert re.search(r"\b5\b.*\b2\b|\b2\b.*\b5\b", documents[name]["reason"])
        refused = explain(appliance, name, [[1, 2, 3, 4, 5]])
        assert (refused.status, refused.json()["type"]) == (422, "/problems/model-refused")
        assert documents[name]["reason"] in refused.json()["detail"]
    for name in SHIPPED:
        example = appliance.get(f"/v1/models/{name}/examples?limit=1", headers={"Accept": "application/json"})
        assert explain(appliance, name, example.json()["rows"]).status == 200
    assert len(appliance.worker_pids()) == 2


def explain(appliance: Any, model: str, rows: Any) -> Any:
    body = json.dumps({"model": model, "rows": rows}).encode()
    return appliance.call(
        "POST",
        "/v1/explain",
        body,
        headers={"Content-Type": "application/json", "Prefer": "wait=30", "Accept": "application/json"},
    )
