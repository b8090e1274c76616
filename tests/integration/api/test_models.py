"""/v1/models: contracts, outcomes of activation, engines, refusals, and example rows."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.api.app import create_app
from services.api.components import Components
from services.api.resources import models as models_module
from shared.build import ROOT
from shared.jobs.document import Job, Method
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.models.contract import Adverse, Contract, Feature, Kind, Link, Reason, Trees, TreesReason
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion
from tests.integration.api.api_client import CSV, JSON, InProcess, changed

#: A contract with every kind of feature, and rows of it, without a model.
CREDIT = Contract(
    name="credit",
    version=2,
    sha256="",
    features=(
        Feature("net\u00a0income"),
        Feature("married", Kind.BOOLEAN),
        Feature("home", Kind.CATEGORY, ("own", "rent, shared")),
        Feature("region", Kind.CATEGORY, (10, -20)),
        Feature("code", Kind.CATEGORY),
    ),
    outputs=("default",),
    objective="binary:logistic",
    link=Link.SIGMOID,
    library_version="3.4.1",
    missing=(-999.0,),
    trees=Trees(7, 19, TreesReason.BEST_ITERATION),
    groups={"where": ("home", "region")},
    reasons={"where": Reason("R1", "Where you live")},
    never_reasons=("married",),
    adverse=Adverse.HIGH,
    training={"rows": 5},
)
CREDIT_ROWS = np.array([[1.5, 0, 1, 0, 3], [np.nan, 1, np.nan, 1, np.nan]], dtype=np.float32)
#: Labels that are hard to send: quotes, a comma, a line's end, blanks, and words for missing values.
HARD = (" padded ", "a,b", 'say "x"', "two\nlines", "tab\there", "NA", "", "\u00a0", "1.0", "true")
COMPILED = MethodRecord("compiled-avx2", None, 1e-7, 2e-7, 1.5)


def record(*, paths: MethodRecord = COMPILED, interventional: MethodRecord = COMPILED) -> VersionRecord:
    methods = {
        ExplanationKind.TREE_PATH_DEPENDENT: paths,
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
def four(components: Components, tmp_path: Path) -> InProcess:
    """Serve four models: with every kind of feature, shipped, refused, and unreadable."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models/wine", models / "wine")
    shutil.copytree(models / "wine/1", models / "wine/2")
    manifest = models / "wine/2/manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2', 1))
    write_model_folder(models, ModelDraft(CREDIT, b"not looked into", examples=CREDIT_ROWS))
    (models / "broken/10").mkdir(parents=True)
    refused = VersionRecord("key", State.REFUSED, "10 features and 3 names", seconds=1.5)
    catalog = ModelCatalog.load(models, activations=Activations(versions={"wine@2": refused}))
    return InProcess(create_app(changed(components, catalog=catalog)))


@pytest.fixture
def activated(components: Components) -> InProcess:
    catalog = ModelCatalog.load(ROOT / "models", activations=ACTIVATIONS)
    return InProcess(create_app(changed(components, activations=ACTIVATIONS, catalog=catalog)))


def test_the_whole_contract_is_shown(four: InProcess) -> None:
    model = four.get("/v1/models/credit").json
    assert (model["name"], model["version"], model["state"], model["reason"]) == ("credit", 2, "ready", None)
    assert model["features"] == ["net\u00a0income", "married", "home", "region", "code"]
    shown = model["contract"]
    assert shown["features"][3] == {"name": "region", "kind": "category", "labels": [10, -20]}
    assert (shown["missing"], shown["link"], shown["adverse"]) == ([-999.0], "sigmoid", "high")
    assert shown["trees"] == {"used": 7, "total": 19, "reason": "best_iteration"}
    assert shown["groups"] == {"where": ["home", "region"]}
    assert shown["reasons"] == {"where": {"code": "R1", "text": "Where you live"}}
    assert (shown["background"], shown["examples"]["rows"], model["activation"]) == (None, 2, None)
    assert model["engines"] == {"tree_path_dependent": "xgboost", "interventional": None}


