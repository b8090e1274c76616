from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ops.lab.reference import reference_contributions
from ops.verify.exactness import Values
from ops.verify.expectation import Expectation
from ops.verify.outcome import FailedError
from ops.verify.plausible_rows import plausible_rows
from ops.verify.served import LocalModels, ServedModel
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature, Kind, Trees, TreesReason
from shared.models.labelled_rows import labelled_rows

ROWS = 40
NAMES = ("breast-cancer", "diabetes", "wine")


def served(name: str, **changes: Any) -> ServedModel:
    manifest = ModelCatalog.load(ROOT / "models").get(name).contract
    model = ServedModel(manifest.id, manifest.features, manifest.outputs, manifest.sha256, fallback=False)
    return replace(model, **changes)


def result_of(name: str, expectation: Expectation) -> dict[str, Any]:
    """Return XGBoost's own values as a JSON result has them."""
    version = ModelCatalog.load(ROOT / "models").get(name)
    own = reference_contributions(version.model_path, expectation.rows)
    values = own[:, :, :-1].swapaxes(1, 2)
    document = {"values": values, "base_values": own[:, :, -1], "predictions": own.sum(axis=2)}
    return {key: np.squeeze(one, axis=-1) if one.shape[-1] == 1 else one for key, one in document.items()}


@pytest.fixture
def local() -> LocalModels:
    return LocalModels(ROOT / "models")


@pytest.mark.parametrize("name", NAMES)
def test_xgboosts_own_values_are_exact(name: str, local: LocalModels) -> None:
    expectation = Expectation.of(served(name), local, ROWS)
    exact = expectation.check(result_of(name, expectation))
    assert exact.difference == 0.0
    assert "XGBoost's own exactly" in str(exact)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_off_by_a_thousandth_is_found_by_both_checks(name: str, local: LocalModels) -> None:
    expectation = Expectation.of(served(name), local, ROWS)
    result = result_of(name, expectation)
    result["values"] = result["values"].copy()
    result["values"][7, 2] += 1e-3
    with pytest.raises(FailedError) as caught:
        expectation.check(result)
    assert f"{name}@1 gives wrong values" in caught.value.detail
    assert "miss the prediction by 1.0e-03 (row 7" in caught.value.detail
    assert f"up to 1.0e-03 (row 7, {expectation.model.features[2]}" in caught.value.detail


def test_what_adds_up_and_is_not_xgboosts_own_is_found(local: LocalModels) -> None:
    expectation = Expectation.of(served("wine"), local, ROWS)
    result = result_of("wine", expectation)
    result["values"] = (
        result["values"] + np.array([1e-3, -1e-3] + 11 * [0.0], dtype=np.float32)[:, np.newaxis]
    )
    with pytest.raises(FailedError, match="they differ from XGBoost's own"):
        expectation.check(result)


def test_without_a_copy_the_sums_are_checked_all_the_same() -> None:
    nowhere = LocalModels(None)
    expectation = Expectation.of(served("wine"), nowhere, ROWS)
    result = result_of("wine", expectation)
    assert "no copy here" in str(expectation.check(result))
    result["predictions"] = result["predictions"] + 1e-3
    with pytest.raises(FailedError, match=r"miss the prediction by 1\.0e-03"):
        expectation.check(result)


def test_another_file_under_the_same_name_is_another_model(local: LocalModels) -> None:
    expectation = Expectation.of(served("wine", sha256="0" * 64), local, ROWS)
    with pytest.raises(FailedError) as caught:
        expectation.check(result_of("wine", expectation))
    assert "wine@1 is not the model that lies in" in caught.value.detail
    assert "000000000000… is served" in caught.value.detail


def test_the_same_file_under_another_name_is_a_copy(local: LocalModels) -> None:
    model = served("wine", id="vino@3")
    assert local.twin(model) is not None
    assert local.namesake(model) is None


@pytest.mark.parametrize("broken", [{}, {"values": [[1.0]], "base_values": [0.0], "predictions": [1.0]}])
def test_what_is_no_result_fails(local: LocalModels, broken: dict[str, Any]) -> None:
    with pytest.raises(FailedError, match="this is no result"):
        Expectation.of(served("wine"), local, ROWS).check(broken)


def test_a_value_that_is_no_number_fails(local: LocalModels) -> None:
    expectation = Expectation.of(served("diabetes"), local, ROWS)
    result = {name: one.tolist() for name, one in result_of("diabetes", expectation).items()}
    result["values"][3][0] = None
    with pytest.raises(FailedError, match="row 3"):
        expectation.check(result)


def test_numbers_are_read_as_the_float32_that_they_were_written_from() -> None:
    assert Values.of({"values": [[0.1]], "base_values": [0.1], "predictions": [0.2]}, 1, 1, 1).values[
        0, 0, 0
    ] == float(np.float32(0.1))


def test_rows_are_the_models_examples_with_some_cells_missing() -> None:
    version = ModelCatalog.load(ROOT / "models").get("wine")
    rows = plausible_rows(version.contract.features, version, 1000)
    assert version.examples_path is not None
    examples = np.load(version.examples_path)
    missing = np.isnan(rows)
    assert 0.01 < missing.mean() < 0.05
    wanted = examples[np.arange(1000) % len(examples)]
    np.testing.assert_array_equal(rows[~missing], wanted[~missing])
    np.testing.assert_array_equal(rows, plausible_rows(version.contract.features, version, 1000))


def test_rows_of_a_model_that_is_not_here_are_finite_and_of_all_sizes() -> None:
    rows = plausible_rows([Feature(str(place)) for place in range(30)], None, 200)
    assert rows.dtype == np.float32
    assert not np.isinf(rows).any()
    spreads = np.nanstd(rows, axis=0)
    assert spreads.max() / spreads.min() > 100


def test_made_up_rows_of_categories_are_codes_that_can_be_sent_as_labels() -> None:
    columns = (
        Feature("home", Kind.CATEGORY, ("own", "rent")),
        Feature("age"),
        Feature("term", Kind.CATEGORY, (10, 20, 30)),
        Feature("married", Kind.BOOLEAN),
        Feature("code", Kind.CATEGORY),
    )
    rows = plausible_rows(columns, None, 200)
    sent = list(zip(*labelled_rows(columns, rows), strict=True))
    assert set(sent[0]) == {"own", "rent", None}
    assert set(sent[2]) == {10, 20, 30, None}
    assert set(sent[3]) == {0, 1, None}
    assert set(sent[4]) == {0, 1, None}


def test_a_served_model_has_its_columns_and_trees_from_the_contract_if_there_is_one() -> None:
    document: dict[str, Any] = {
        "name": "loans",
        "version": 2,
        "features": ["home"],
        "outputs": ["risk"],
        "sha256": "0" * 64,
        "fallback": False,
    }
    assert ServedModel.of(document).columns == (Feature("home"),)
    assert ServedModel.of(document).trees is None
    contract = {
        "features": [{"name": "home", "kind": "category", "labels": ["own"]}],
        "trees": {"used": 3, "total": 9, "reason": "best_iteration"},
    }
    model = ServedModel.of({**document, "contract": contract})
    assert model.columns == (Feature("home", Kind.CATEGORY, ("own",)),)
    assert model.trees == Trees(3, 9, TreesReason.BEST_ITERATION)
