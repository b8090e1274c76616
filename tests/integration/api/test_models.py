"""/v1/models: the whole contract, the outcome of activation, and refused models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.api.app import create_app
from services.api.components import Components
from shared.build import ROOT
from shared.models.activation.records import Activations, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.models.store import ModelDraft, write_model_folder
from tests.integration.api.api_client import InProcess
from tests.integration.api.changed import changed
from tests.integration.api.credit_model import CREDIT, CREDIT_ROWS


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A models' folder with a model of every kind of feature, and one that cannot be read."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models/wine", models / "wine")
    write_model_folder(models, ModelDraft(CREDIT, b"not looked into", examples=CREDIT_ROWS))
    (models / "broken/10").mkdir(parents=True)
    return models


@pytest.fixture
def client(components: Components, models_dir: Path) -> InProcess:
    refused = VersionRecord("key", State.REFUSED, "10 features and 3 names", seconds=1.5)
    shutil.copytree(models_dir / "wine/1", models_dir / "wine/2")
    manifest = models_dir / "wine/2/manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2', 1))
    activations = Activations(versions={"wine@2": refused})
    catalog = ModelCatalog.load(models_dir, activations=activations)
    return InProcess(create_app(changed(components, catalog=catalog)))


def test_the_whole_contract_is_shown(client: InProcess) -> None:
    model = client.get("/v1/models/credit").json

    assert (model["name"], model["version"], model["state"], model["reason"]) == ("credit", 2, "ready", None)
    assert model["features"] == ["net\u00a0income", "married", "home", "region", "code"]
    contract = model["contract"]
    assert contract["features"] == [
        {"name": "net\u00a0income", "kind": "number"},
        {"name": "married", "kind": "boolean"},
        {"name": "home", "kind": "category", "labels": ["own", "rent, shared"]},
        {"name": "region", "kind": "category", "labels": [10, -20]},
        {"name": "code", "kind": "category", "labels": []},
    ]
    assert contract["missing"] == [-999.0]
    assert contract["trees"] == {"used": 7, "total": 19, "reason": "best_iteration"}
    assert (contract["link"], contract["library"], contract["precision"]) == ("sigmoid", "xgboost", "float32")
    assert contract["groups"] == {"where": ["home", "region"]}
    assert contract["reasons"] == {"where": {"code": "R1", "text": "Where you live"}}
    assert (contract["never_reasons"], contract["adverse"]) == (["married"], "high")
    assert contract["background"] is None
    assert contract["examples"]["rows"] == 2
    assert contract["training"] == {"rows": 5}
    assert model["activation"] is None
    assert model["engines"] == {"tree_path_dependent": "xgboost", "interventional": None}


def test_refused_versions_are_listed_among_the_others(client: InProcess) -> None:
    models = client.get("/v1/models").json["models"]

    assert [(one["name"], one["version"], one["state"]) for one in models] == [
        ("broken", 10, "refused"),
        ("credit", 2, "ready"),
        ("wine", 1, "ready"),
        ("wine", 2, "refused"),
    ]
    broken, _, _, refused = models
    assert broken["contract"] is broken["features"] is broken["activation"] is None
    assert "broken/10/manifest.json cannot be read" in broken["reason"]
    assert refused["reason"] == "10 features and 3 names"
    assert refused["contract"]["outputs"] == ["class_0", "class_1", "class_2"]
    assert refused["activation"] == {
        "state": "refused",
        "reason": "10 features and 3 names",
        "seconds": 1.5,
        "methods": {},
    }
    assert set(refused["engines"].values()) == {None}


def test_a_name_is_its_highest_version_that_is_ready(client: InProcess) -> None:
    assert client.get("/v1/models/wine").json["version"] == 1
    assert client.get("/v1/models/wine@2").json["state"] == "refused"
    # There is no other one of this name.
    assert client.get("/v1/models/broken").json == client.get("/v1/models/broken@10").json
    assert client.get("/v1/models/wine@3").slug == "model-not-found"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/explain"])
def test_explaining_with_a_refused_model_is_refused_with_the_reason(client: InProcess, path: str) -> None:
    reply = client.post(f"{path}?model=wine@2", b"\xff", "text/csv")
    assert (reply.status, reply.slug) == (422, "model-refused")
    assert reply.detail == "Model wine@2 is refused: 10 features and 3 names"
    assert client.get("/v1/models/wine@2/examples").slug == "model-refused"


def test_refused_models_do_not_make_the_appliance_unready(client: InProcess) -> None:
    probe = client.get("/readyz", key=None).json["probes"]["models"]
    assert (probe["ok"], probe["count"]) == (True, 2)
    assert probe["refused"] == ["broken@10", "wine@2"]
    assert "refused (GET /v1/models gives the reasons): broken@10, wine@2" in probe["detail"]
    assert client.get("/healthz", key=None).status == 200