def test_refused_versions_are_listed_named_refused_and_do_no_harm(four: InProcess) -> None:
    models = four.get("/v1/models").json["models"]
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
    assert refused["activation"]["seconds"] == 1.5
    assert set(refused["engines"].values()) == {None}
    # A name is its highest version that is ready, unless there is no other one.
    assert four.get("/v1/models/wine").json["version"] == 1
    assert four.get("/v1/models/wine@2").json["state"] == "refused"
    assert four.get("/v1/models/broken").json == four.get("/v1/models/broken@10").json
    assert four.get("/v1/models/wine@3").slug == "model-not-found"
    for path in ("/v1/jobs", "/v1/explain"):
        reply = four.post(f"{path}?model=wine@2", b"\xff", CSV)
        assert reply.refusal == (422, "model-refused")
        assert reply.detail == "Model wine@2 is refused: 10 features and 3 names"
    assert four.get("/v1/models/wine@2/examples").slug == "model-refused"
    probe = four.get("/readyz", key=None).json["probes"]["models"]
    assert (probe["ok"], probe["count"], probe["refused"]) == (True, 2, ["broken@10", "wine@2"])
    assert "refused (GET /v1/models gives the reasons): broken@10, wine@2" in probe["detail"]
    assert four.get("/healthz", key=None).status == 200


# --- Engines ---


def test_models_and_version_tell_the_engine_of_each_method(activated: InProcess, client: InProcess) -> None:
    models = {model["name"]: model for model in activated.get("/v1/models").json["models"]}
    assert [(name, model["engine"], *model["engines"].values()) for name, model in models.items()] == [
        ("breast-cancer", "compiled-avx2", "compiled-avx2", None),
        ("diabetes", "compiled-avx2", "compiled-avx2", "compiled-avx2"),
        ("wine", "compiled-avx2", "compiled-avx2", "shap"),
    ]
    assert list(models["wine"]["engines"]) == list(Method)
    assert models["wine"]["activation"]["methods"]["interventional"]["reason"] == "too deep"
    assert models["wine"]["activation"]["methods"]["tree_path_dependent"]["row_microseconds"] == 1.5
    assert activated.get("/v1/models/wine").json == models["wine"]
    assert activated.get("/version", key=None).json["engines"] == dict.fromkeys(Method, "compiled-avx2")
    # Without kernels they are XGBoost and shap.
    engines = {"tree_path_dependent": "xgboost", "interventional": "shap"}
    assert client.get("/version", key=None).json["engines"] == engines
    assert client.get("/v1/models/wine").json["engines"] == engines


def test_the_engine_decides_how_many_rows_a_batch_has_unless_a_setting_does(components: Components) -> None:
    def batches(activations: Activations, batch_rows: int | None, method: Method, model: str = "wine") -> int:
        settings = replace(components.settings, batch_rows=batch_rows)
        catalog = ModelCatalog.load(settings.models_dir, activations=activations)
        client = InProcess(create_app(changed(components, settings=settings, catalog=catalog)))
        rows = [[0.5] * len(catalog.get(model).features)] * 1200
        job = client.post_json("/v1/jobs", {"model": model, "rows": rows, "method": method}).json
        return int(job["batches"]["total"])

    paths, interventional = Method
    assert batches(ACTIVATIONS, None, paths) == batches(ACTIVATIONS, None, interventional, "diabetes") == 1
    # XGBoost and shap take longer.
    assert batches(Activations(), None, paths) == 3
    assert batches(ACTIVATIONS, None, interventional) >= 3
    assert batches(ACTIVATIONS, 100, paths) == batches(Activations(), 100, paths) == 12


