from __future__ import annotations

from collections.abc import Callable

import pytest

from services.api.app import create_app
from services.api.components import Components
from shared import batch_plan
from shared.build import ROOT
from shared.jobs.document import Method
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from tests.integration.api.api_client import InProcess
from tests.integration.api.changed import changed

COMPILED = MethodRecord("compiled-avx2", None, 1e-7, 2e-7, 1.5)


def record(
    *, path_dependent: MethodRecord = COMPILED, interventional: MethodRecord = COMPILED
) -> VersionRecord:
    methods = {
        ExplanationKind.TREE_PATH_DEPENDENT: path_dependent,
        ExplanationKind.INTERVENTIONAL: interventional,
        ExplanationKind.INTERACTIONS: MethodRecord(None, "they are off by 0.5"),
    }
    return VersionRecord("key", State.READY, methods=methods, seconds=0.5)


#: Wine's values against its background are shap's, diabetes's are compiled; those of breast-cancer are wrong.
ACTIVATIONS = Activations(
    "compiled-avx2",
    {
        "diabetes@1": record(),
        "wine@1": record(interventional=MethodRecord("shap", "too deep")),
        "breast-cancer@1": record(interventional=MethodRecord(None, "values miss the margin by 0.67")),
    },
)


@pytest.fixture
def client(components: Components) -> InProcess:
    catalog = ModelCatalog.load(ROOT / "models", activations=ACTIVATIONS)
    return InProcess(create_app(changed(components, activations=ACTIVATIONS, catalog=catalog)))


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


def test_models_and_version_tell_the_engine_of_each_method(client: InProcess) -> None:
    models = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    assert [(name, model["engine"], *model["engines"].values()) for name, model in models.items()] == [
        ("breast-cancer", "compiled-avx2", "compiled-avx2", None),
        ("diabetes", "compiled-avx2", "compiled-avx2", "compiled-avx2"),
        ("wine", "compiled-avx2", "compiled-avx2", "shap"),
    ]
    assert list(models["wine"]["engines"]) == list(Method)
    assert models["wine"]["activation"]["methods"]["interventional"]["reason"] == "too deep"
    assert models["wine"]["activation"]["methods"]["tree_path_dependent"]["row_microseconds"] == 1.5
    assert client.get("/v1/models/wine").json == models["wine"]
    version = client.get("/version", key=None).json
    assert version["engines"] == dict.fromkeys(Method, "compiled-avx2")


#: Rows that no reader could read: they are not looked at.
UNREADABLE = b"\xff\n1,2"


def test_a_refused_method_is_refused_with_its_reason_before_rows_are_read(
    client: InProcess, nothing_is_left: Callable[[], None]
) -> None:
    reply = client.post("/v1/explain?model=breast-cancer&method=interventional", UNREADABLE, "text/csv")
    assert (reply.status, reply.slug) == (422, "method-refused")
    assert reply.detail == (
        "Method interventional is not available for model breast-cancer@1: values miss the margin by 0.67. "
        "Use tree_path_dependent."
    )
    body = {"model": "breast-cancer", "method": "interventional", "rows": [["x"]]}
    for path in ("/v1/jobs", "/v1/explain"):
        assert client.post_json(path, body).slug == "method-refused"
    nothing_is_left()


def test_refused_interactions_do_not_refuse_the_values(client: InProcess) -> None:
    reply = client.post("/v1/jobs?model=wine&interactions=true", UNREADABLE, "text/csv")
    assert (reply.status, reply.slug) == (422, "method-refused")
    assert reply.detail == (
        "Interactions are not available for model wine@1: they are off by 0.5. Leave interactions out."
    )
    assert client.post_json("/v1/jobs", {"model": "wine", "rows": [[0.5] * 13]}).status == 202


def test_if_the_default_method_is_refused_another_one_is_named(components: Components) -> None:
    refused = MethodRecord(None, "XGBoost and the reference disagree")
    activations = Activations(versions={"wine@1": record(path_dependent=refused)})
    catalog = ModelCatalog.load(ROOT / "models", activations=activations)
    client = InProcess(create_app(changed(components, catalog=catalog)))

    reply = client.post_json("/v1/jobs", {"model": "wine", "rows": [[0.5] * 13]})
    assert reply.detail == (
        "Method tree_path_dependent is not available for model wine@1: XGBoost and the reference disagree. "
        "Use interventional."
    )
    body = {"model": "wine", "method": "interventional", "rows": [[0.5] * 13]}
    assert client.post_json("/v1/jobs", body).status == 202
    assert client.get("/v1/models/wine").json["engine"] is None


def test_without_kernels_they_are_xgboost_and_shap(components: Components) -> None:
    client = InProcess(create_app(components))
    assert client.get("/version", key=None).json["engines"] == dict(
        zip(Method, ("xgboost", "shap"), strict=True)
    )
    assert client.get("/v1/models/wine").json["engines"]["interventional"] == "shap"
