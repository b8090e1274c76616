from __future__ import annotations

from dataclasses import replace

import pytest

from services.api.app import create_app
from services.api.parts import Parts
from shared import batch_plan
from shared.engine_record import EngineRecord
from shared.jobs.document import Method
from tests.integration.api.api_client import InProcess

#: Wine's values against its background are shap's, diabetes's are compiled.
RECORD = EngineRecord(
    "compiled-avx2",
    {"diabetes@1": "compiled-avx2", "wine@1": "compiled-avx2"},
    interventional={"diabetes@1": "compiled-avx2", "wine@1": "shap"},
    interventional_reasons={"wine@1": "too deep"},
)


@pytest.fixture
def client(parts: Parts) -> InProcess:
    return InProcess(create_app(replace(parts, engines=RECORD)))


@pytest.mark.parametrize(("model", "features", "batches"), [("diabetes", 10, 3), ("wine", 13, 25)])
def test_only_batches_for_shap_are_small_where_the_background_is_large(
    client: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    features: int,
    batches: int,
) -> None:
    monkeypatch.setattr(batch_plan, "INTERVENTIONAL_PAIRS", 300)  # one row of wine's three outputs
    body = {"model": model, "rows": [[0.5] * features] * 25}
    for method, wanted in ((Method.TREE_PATH_DEPENDENT, 3), (Method.INTERVENTIONAL, batches)):
        job = client.post_json("/v1/jobs", {**body, "method": method}).json
        assert job["batches"]["total"] == wanted


def test_models_and_version_tell_the_engine_of_each_method(client: InProcess, parts: Parts) -> None:
    object.__setattr__(parts.catalog.get("breast-cancer").contract, "background", None)
    models = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    assert [(name, model["engine"], *model["engines"].values()) for name, model in models.items()] == [
        ("breast-cancer", "xgboost", "xgboost", None),
        ("diabetes", "compiled-avx2", "compiled-avx2", "compiled-avx2"),
        ("wine", "compiled-avx2", "compiled-avx2", "shap"),
    ]
    assert list(models["wine"]["engines"]) == list(Method)
    assert client.get("/v1/models/wine").json == models["wine"]
    version = client.get("/version", key=None).json
    assert version["engines"] == dict.fromkeys(Method, "compiled-avx2")


def test_without_kernels_they_are_xgboost_and_shap(parts: Parts) -> None:
    client = InProcess(create_app(parts))
    assert client.get("/version", key=None).json["engines"] == dict(
        zip(Method, ("xgboost", "shap"), strict=True)
    )
    assert client.get("/v1/models/wine").json["engines"]["interventional"] == "shap"