def test_a_refused_method_is_refused_with_its_reason_before_rows_are_read(
    activated: InProcess, components: Components, nothing_is_left: Callable[[], None]
) -> None:
    unreadable = b"\xff\n1,2"
    reply = activated.post("/v1/explain?model=breast-cancer&method=interventional", unreadable, CSV)
    assert reply.refusal == (422, "method-refused")
    assert reply.detail == (
        "Method interventional is not available for model breast-cancer@1: values miss the margin by 0.67. "
        "Use tree_path_dependent."
    )
    reply = activated.post("/v1/jobs?model=wine&interactions=true", unreadable, CSV)
    assert reply.refusal == (422, "method-refused")
    assert reply.detail.endswith("wine@1: they are off by 0.5. Leave interactions out.")
    nothing_is_left()
    row = {"model": "wine", "rows": [[0.5] * 13]}
    assert activated.post_json("/v1/jobs", row).status == 202
    # Where the default method is refused another one is named.
    refused = MethodRecord(None, "XGBoost and the reference disagree")
    activations = Activations(versions={"wine@1": record(paths=refused)})
    catalog = ModelCatalog.load(ROOT / "models", activations=activations)
    other = InProcess(create_app(changed(components, catalog=catalog)))
    assert other.post_json("/v1/jobs", row).detail.endswith("disagree. Use interventional.")
    assert other.post_json("/v1/jobs", {**row, "method": "interventional"}).status == 202
    assert other.get("/v1/models/wine").json["engine"] is None


# --- Example rows ---


def rows_on_disk(components: Components, name: str) -> np.ndarray:
    path = components.catalog.get(name).examples_path
    assert path is not None
    return np.asarray(np.load(path))


def test_example_rows_are_those_on_disk_and_can_be_sent_back(
    client: InProcess, components: Components
) -> None:
    on_disk = rows_on_disk(components, "wine")
    reply = client.get("/v1/models/wine/examples?limit=7")
    assert reply.headers["content-type"] == CSV
    header, *rows = csv.reader(io.StringIO(reply.body.decode()))
    assert tuple(header) == components.catalog.get("wine").features
    np.testing.assert_array_equal(np.array(rows, np.float32), on_disk[:7])
    assert client.post("/v1/jobs?model=wine", reply.body, CSV).json["rows"] == 7
    body = client.get("/v1/models/wine@1/examples", Accept=JSON).body
    assert client.post("/v1/jobs", body, JSON).json["rows"] == min(100, len(on_disk))


