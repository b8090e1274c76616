"""Example rows of a model: as they lie on disk, and fit to be sent back."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.api.app import create_app
from services.api.components import Components
from services.api.resources import models
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature, Kind
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion
from tests.integration.api.api_client import METRICS_TOKEN, InProcess
from tests.integration.api.changed import changed
from tests.integration.api.credit_model import CREDIT, CREDIT_ROWS


def shipped(components: Components, name: str) -> np.ndarray:
    path = components.catalog.get(name).examples_path
    assert path is not None
    return np.asarray(np.load(path))


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes", "wine"])
def test_csv_holds_the_rows_under_the_features_names(
    client: InProcess, components: Components, name: str
) -> None:
    reply = client.get(f"/v1/models/{name}/examples?limit=7")
    assert reply.headers["content-type"] == "text/csv"
    header, *rows = csv.reader(io.StringIO(reply.body.decode()))
    assert tuple(header) == components.catalog.get(name).features
    np.testing.assert_array_equal(np.array(rows, np.float32), shipped(components, name)[:7])


def test_json_is_a_body_that_can_be_sent_back(client: InProcess) -> None:
    reply = client.get("/v1/models/wine@1/examples", Accept="application/json")
    assert len(reply.json["rows"]) == 45
    assert client.post("/v1/jobs", reply.body, "application/json").status == 202


def test_csv_can_be_sent_back(client: InProcess) -> None:
    body = client.get("/v1/models/diabetes/examples").body
    reply = client.post("/v1/jobs?model=diabetes", body, "text/csv")
    assert (reply.status, reply.json["rows"]) == (202, 100)


def test_a_missing_value_is_an_empty_cell(
    client: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1.5, np.nan] + [0] * 8], np.float32))
    monkeypatch.setattr(ModelVersion, "examples_path", tmp_path / "rows.npy")
    assert (
        client.get("/v1/models/diabetes/examples").body.splitlines()[1]
        == b"1.5,,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0"
    )


def test_of_a_wide_model_come_fewer_rows(client: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_NUMBERS", 95)
    reply = client.get("/v1/models/breast-cancer/examples", Accept="application/json")
    assert len(reply.json["rows"]) == 3


def test_of_a_large_file_only_the_first_rows_are_read(
    client: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (5_000_000_000, 10)  # 200 GB that take no room, and that no memory holds
    large = np.lib.format.open_memmap(tmp_path / "rows.npy", mode="w+", dtype=np.float32, shape=shape)
    large[0] = 3
    large.flush()
    del large
    monkeypatch.setattr(ModelVersion, "examples_path", tmp_path / "rows.npy")
    reply = client.get("/v1/models/diabetes/examples?limit=2")
    assert reply.body.splitlines()[1:] == [b",".join([b"3.0"] * 10), b",".join([b"0.0"] * 10)]


def test_a_model_without_examples_says_so(client: InProcess, components: Components) -> None:
    version = components.catalog.get("wine")
    object.__setattr__(version, "contract", replace(version.contract, examples=None))
    reply = client.get("/v1/models/wine/examples")
    assert (reply.status, reply.slug) == (404, "no-examples")
    assert "wine@1" in reply.detail


def test_what_is_asked_for_wrongly_is_refused(client: InProcess) -> None:
    assert client.get("/v1/models/nothing/examples").slug == "model-not-found"
    assert client.get("/v1/models/wine/examples", Accept="image/png").slug == "not-acceptable"
    for limit in ("0", "10001", "x"):
        assert client.get(f"/v1/models/wine/examples?limit={limit}").slug == "bad-parameter"
    assert client.get("/v1/models/wine/examples", key=None).status == 401
    assert client.get("/v1/models/wine/examples", key=METRICS_TOKEN).status == 403


#: Labels that are hard to send: quotes, a comma, a line's end, blanks, and words for missing values.
HARD = (" padded ", "a,b", 'say "x"', "two\nlines", "tab\there", "NA", "", "\u00a0", "1.0", "true")


@pytest.fixture
def labelled(components: Components, tmp_path: Path) -> tuple[InProcess, Components]:
    """Serve a model with categories, one of which has labels that are hard to send."""
    hard = Feature("hard\tname", Kind.CATEGORY, HARD)
    contract = replace(CREDIT, features=(*CREDIT.features, hard))
    rows = np.tile(CREDIT_ROWS, (6, 1))
    last = np.array([*range(len(HARD)), np.nan, np.nan], np.float32)[:, None]
    write_model_folder(tmp_path, ModelDraft(contract, b"x", examples=np.hstack([rows, last])))
    other = changed(components, catalog=ModelCatalog.load(tmp_path))
    return InProcess(create_app(other)), other


@pytest.mark.parametrize("media_type", ["text/csv", "application/json"])
def test_labels_come_back_as_the_same_codes(labelled: tuple[InProcess, Components], media_type: str) -> None:
    client, components = labelled
    body = client.get("/v1/models/credit/examples", Accept=media_type).body

    reply = client.post("/v1/jobs?model=credit@2", body, media_type)

    assert reply.status == 202, reply.detail
    batches = [components.payloads.rows(components.store.get(reply.json["id"]), batch) for batch in range(2)]
    np.testing.assert_array_equal(np.concatenate(batches), shipped(components, "credit"))


def test_categories_are_labels_and_not_codes(labelled: tuple[InProcess, Components]) -> None:
    client, _ = labelled
    rows = client.get("/v1/models/credit/examples?limit=2", Accept="application/json").json["rows"]
    assert rows == [[1.5, 0, "rent, shared", 10, 3, " padded "], [None, 1, None, -20, None, "a,b"]]
    text = client.get("/v1/models/credit/examples?limit=2").body.decode()
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["1.5", "0.0", "rent, shared", "10", "3", " padded "],
        ["", "1.0", "", "-20", "", "a,b"],
    ]


def test_a_missing_value_of_a_model_with_one_feature_is_no_empty_line(
    components: Components, tmp_path: Path
) -> None:
    contract = replace(CREDIT, features=(Feature("home", Kind.CATEGORY, ("own", "")),), groups={}, reasons={})
    contract = replace(contract, never_reasons=())
    rows = np.array([[0], [1], [np.nan], [1], [0]], np.float32)
    write_model_folder(tmp_path, ModelDraft(contract, b"x", examples=rows))
    other = changed(components, catalog=ModelCatalog.load(tmp_path))
    client = InProcess(create_app(other))

    body = client.get("/v1/models/credit/examples").body
    reply = client.post("/v1/jobs?model=credit", body, "text/csv")

    assert reply.json["rows"] == 5
    np.testing.assert_array_equal(other.payloads.rows(other.store.get(reply.json["id"]), 0), rows)