def test_few_example_rows_of_a_wide_or_large_file_are_read_and_missing_values_are_empty(
    client: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (5_000_000_000, 10)  # 200 GB that take no room, and that no memory holds
    large = np.lib.format.open_memmap(tmp_path / "rows.npy", mode="w+", dtype=np.float32, shape=shape)
    large[0] = [1.5, np.nan, *[0] * 8]
    large.flush()
    del large
    monkeypatch.setattr(models_module, "MAX_NUMBERS", 95)
    assert len(client.get("/v1/models/breast-cancer/examples", Accept=JSON).json["rows"]) == 3
    monkeypatch.setattr(ModelVersion, "examples_path", tmp_path / "rows.npy")
    lines = client.get("/v1/models/diabetes/examples?limit=2").body.splitlines()[1:]
    assert lines == [b"1.5,," + b",".join([b"0.0"] * 8), b",".join([b"0.0"] * 10)]


def test_examples_that_are_asked_for_wrongly_or_are_not_there_are_refused(
    client: InProcess, components: Components
) -> None:
    assert client.get("/v1/models/nothing/examples").slug == "model-not-found"
    assert client.get("/v1/models/wine/examples", Accept="image/png").slug == "not-acceptable"
    for limit in ("0", "10001", "x"):
        assert client.get(f"/v1/models/wine/examples?limit={limit}").slug == "bad-parameter"
    version = components.catalog.get("wine")
    object.__setattr__(version, "contract", replace(version.contract, examples=None))
    reply = client.get("/v1/models/wine/examples")
    assert reply.refusal == (404, "no-examples")
    assert "wine@1" in reply.detail


def serving(
    components: Components, folder: Path, features: tuple[Feature, ...], rows: np.ndarray
) -> tuple[Components, InProcess]:
    """Serve a model that has these features and example rows."""
    contract = replace(CREDIT, features=features, groups={}, reasons={}, never_reasons=())
    write_model_folder(folder, ModelDraft(contract, b"x", examples=rows))
    other = changed(components, catalog=ModelCatalog.load(folder))
    return other, InProcess(create_app(other))


def test_labels_come_back_as_the_same_codes(components: Components, tmp_path: Path) -> None:
    features = (*CREDIT.features, Feature("hard\tname", Kind.CATEGORY, HARD))
    last = np.array([*range(len(HARD)), np.nan, np.nan], np.float32)[:, None]
    rows = np.hstack([np.tile(CREDIT_ROWS, (6, 1)), last])
    other, client = serving(components, tmp_path, features, rows)
    for media_type in (CSV, JSON):
        body = client.get("/v1/models/credit/examples", Accept=media_type).body
        reply = client.post("/v1/jobs?model=credit@2", body, media_type)
        assert reply.status == 202, reply.detail
        job = other.store.get(reply.json["id"])
        sent = np.concatenate([other.payloads.rows(job, batch) for batch in range(2)])
        np.testing.assert_array_equal(sent, rows)
    found = client.get("/v1/models/credit/examples?limit=2", Accept=JSON).json["rows"]
    assert found == [[1.5, 0, "rent, shared", 10, 3, " padded "], [None, 1, None, -20, None, "a,b"]]
    text = client.get("/v1/models/credit/examples?limit=2").body.decode()
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["1.5", "0.0", "rent, shared", "10", "3", " padded "],
        ["", "1.0", "", "-20", "", "a,b"],
    ]


def test_names_and_labels_are_no_formulas_in_spreadsheets_unless_asked_for_and_are_read_back(
    components: Components, tmp_path: Path, finish: Callable[[Job], object]
) -> None:
    labels = ("=1+1", "-5", "+x", "@sum", "plain")
    features = (Feature("=cmd|A1"), Feature("-home", Kind.CATEGORY, labels), Feature("-1.5e3"))
    rows = np.array([[-1, code, 2] for code in range(len(labels))], np.float32)
    other, client = serving(components, tmp_path, features, rows)
    harmless = ["'=cmd|A1", "'-home", "-1.5e3"], ["'=1+1", "-5", "'+x", "'@sum", "plain"]
    raw = [feature.name for feature in features], list(labels)
    for query, (names, cells) in (("", harmless), ("?csv_safe=true", harmless), ("?csv_safe=false", raw)):
        body = client.get(f"/v1/models/credit/examples{query}").body
        header, *lines = csv.reader(io.StringIO(body.decode()))
        assert (header, [line[1] for line in lines]) == (names, cells)
        assert lines[0][0] == "-1.0"
        job = other.store.get(client.post("/v1/jobs?model=credit", body, CSV).json["id"])
        np.testing.assert_array_equal(other.payloads.rows(job, 0), rows)
        finish(job)
        reply = client.get(f"/v1/jobs/{job.id}/result{query}", Accept=CSV)
        assert next(csv.reader(io.StringIO(reply.body.decode()))) == [*names, "base_value", "prediction"]
    assert client.get("/v1/models/credit/examples?csv_safe=no").refusal == (400, "bad-parameter")


def test_a_missing_value_of_a_model_with_one_feature_is_no_empty_line(
    components: Components, tmp_path: Path
) -> None:
    rows = np.array([[0], [1], [np.nan], [1], [0]], np.float32)
    other, client = serving(components, tmp_path, (Feature("home", Kind.CATEGORY, ("own", "")),), rows)
    reply = client.post("/v1/jobs?model=credit", client.get("/v1/models/credit/examples").body, CSV)
    assert reply.json["rows"] == 5
    np.testing.assert_array_equal(other.payloads.rows(other.store.get(reply.json["id"]), 0), rows)
